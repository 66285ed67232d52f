"""Drift among the checks of a scheduler: found for every view, told once for every period, and computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quality.conftest import hotter, machine, pushed, readings, readings_table, view_of
from tiffin import FeatureStore, FeatureView, Field, FileSource, PushSource
from tiffin.errors import ConfigError
from tiffin.quality import drift_watch, references
from tiffin.quality.checks import Finding
from tiffin.quality.drift_check import DriftCheck
from tiffin.quality.history import list_kept
from tiffin.types import Float64

Opens = Callable[..., FeatureStore]
FIRST_DAY, HOT_DAY = "2024-01-02T00:30", "2024-02-02T00:30"


def opened(open_store: Opens, *entries: dict[str, Any], table: pa.Table | None = None) -> FeatureStore:
    both = pa.concat_tables([readings_table(), hotter()])
    return open_store(table=both if table is None else table, drift=list(entries))


def found(store: FeatureStore, at: str) -> dict[str, Finding]:
    store.context.clock.set(at)  # type: ignore[attr-defined]
    return {finding.subject: finding for finding in DriftCheck().run(store.context)}


def saved(store: FeatureStore, name: str, table: pa.Table) -> None:
    """A training set that is the readings of a table."""
    labels = table.select(["machine_id", "ts"]).rename_columns(["machine_id", "event_timestamp"])
    job = store.get_historical_features(labels, ["machines:heat", "machines:errors"])
    store.create_saved_dataset(job, name, f"{name}.parquet")


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    calls: list[Any] = []
    function = getattr(module, name)

    def counts(*arguments: Any, **more: Any) -> Any:
        calls.append(arguments)
        return function(*arguments, **more)

    monkeypatch.setattr(module, name, counts)
    return calls


def test_features_that_drift_from_the_first_period_are_told_with_their_distances(open_store: Opens) -> None:
    store = opened(open_store, {"view": "machines"})
    assert found(store, FIRST_DAY) == {}
    findings = found(store, HOT_DAY)
    assert set(findings) == {"feature view machines: heat", "feature view machines: state"}
    state = findings["feature view machines: state"].message
    assert "null share 0.4, where 0.05 is allowed" in state
    assert state.endswith("; from 2024-02-01 to 2024-02-02, held to first")
    assert "make that training set the reference of machines in quality.drift" in findings.popitem()[1].hint


def test_a_period_is_profiled_once_and_read_once(open_store: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(open_store, {"view": "machines"})
    profiled = counted(monkeypatch, drift_watch, "profile_view")
    read = counted(monkeypatch, drift_watch, "read_profile")
    found(store, FIRST_DAY)
    first = found(store, HOT_DAY)
    assert (len(profiled), len(read)) == (2, 2)
    for hour in range(1, 24):
        assert found(store, f"2024-02-02T{hour:02}:00") == first
    assert (len(profiled), len(read)) == (2, 2)
    # What was found is no secret of one process, and a damaged file is made again.
    (store.config.quality_path / "monitor" / "plant.drift.json").write_text("{")
    assert found(store, HOT_DAY) == first
    assert (len(profiled), len(read)) == (2, 4)


def test_profiles_are_kept_for_trends(open_store: Opens) -> None:
    store = opened(open_store, {"view": "machines"})
    for at in (FIRST_DAY, HOT_DAY):
        found(store, at)
    first, second = store.profiles("machines")
    assert first.rows == second.rows == 1440
    assert [each.drifted for each in store.drift_trend("machines", first)] == [(), ("heat", "state")]


def test_changed_settings_are_judged_anew(open_store: Opens) -> None:
    store = opened(open_store, {"view": "machines"})
    found(store, FIRST_DAY)
    found(store, HOT_DAY)
    with opened(open_store, {"view": "machines", "columns": ["heat"]}) as other:
        assert set(found(other, HOT_DAY)) == {"feature view machines: heat"}
    with opened(open_store, {"view": "machines", "thresholds": {"psi": None, "null_share": None}}) as other:
        assert found(other, HOT_DAY) == {}
    with opened(open_store, {"view": "machines", "thresholds": {"psi": 100, "chi_square": 0.01}}) as other:
        message = found(other, HOT_DAY)["feature view machines: heat"].message
        assert message.startswith("chi square ")
        assert ", where 0.01 is allowed; from" in message


def test_a_training_set_is_a_reference_until_its_file_is_another_one(
    open_store: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(open_store, {"view": "machines", "reference": "training"})
    saved(store, "training", readings_table())
    profiled = counted(monkeypatch, references, "profile_table")
    findings = found(store, HOT_DAY)
    assert set(findings) == {"feature view machines: heat"}
    assert findings["feature view machines: heat"].message.endswith("held to training")
    found(store, HOT_DAY)
    assert len(profiled) == 1
    path = store.config.repo_path / "training.parquet"
    hot = pq.read_table(path)
    pq.write_table(hot.set_column(hot.column_names.index("heat"), "heat", hotter()["heat"]), path)
    assert found(store, HOT_DAY) == {}
    assert len(profiled) == 2
    assert len(list((store.config.quality_path / "references" / "machines").iterdir())) == 1


def test_a_training_set_of_other_types_is_drift(open_store: Opens) -> None:
    store = opened(open_store, {"view": "machines", "reference": "training"})
    saved(store, "training", readings_table())
    path = store.config.repo_path / "training.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index("errors"), "errors", table["errors"].cast("string")), path)
    message = found(store, HOT_DAY)["feature view machines: errors"].message
    assert message.startswith("it is int64 now, and string in the reference; from")


def test_a_period_is_a_reference(open_store: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(open_store, {"view": "machines", "reference": "2024-01-01..2024-01-31"})
    profiled = counted(monkeypatch, references, "profile_view")
    assert len(found(store, HOT_DAY)) == 2
    assert found(store, FIRST_DAY) == {}
    assert len(profiled) == 1


def test_what_is_served_is_looked_at_once_in_a_period(open_store: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(open_store, {"view": "machines", "online": True, "period": "6h"}, {"view": "machines"})
    profiled = counted(monkeypatch, drift_watch, "profile_online")
    store.materialize("2024-01-01", "2024-01-15")
    assert found(store, "2024-02-10T00:10") == {"feature view machines": _no_facts()}
    store.materialize("2024-01-15", "2024-03-01")
    found(store, "2024-02-10T05:59")
    assert len(profiled) == 1
    assert "feature view machines as served: heat" in found(store, "2024-02-10T06:00")
    assert len(profiled) == 2


def _no_facts() -> Finding:
    return Finding(
        "drift",
        "feature view machines",
        "its drift cannot be told: feature view machines has no facts between "
        "2024-02-09T00:00:00Z and 2024-02-10T00:00:00Z",
        "look at `period`, `wait` and `reference` of machines in quality.drift, and whether its facts still come",
    )


def test_a_period_is_looked_at_when_its_late_facts_are_there(open_store: Opens) -> None:
    store = opened(open_store, {"view": "machines", "wait": "3h"})
    found(store, "2024-01-02T02:59")
    assert list_kept(store.context, "machines") == []
    # A profile of somebody who was too early is none of the period.
    store.profile("machines", "2024-01-01", "2024-01-02", keep=True)
    found(store, "2024-01-02T03:00")
    assert [each.taken_us % 86_400_000_000 // 3_600_000_000 for each in list_kept(store.context, "machines")] == [2, 3]


def test_every_view_with_a_history_is_looked_at(open_store: Opens) -> None:
    store = opened(open_store, {"view": "*"}, {"view": "named", "reference": "2024-01-01..2024-01-03"})
    schema = [Field(name="heat", dtype=Float64)]
    slow = FileSource(name="slow", path="slow.parquet", timestamp_field="ts")
    pq.write_table(readings_table(10), store.config.repo_path / "slow.parquet")
    store.apply(
        [
            FeatureView(name="named", entities=[machine], source=readings, schema=schema),
            FeatureView(name="slow", entities=[machine], source=slow, schema=schema),
            FeatureView(name="off", entities=[machine], source=readings, schema=schema, enabled=False),
            FeatureView(name="only_pushed", entities=[machine], source=PushSource(name="p"), schema=schema),
        ]
    )
    assert found(store, FIRST_DAY) == {}
    # A view that nobody named need not have facts in every period.
    assert set(found(store, HOT_DAY)) == {
        "feature view machines: heat",
        "feature view machines: state",
        "feature view named: heat",
    }


def test_a_view_that_cannot_be_looked_at_hides_no_other_and_ends_nothing(open_store: Opens) -> None:
    store = opened(open_store, {"view": "gone"}, {"view": "machines"})
    assert list(found(store, FIRST_DAY)) == ["feature view gone"]
    before = found(store, HOT_DAY)
    assert len(before) == 3
    (store.config.repo_path / "readings.parquet").unlink()
    after = found(store, "2024-02-03T00:30")
    told = set(after) - set(before)
    assert len(told) == 1
    assert after[told.pop()].message.startswith("its drift cannot be told: ")
    assert {subject: after[subject] for subject in before} == before


@pytest.mark.parametrize(
    ("entry", "subject", "message"),
    [
        ({"view": "machine"}, "feature view machine", "no feature view 'machine'"),
        ({"view": "*", "reference": "unknown"}, "saved dataset unknown", "no saved dataset 'unknown'"),
        ({"view": "machines", "columns": ["heet"]}, "machines", "has no column 'heet'"),
        ({"view": "machines", "reference": "2023-01-01..2023-02-01"}, "feature view machines", "has no facts between"),
        ({"view": "machines", "online": True}, "feature view machines as served", ""),
    ],
)
def test_what_is_wrong_is_told(open_store: Opens, entry: dict[str, Any], subject: str, message: str) -> None:
    store = opened(open_store, entry)
    found(store, FIRST_DAY)
    findings = found(store, HOT_DAY)
    if not message:
        assert findings == {}
        return
    assert list(findings) == [subject]
    assert message in findings[subject].message


def test_a_missing_file_of_a_training_set_is_told(open_store: Opens) -> None:
    store = opened(open_store, {"view": "machines", "reference": "training"})
    saved(store, "training", readings_table())
    (store.config.repo_path / "training.parquet").rename(store.config.repo_path / "elsewhere")
    (finding,) = found(store, HOT_DAY).values()
    assert (finding.subject, finding.hint[:19]) == ("saved dataset training", "bring the file back")
    (store.config.repo_path / "elsewhere").rename(store.config.repo_path / "training.parquet")
    before = found(store, HOT_DAY)
    assert set(before) == {"feature view machines: heat"}
    (store.config.repo_path / "training.parquet").unlink()
    # What was found before stands.
    assert found(store, HOT_DAY) == before | {finding.subject: finding}


def test_a_dataset_is_a_reference_of_the_views_that_it_has(open_store: Opens) -> None:
    store = opened(open_store, {"view": "*", "reference": "training"})
    other = FeatureView(name="other", entities=[machine], source=readings, schema=[Field(name="heat", dtype=Float64)])
    store.apply([other])
    saved(store, "training", readings_table())
    assert set(found(store, HOT_DAY)) == {"feature view machines: heat"}


def test_the_monitor_tells_and_ends_it(open_store: Opens) -> None:
    store = opened(open_store, {"view": "machines"})
    found(store, FIRST_DAY)
    store.context.clock.set(HOT_DAY)  # type: ignore[attr-defined]
    assert [each.check for each in store.monitor(["drift"]).findings] == ["drift", "drift"]


def test_nothing_declared_is_nothing_kept(open_store: Opens) -> None:
    store = opened(open_store)
    assert found(store, HOT_DAY) == {}
    assert not store.config.quality_path.exists()


def test_entries_of_the_settings_are_checked(open_store: Opens, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there twice"):
        open_store(view_of(), drift=[{"view": "a"}, {"view": "a"}])
    assert pushed.batch_source is readings
