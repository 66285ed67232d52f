"""The report of a project: what it shows, that it is the same as data, and that it stays small."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from quality.conftest import ROWS, machine, readings, readings_table
from quality.test_drift_check import FIRST_DAY, HOT_DAY, Opens, counted, found, opened
from quality.world import DAY, HOUR, NOON, World, fact, model, stats
from quality.world import opened as opened_world
from tiffin import Expectation, FeatureStore, FeatureView, Field
from tiffin.cli import main
from tiffin.quality import history, quarantine_days, report_drift
from tiffin.quality.history import keep_profile
from tiffin.quality.report import ProjectReport, project_report
from tiffin.quality.skew_history import SkewHistory
from tiffin.types import Float64


@pytest.fixture
def drifted(open_store: Opens) -> FeatureStore:
    """A store with a hot day."""
    store = opened(open_store, {"view": "machines"})
    found(store, FIRST_DAY)
    found(store, HOT_DAY)
    return store


def report_of(store: FeatureStore) -> tuple[ProjectReport, dict[str, Any], str]:
    """The report, as data that went through JSON, and as a page that is well-formed."""
    report = project_report(store.context)
    html = report.page().html()
    for outside in ("http:", "https:", "<script", "<link", "@import", "url("):
        assert outside not in html
    for drawing in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        shown = ElementTree.fromstring(drawing)
        assert (shown.get("role"), bool(shown.get("aria-label"))) == ("img", True)
    return report, json.loads(json.dumps(report.to_dict(), allow_nan=False)), html


# --- Drift


def test_drifted_view_is_shown_then_and_now(drifted: FeatureStore) -> None:
    _, data, html = report_of(drifted)
    (view,) = data["drift"]
    assert (view["view"], view["reference"], view["drifted"]) == ("machines", "first", ["state", "heat"])
    assert view["since"] == "2024-02-01T00:00:00Z"
    details = view["details"]
    assert details["reference"]["rows"] == details["current"]["rows"] == 1440
    assert list(details["distributions"]) == ["state", "heat", "errors"]
    for shown in details["distributions"].values():
        for side in ("reference", "current"):
            assert sum(shown[side]["counts"]) + sum(shown[side]["beside"].values()) == 1440
    assert details["distributions"]["state"]["texts"] == ["on", "off"]
    assert details["distributions"]["state"]["current"]["beside"] == {"null": 720}
    assert [point["since"] for point in details["trend"]] == ["2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"]
    assert [point["null_share"]["state"] for point in details["trend"]] == [0.1, 0.5]
    assert [point["psi"]["heat"] > 0.2 for point in details["trend"]] == [False, True]
    for words in (
        "psi, to the reference",
        "null share 0.4",
        "now: from 2024-02-01 to 2024-02-02, 1,440 rows",
        "<details>",
    ):
        assert words in html


def test_report_is_what_the_check_found(drifted: FeatureStore) -> None:
    (view,) = project_report(drifted.context).drift
    periods = ("2024-01-01", "2024-01-02"), ("2024-02-01", "2024-02-02")
    expected = drifted.drift("machines", *periods)
    assert sorted(view.outcome.columns, key=lambda each: each.column) == sorted(
        expected.columns, key=lambda each: each.column
    )


def test_view_that_nobody_watches_is_shown_when_profiles_were_kept(open_store: Opens) -> None:
    store = opened(open_store)
    store.profile("machines", "2024-01-01", "2024-01-02", keep=True)
    assert report_of(store)[1]["drift"] == []
    store.profile("machines", "2024-02-01", "2024-02-02", keep=True)
    (view,) = report_of(store)[1]["drift"]
    assert view["drifted"] == ["state", "heat"]


def test_a_profile_that_is_gone_is_told(drifted: FeatureStore) -> None:
    for path in (drifted.config.quality_path / "profiles" / "machines").iterdir():
        path.unlink()
    _, data, html = report_of(drifted)
    (view,) = data["drift"]
    assert view["drifted"] == ["state", "heat"]
    assert view["details"] is None
    assert "cannot be read" in view["problem"]
    assert "1 more views" in html


def test_trend_has_one_point_for_each_period_of_the_same_length(drifted: FeatureStore) -> None:
    drifted.profile("machines", keep=True)
    drifted.profile("machines", "2024-02-01", "2024-02-02", keep=True)
    trend = report_of(drifted)[1]["drift"][0]["details"]["trend"]
    assert [point["until"] for point in trend] == ["2024-01-02T00:00:00Z", "2024-02-02T00:00:00Z"]


def test_a_period_in_which_a_view_had_other_features_is_a_gap_of_the_trend(drifted: FeatureStore) -> None:
    (first, _) = drifted.profiles("machines")
    other = replace(first, columns={"gone": replace(first.column("heat"), name="gone")})
    day_us = first.until_us - first.since_us
    keep_profile(drifted.context, replace(other, since_us=first.until_us, until_us=first.until_us + day_us))
    trend = report_of(drifted)[1]["drift"][0]["details"]["trend"]
    assert [set(point["psi"]) for point in trend] == [{"state", "heat", "errors"}, set(), {"state", "heat", "errors"}]


def test_names_and_texts_are_escaped(open_store: Opens) -> None:
    table = readings_table()
    table = table.set_column(3, "state", pa.array(["<script>x</script>"] * ROWS))
    store = open_store(table=table, drift=[{"view": "<i>"}])
    schema = [Field(name="state", dtype=store.get_feature_view("machines").features[1].dtype)]
    store.apply([FeatureView(name="<i>", entities=[machine], source=readings, schema=schema)])
    found(store, FIRST_DAY)
    found(store, "2024-01-03T00:30")
    html = report_of(store)[2]
    assert "&lt;script&gt;" in html
    assert "<h3>&lt;i&gt;</h3>" in html


def test_five_hundred_views_read_few_files(open_store: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(open_store, {"view": "*"})
    monkeypatch.setattr("os.fsync", lambda _: None)  # A thousand files are written here.
    names = [f"view_{number:03}" for number in range(500)]
    schema = [Field(name="heat", dtype=Float64)]
    store.apply([FeatureView(name=name, entities=[machine], source=readings, schema=schema) for name in names])
    first, last = (
        replace(profile, columns={"heat": profile.column("heat")})
        for profile in (store.profile("machines", f"2024-0{month}-01", f"2024-0{month}-02") for month in (1, 2))
    )
    for name in [*names, "machines"]:
        # A view without drift, but for a few.
        now = last if name in names[100:105] else replace(first, since_us=last.since_us, until_us=last.until_us)
        for each in (first, now):
            keep_profile(store.context, replace(each, subject=name))
    assert len(found(store, HOT_DAY)) == 5
    read = counted(monkeypatch, history, "_profile")
    report, data, html = report_of(store)
    assert len(read) <= report_drift.MOST_VIEWS * (2 + report_drift.MOST_PERIODS)
    assert [view["view"] for view in data["drift"][:5]] == names[100:105]
    assert len(data["drift"]) == 501
    assert sum(view["details"] is not None for view in data["drift"]) == report_drift.MOST_VIEWS
    assert sum(view.details is None for view in report.drift) == 501 - report_drift.MOST_VIEWS
    assert "489 more views" in html
    assert len(html) < 600_000


# --- Skew


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield from opened_world(tmp_path)


def test_skew_is_kept_and_shown_over_time(world: World) -> None:
    world.write(fact(1, NOON - HOUR))
    world.load()
    world.serve(1)
    world.store.monitor(["verify"], tell=False)
    world.clock.advance(2 * DAY)
    world.write(fact(2, NOON + 47 * HOUR))
    world.serve(1, 2)
    world.store.monitor(["verify"], tell=False)
    _, data, html = report_of(world.store)
    first, second = (look["services"]["model"] for look in data["skew"])
    assert (first["compared"], first["different"], first["features"]) == (5, 0, {})
    assert (second["rows"], second["compared"], second["different"]) == (2, 10, 5)
    assert second["share"] == 0.5
    assert second["causes"] == {"store_lag": 5}
    assert second["features"]["stats:rate"]["different"] == 1
    assert second["first"] == second["last"] == "2024-06-03T12:00:00Z"
    for words in ("values that differ", "store_lag", "stats:rate"):
        assert words in html


def test_sizes_of_differences_are_kept(world: World) -> None:
    world.write(fact(1, NOON - 2 * HOUR))
    world.load()
    world.write(fact(1, NOON - HOUR, rate=10.0))
    world.serve(1)
    found = world.store.verify("model", keep=True)
    ((look),) = SkewHistory.of(world.store.context).looks()
    rate = look.services["model"].features["stats:rate"]
    spread = found.services[0].features[0].spread
    assert spread is not None
    assert (rate.unit, rate.mean, rate.largest) == ("difference", spread.mean, spread.largest)


def test_verify_keeps_nothing_unless_it_is_told(world: World) -> None:
    world.write(fact(1, NOON - HOUR))
    world.load()
    world.serve(1)
    world.store.verify("model")
    assert not world.store.config.quality_path.exists()
    settings = {"project": "world", "registry": "registry.db", "online_store": {"type": "sqlite", "path": "online.db"}}
    (world.folder / "feature_store.yaml").write_text(json.dumps({**settings, "point_in_time": "known"}))
    for words, looks in ((["verify"], 0), (["verify", "--keep"], 1)):
        assert CliRunner().invoke(main, ["--chdir", str(world.folder), *words]).exit_code == 0
        assert len(SkewHistory.of(world.store.context).looks()) == looks


# --- Quarantine


def test_facts_in_quarantine_are_counted_by_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = stats(expectations=[Expectation.between(0, 20, "trips", on_failure="quarantine")])
    for world in opened_world(tmp_path, few, model(few)):
        world.write(fact(3, NOON - HOUR), fact(4, NOON - HOUR))
        world.load()
        world.clock.advance(timedelta(days=2))
        world.write(fact(5, NOON + DAY))
        world.load()
        # The second load has read them all again.
        _, data, html = report_of(world.store)
        days = [{"day": "2024-06-01", "facts": 3}, {"day": "2024-06-03", "facts": 4}]
        assert data["quarantine"] == {"views": {"stats": days}, "uncounted_files": 0}
        assert "stats: facts put apart" in html
        monkeypatch.setattr(quarantine_days, "MOST_FILES", 1)
        _, data, html = report_of(world.store)
        assert data["quarantine"] == {"views": {"stats": days[1:]}, "uncounted_files": 1}
        assert "1 more files were not counted" in html
        world.clock.advance(timedelta(days=40))
        assert report_of(world.store)[1]["quarantine"]["views"] == {}


# --- Nothing


def test_project_without_anything_has_a_report(open_store: Callable[..., FeatureStore]) -> None:
    _, data, html = report_of(open_store())
    assert (data["drift"], data["skew"], data["quarantine"]["views"], data["alerts"]) == ([], [], {}, [])
    for words in ("Nothing is wrong", "name some in quality.drift", "give a service a log", "No fact was put apart"):
        assert words in html
