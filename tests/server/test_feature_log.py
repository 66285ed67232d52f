"""What was served is kept: which rows, with what, and that nothing is lost at a normal stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parity.repository import commit
from server.apps import add, drivers, rows, served
from tiffin.definitions import FeatureService, FileLoggingDestination, LoggingConfig
from tiffin.errors import StoreUnavailableError, UnsupportedError
from tiffin.operations.feature_log import sampled_rows
from tiffin.operations.online import read_online
from unit.online.drivers import STATS, opened


def service(share: float = 1.0, path: str = "served") -> FeatureService:
    config = LoggingConfig(FileLoggingDestination(path=path), sample_rate=share)
    return FeatureService(name="model", features=["stats"], logging_config=config)


def logged(folder: Path) -> pa.Table:
    return pq.read_table(folder / "served" / "model")


async def test_a_row_has_all_that_is_needed_to_check_it(tmp_path: Path) -> None:
    repository = drivers(tmp_path, service())
    async with served(repository) as server:
        feast = {"feature_service": "model", "entities": {"driver_id": [1, 3]}}
        await server.post("/get-online-features", feast, x_request_id="id-1")
        await server.post("/v1/features", {"service": "model", "rows": rows(404), "full_feature_names": True})
        await server.post("/v1/features", {"features": ["stats:trips"], "rows": rows(1)})
    table = logged(tmp_path)
    files = list((tmp_path / "served" / "model").rglob("*"))
    assert {path.parent.name for path in files if path.is_file()} == {"log_date=2024-06-01"}
    assert sorted(table.column_names) == sorted(
        [
            "driver_id",
            *(f"stats__{f}{suffix}" for f in ("trips", "rating") for suffix in ("", "__timestamp", "__status")),
            *("__log_timestamp", "__request_id", "__definitions_version", "__fallback", "log_date"),
        ]
    )
    first, second, third = sorted(table.to_pylist(), key=lambda row: row["driver_id"])
    assert (first["stats__trips"], first["stats__trips__status"], first["__request_id"]) == (10, 1, "id-1")
    assert (second["stats__trips"], second["stats__trips__status"]) == (None, 4)
    assert (third["stats__rating__status"], third["stats__rating__timestamp"]) == (3, None)
    assert first["stats__trips__timestamp"].isoformat() == "2024-06-01T11:00:00+00:00"
    assert first["__log_timestamp"].isoformat() == "2024-06-01T12:00:00+00:00"
    assert first["__definitions_version"] == repository.snapshot().version


async def test_a_fallback_is_logged_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(requests: Any) -> Any:
        raise StoreUnavailableError("the store is down")

    repository = drivers(tmp_path, service())
    monkeypatch.setattr(repository.online, "read", fail)
    async with served(repository, fallback="default") as server:
        assert (await server.post("/v1/features", {"service": "model", "rows": rows(1)})).status_code == 200
    assert logged(tmp_path)["__fallback"].to_pylist() == ["default"]


async def test_nothing_is_lost_at_a_normal_stop(tmp_path: Path) -> None:
    async with served(drivers(tmp_path, service()), log_seconds=3600.0) as server:
        for number in range(200):
            await server.post("/v1/features", {"service": "model", "rows": rows(number)})
    assert logged(tmp_path).num_rows == 200


async def test_an_entity_is_always_in_the_sample_or_never(tmp_path: Path) -> None:
    async with served(drivers(tmp_path, service(0.5))) as server:
        for _ in range(3):
            for number in range(100):
                key: Any = number if number % 2 else str(number)
                await server.post("/v1/features", {"service": "model", "rows": [{"driver_id": key}]})
        await server.post("/v1/features", {"service": "model", "rows": rows(*range(100))})
    counts: dict[int, int] = {}
    for key in logged(tmp_path)["driver_id"].to_pylist():
        counts[key] = counts.get(key, 0) + 1
    assert set(counts.values()) == {4}
    assert 30 < len(counts) < 70


def test_a_sample_does_not_depend_on_the_form_of_the_key(tmp_path: Path) -> None:
    repository = opened(tmp_path)
    plain = sampled_rows(read_online(repository, ["stats:trips"], rows(*range(100))), 0.3)
    texts = read_online(repository, ["stats:trips"], {"driver_id": [str(number) for number in range(100)]})
    assert sampled_rows(texts, 0.3) == plain
    assert set(plain) < set(sampled_rows(read_online(repository, ["stats:trips"], rows(*range(100))), 0.6))


async def test_rows_above_the_limit_are_counted_and_dropped(tmp_path: Path) -> None:
    async with served(drivers(tmp_path, service()), log_rows=5, log_seconds=3600.0) as server:
        log = server.app.serving.feature_log
        log.flush = lambda: None  # type: ignore[method-assign]
        for _ in range(3):
            response = await server.post("/v1/features", {"service": "model", "rows": rows(1, 2)})
            assert response.status_code == 200
        assert "tiffin_unlogged_rows_total 2.0" in (await server.get("/metrics")).text
        del log.flush  # type: ignore[method-assign]
    assert logged(tmp_path).num_rows == 4


@pytest.mark.parametrize("path", ["s3://bucket/served", "file.txt"])
async def test_a_log_that_cannot_be_written_stops_no_request(tmp_path: Path, path: str) -> None:
    (tmp_path / "file.txt").write_text("not a folder")
    repository = drivers(tmp_path)
    # As a registry may have it from before this was refused.
    commit(repository, [STATS, service(path=path)])
    async with served(repository) as server:
        response = await server.post("/v1/features", {"service": "model", "rows": rows(1)})
        assert response.status_code == 200
        server.app.serving.feature_log.flush()
        failed = [line for line in server.lines() if line["event"] == "feature_log_failed"]
        assert failed[0]["rows"] == 1


@pytest.mark.parametrize("path", ["s3://bucket/served", "gs://bucket/served", "hdfs://name/served"])
def test_another_place_than_a_folder_is_refused_by_apply(tmp_path: Path, path: str) -> None:
    repository = drivers(tmp_path)
    with pytest.raises(UnsupportedError, match=f"feature service model: .*{path.partition(':')[0]}"):
        add(repository, service(path=path))
    assert not repository.snapshot().services


async def test_a_folder_may_be_written_as_a_url(tmp_path: Path) -> None:
    async with served(drivers(tmp_path, service(path=f"file://{tmp_path}/served"))) as server:
        await server.post("/v1/features", {"service": "model", "rows": rows(1)})
    assert logged(tmp_path).num_rows == 1
