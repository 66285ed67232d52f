"""What ``verify`` reads, counts and refuses, and how its result is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from quality.world import DAY, DRIVER, HOUR, MINUTE, NOON, World, fact, model, plus_extra, product, stats
from server.apps import served
from tiffin import FeatureService, FeatureView, Field, OnDemandFeatureView, PushSource, RequestSource
from tiffin.cli import main
from tiffin.errors import InputError, NotFoundError, RequestError, SourceError, StoreError, UnsupportedError
from tiffin.quality.verify import verify
from tiffin.quality.verify_page import verification_page
from tiffin.types import Float64, UnixTimestamp


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Three days of requests for three drivers."""
    made = World(tmp_path, stats(), product(), model(stats(), product()))
    made.write(*(fact(driver, NOON - HOUR) for driver in (1, 2, 3)))
    made.load()
    for _ in range(3):
        made.serve(1, 2, 3, extra=2.0)
        made.clock.advance(8 * HOUR)
    yield made
    made.store.close()


def spoil(world: World) -> None:
    """Serve, from now on, a rate for driver 1 that is a tenth too large."""
    world.write(fact(1, NOON + DAY, rate=2.0))
    world.clock.set(NOON + DAY + MINUTE)
    world.online(fact(1, NOON + DAY, rate=2.25))
    world.serve(1, 2, 3, extra=2.0)


def call(world: World, *words: str) -> Result:
    """The command line, in the world's folder."""
    settings = {
        "project": "world",
        "registry": "registry.db",
        "online_store": {"type": "sqlite", "path": "online.db"},
        "point_in_time": "known",
    }
    (world.folder / "feature_store.yaml").write_text(json.dumps(settings))
    return CliRunner().invoke(main, ["--chdir", str(world.folder), "verify", *words])


# What is compared


def test_the_interval_is_closed_and_chooses_rows(world: World) -> None:
    assert world.store.verify("model").services[0].rows == 9
    assert world.store.verify("model", since=NOON + 8 * HOUR).services[0].rows == 6
    assert world.store.verify("model", until=NOON).services[0].rows == 3
    assert world.store.verify("model", since=NOON, until=NOON + 8 * HOUR).services[0].rows == 6


@pytest.mark.parametrize("part_rows", [1, 2, 4, 100])
def test_the_parts_in_which_the_log_is_read_do_not_matter(world: World, part_rows: int) -> None:
    spoil(world)
    found = verify(world.store.context, "model", part_rows=part_rows)
    (service,) = found.services
    assert (service.rows, service.compared, service.different) == (12, 12 * 6, 2)
    assert service.causes == {"unexplained": 2}


def test_without_a_name_every_service_with_a_log_is_verified(world: World) -> None:
    world.apply(replace(model(), name="other"))
    with pytest.raises(SourceError, match="the log of feature service other has no rows that can be compared"):
        world.store.verify()
    service = world.store.get_feature_service("other")
    world.store.write_logged_features(world.store.get_online_features(service, [{"driver_id": 1}]), service)
    assert [each.service for each in world.store.verify().services] == ["model", "other"]


def test_values_that_are_the_same_in_another_type_are_equal(world: World) -> None:
    """A log may be older than the types of its features."""

    def narrower(log: pa.Table) -> pa.Table:
        place = log.column_names.index("stats__trips")
        return log.set_column(place, "stats__trips", log["stats__trips"].cast(pa.int32()))

    world.rewrite_log(narrower)
    assert world.store.verify("model").is_ok


def test_a_feature_that_was_not_logged_is_counted_and_said(world: World) -> None:
    world.rewrite_log(lambda log: log.drop_columns(["stats__place"]))
    found = world.store.verify("model")
    (feature,) = (each for each in found.services[0].features if each.feature == "stats:place")
    assert (feature.not_logged, feature.compared) == (9, 0)
    assert found.is_ok
    assert "stats:place: 9 row(s) of the log do not have it" in call(world).output


def test_a_log_without_event_times_statuses_and_versions_is_compared_all_the_same(world: World) -> None:
    spoil(world)
    kept = ["driver_id", "extra", "stats__rate", "__log_timestamp"]
    world.rewrite_log(lambda log: log.select(kept))
    (service,) = world.store.verify("model").services
    assert (service.rows, service.different, dict(service.versions)) == (12, 1, {0: 12})


def test_answers_of_a_program_are_sampled_by_entity(tmp_path: Path) -> None:
    world = World(tmp_path, stats(), model(sample_rate=0.5))
    service = world.store.get_feature_service("model")
    answer = world.store.get_online_features(service, {"driver_id": list(range(100))})
    written = world.store.write_logged_features([answer, answer], service)
    keys = pq.read_table(world.logs()[0], partitioning=None)["driver_id"].to_pylist()
    assert len(keys) == written
    assert 30 < len(set(keys)) == written / 2 < 70


def test_a_log_is_taken_over_from_a_table_and_from_a_file(world: World) -> None:
    service = world.store.get_feature_service("model")
    log = pq.read_table(world.logs()[0], partitioning=None)
    assert world.store.write_logged_features(log, service) == log.num_rows
    assert world.store.write_logged_features(world.logs()[0], service) == log.num_rows
    assert world.store.verify("model").services[0].rows == 9 + 2 * log.num_rows


async def test_what_a_server_logs_is_verified(world: World) -> None:
    async with served(world.store.context, log_seconds=3600.0) as server:
        columns = {"driver_id": [1, 2, 404], "extra": [1.0, 2.0, 3.0]}
        await server.post("/v1/features", {"service": "model", "columns": columns})
        rows = [{"driver_id": 3, "extra": 5}]
        await server.post("/v1/features", {"service": "model", "rows": rows, "full_feature_names": True})
    found = world.store.verify("model")
    assert (found.services[0].rows, found.different) == (9 + 4, 0)


# By how much


def test_differences_are_measured(world: World) -> None:
    spoil(world)
    (service,) = world.store.verify("model").services
    features = {each.feature: each for each in service.features}
    spread = features["stats:rate"].spread
    assert spread is not None
    assert spread.to_dict() == {
        "unit": "difference",
        "measured": 1,
        "unmeasured": 0,
        "mean": 0.25,
        "largest": 0.25,
        "decades": {"-1": 1},
    }
    computed = features["computed:product"].spread
    assert computed is not None
    assert computed.mean == 0.5
    rows = {row["feature"]: row for row in service.mismatches.to_pylist()}
    assert (rows["stats:rate"]["served"], rows["stats:rate"]["expected"]) == ("2.25", "2.0")
    assert rows["stats:rate"]["expected_event"] == NOON + DAY


def test_so_many_may_differ(world: World) -> None:
    spoil(world)
    assert not world.store.verify("model").is_ok
    assert not world.store.verify("model", max_mismatch=1 / 12 - 1e-9).is_ok
    assert world.store.verify("model", max_mismatch=1 / 12).is_ok


# What is refused, or counted


def test_an_empty_log(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(SourceError, match=r"(?s)no rows that can be compared: .*served/model.*write_logged_features"):
        world.store.verify("model")
    world.serve(1)
    with pytest.raises(SourceError, match=r"no rows that can be compared: .* from 2024-06-01T13:00:00Z"):
        world.store.verify("model", since=NOON + HOUR)


def test_a_service_that_is_gone(world: World) -> None:
    with pytest.raises(NotFoundError, match=r"(?s)no feature service 'modle'.*model"):
        world.store.verify("modle")
    world.store.delete_feature_service("model")
    with pytest.raises(NotFoundError, match="no feature service 'model'"):
        world.store.verify("model")
    with pytest.raises(RequestError, match="no feature service has a logging_config"):
        world.store.verify()


def test_a_service_without_a_log(world: World) -> None:
    service = FeatureService(name="model", features=[stats()])
    world.apply(service)
    with pytest.raises(RequestError, match="feature service model has no logging_config"):
        world.store.verify("model")
    answer = world.store.get_online_features(service, [{"driver_id": 1}])
    with pytest.raises(RequestError, match="feature service model has no logging_config"):
        world.store.write_logged_features(answer, service)


@pytest.mark.parametrize("column", ["__log_timestamp", "driver_id", "extra"])
def test_a_log_that_lacks_a_column(world: World, column: str) -> None:
    path = world.logs()[0]
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns([column]), path)
    found = world.store.verify("model")
    (problem,) = found.services[0].problems
    assert problem.file == str(path)
    assert problem.reason == f"it has no column {column}"
    assert found.services[0].rows == 6
    assert not found.is_ok
    assert found.different == 0


def test_a_broken_file(world: World) -> None:
    for path, content in zip(world.logs(), (b"", b"PAR1 this is no Parquet file PAR1"), strict=False):
        path.write_bytes(content)
    found = world.store.verify("model")
    assert [problem.reason.partition(":")[0] for problem in found.services[0].problems] == ["it cannot be read"] * 2
    assert not found.is_ok
    world.logs()[-1].write_bytes(b"")
    with pytest.raises(SourceError, match=r"3 file\(s\) cannot be used, such as .*cannot be read"):
        world.store.verify("model")


def test_keys_of_another_type(world: World) -> None:
    def as_text(log: pa.Table) -> pa.Table:
        return log.set_column(0, "driver_id", pa.array(["x"] * log.num_rows))

    world.rewrite_log(as_text)
    with pytest.raises(SourceError, match=r"3 file\(s\) cannot be used"):
        world.store.verify("model")


def test_a_log_of_newer_definitions(world: World) -> None:
    newer = pa.array([99] * 3, pa.int64())

    def rewritten(log: pa.Table) -> pa.Table:
        return log.set_column(log.column_names.index("__definitions_version"), "__definitions_version", newer)

    path = world.logs()[0]
    pq.write_table(rewritten(pq.read_table(path, partitioning=None)), path)
    found = world.store.verify("model")
    assert (found.services[0].newer_rows, found.services[0].rows) == (3, 6)
    assert not found.is_ok
    world.rewrite_log(rewritten)
    with pytest.raises(SourceError, match=r"(?s)9 row\(s\) are of definitions newer than version 1.*registry"):
        world.store.verify("model")


def test_a_source_that_is_gone(world: World) -> None:
    (world.folder / "rides.parquet").unlink()
    with pytest.raises(SourceError, match=r"rides\.parquet"):
        world.store.verify("model")


LIVE = FeatureView(
    name="live",
    entities=[DRIVER],
    schema=[Field(name="speed", dtype=Float64)],
    source=PushSource(name="alone", timestamp_field="ts"),
)


def faster(inputs: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(inputs["rate"], inputs["speed"], strict=True)
    return {"fast": [None if rate is None or speed is None else rate * speed for rate, speed in pairs]}


def test_what_has_no_history_is_named_and_the_rest_is_compared(tmp_path: Path) -> None:
    view = OnDemandFeatureView(
        name="computed",
        sources=[stats()[["rate"]], LIVE],
        schema=[Field(name="fast", dtype=Float64)],
        udf=faster,
        mode="python",
    )
    world = World(tmp_path, stats(), LIVE, view, model(stats()[["rate"]], LIVE, view, stats()[["trips"]]))
    world.write(fact(1, NOON - HOUR))
    world.load()
    world.store.write_to_online_store("live", [{"driver_id": 1, "speed": 0.5, "ts": NOON}])
    world.serve(1, 404)
    found = world.store.verify("model")
    (service,) = found.services
    assert [(each.feature, each.equal) for each in service.features] == [("stats:rate", 2), ("stats:trips", 2)]
    assert service.no_history == ("live:speed", "computed:fast")
    assert service.inputs == ()
    assert found.verdict == "4 values were compared, and none differs; 2 feature(s) have no history"
    assert (found.is_ok, world.store.verify("model", allow_no_history=True).is_ok) == (False, True)
    assert found.to_dict()["services"][0]["no_history"] == ["live:speed", "computed:fast"]
    assert "not compared: live:speed, computed:fast" in verification_page("world", found).html()
    assert (call(world).exit_code, call(world, "--allow-no-history").exit_code) == (1, 0)
    assert "computed:fast: not compared, because facts behind it are only pushed" in call(world).output


def test_what_differs_beside_what_has_no_history_is_not_allowed(tmp_path: Path) -> None:
    world = World(tmp_path, stats(), LIVE, model(stats()[["rate"]], LIVE))
    world.write(fact(1, NOON - HOUR))
    world.serve(1)
    found = world.store.verify("model", allow_no_history=True)
    assert (found.is_ok, found.different, found.services[0].causes) == (False, 1, {"store_lag": 1})


def test_a_service_without_any_history(tmp_path: Path) -> None:
    world = World(tmp_path, stats(), LIVE, model(LIVE))
    world.store.write_to_online_store("live", [{"driver_id": 1, "speed": 0.5, "ts": NOON}])
    world.serve(1)
    with pytest.raises(UnsupportedError, match="feature view live has no history"):
        world.store.verify("model", allow_no_history=True)


def test_a_request_that_brings_a_time_of_its_own(tmp_path: Path) -> None:
    request = RequestSource(name="asked", schema=[Field(name="event_timestamp", dtype=UnixTimestamp)])
    schema = [Field(name="product", dtype=Float64)]
    view = OnDemandFeatureView(
        name="computed", sources=[stats(), request], schema=schema, udf=plus_extra, mode="python"
    )
    world = World(tmp_path, stats(), view, model(view))
    with pytest.raises(UnsupportedError, match="reads 'event_timestamp' of the request"):
        world.store.verify("model")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_mismatch": 1.5}, "max_mismatch is 1.5"),
        ({"since": NOON, "until": NOON - HOUR}, "is after until"),
    ],
)
def test_arguments_that_make_no_sense(world: World, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        world.store.verify("model", **arguments)
    with pytest.raises(InputError, match="is not a time"):
        world.store.verify("model", since="yesterday")


def test_what_is_no_log_is_not_written(world: World, tmp_path: Path) -> None:
    service = world.store.get_feature_service("model")
    untyped: Any = world.store
    with pytest.raises(InputError, match="no column '__log_timestamp'"):
        world.store.write_logged_features(pa.table({"driver_id": [1]}), service)
    with pytest.raises(InputError, match="dict is no answer of a store"):
        untyped.write_logged_features([{"driver_id": 1}], service)
    with pytest.raises(StoreError, match=r"nowhere\.parquet cannot be read"):
        world.store.write_logged_features(tmp_path / "nowhere.parquet", service)


# How it is shown


def test_the_command_ends_with_0_when_nothing_differs(world: World) -> None:
    shown = call(world)
    assert shown.exit_code == 0, shown.output
    assert "model: 9 vectors, 2024-06-01T12:00:00Z to 2024-06-02T04:00:00Z" in shown.output
    assert "54 values were compared, and none differs" in shown.output


def test_what_was_computed_from_is_shown_apart(tmp_path: Path) -> None:
    view = product(view=stats()[["rate"]])
    world = World(tmp_path, stats(), view, model(view))
    world.write(fact(1, NOON - HOUR, rate=0.5))
    world.load()
    world.write(fact(1, NOON - MINUTE, rate=0.75))
    world.serve(1, extra=2.0)
    shown = call(world).output
    assert "1 of 1 values differ" in shown
    assert re.search(r"FEATURE .*\n.*computed:product +1 +0 +1 +0 +0 +0.5 difference +store_lag 1", shown), shown
    assert re.search(r"COMPUTED FROM .*\n.*stats:rate +1 +0 +1 +0 +0 +0.25 difference +store_lag 1", shown), shown
    found = world.store.verify("model")
    (computed_from,) = found.to_dict()["services"][0]["inputs"]
    assert (computed_from["feature"], computed_from["causes"]) == ("stats:rate", {"store_lag": 1})
    assert found.services[0].mismatches["feature"].to_pylist() == ["computed:product"]
    page = verification_page("world", found).html()
    assert "computed from" in page
    assert "stats:rate" in page


def test_the_command_ends_with_1_when_too_much_differs(world: World, tmp_path: Path) -> None:
    spoil(world)
    output = tmp_path / "mismatches.parquet"
    shown = call(world, "model", "--output", str(output))
    assert shown.exit_code == 1
    assert re.search(r"stats:rate +12 +11 +1 +0 +0 +0.25 difference +unexplained 1", shown.output), shown.output
    assert re.search(r"unexplained +2 +there is no evidence", shown.output)
    assert "2 of 72 values differ (2.7778%)" in shown.output
    assert pq.read_table(output).column_names[:4] == ["service", "feature", "kind", "cause"]
    assert pq.read_table(output).num_rows == 2
    assert call(world, "model", "--max-mismatch", "0.1").exit_code == 0
    assert call(world, "model", "--until", "2024-06-02T12:00:00").exit_code == 0
    assert call(world, "--max-mismatch", "2").exit_code == 2


def test_json(world: World) -> None:
    spoil(world)
    shown = call(world, "--json")
    found = json.loads(shown.output)
    assert (shown.exit_code, found["is_ok"], found["compared"], found["different"]) == (1, False, 72, 2)
    (service,) = found["services"]
    assert service["causes"] == {"unexplained": 2}
    assert service["features"][0]["feature"] == "stats:rate"
    assert service["versions"] == {"1": 12}


class Tags(HTMLParser):
    """Checks that every tag is closed, and collects what a page would fetch."""

    VOID = ("meta", "rect", "line", "polyline")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(world: World, tmp_path: Path) -> None:
    spoil(world)
    path = tmp_path / "report.html"
    assert call(world, "--html", str(path)).exit_code == 1
    page = path.read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.fetched == []
    assert "http" not in page
    assert "<script" not in page
    for text in ("2 of 72 values differ", "stats:rate", "unexplained", "driver_id=1", "2.25", "<svg"):
        assert text in page


def test_text_of_the_data_does_not_become_html(world: World) -> None:
    world.write(fact(1, NOON + DAY, place="<b>bold</b>"))
    world.clock.set(NOON + DAY + MINUTE)
    world.serve(1, extra=1.0)
    page = verification_page("<i>world</i>", world.store.verify("model")).html()
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&lt;b&gt;bold" in page
