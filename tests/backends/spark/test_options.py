"""The options of Spark, and its rows as messages: what needs no Spark."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tiffin.backends.spark.config import SparkOptions
from tiffin.backends.spark.messages import COLUMNS, messages_of, worked_off
from tiffin.contracts.options import options_from
from tiffin.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mastr": "local"}, "stream_engine has no option 'mastr'"),
        ({"trigger_seconds": -1}, "stream_engine.trigger_seconds is -1"),
        ({"max_messages_per_batch": 0}, "stream_engine.max_messages_per_batch is 0"),
        ({"conf": "x"}, "stream_engine.conf is 'x', where dict is expected"),
    ],
)
def test_wrong_options_are_errors(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        options_from(SparkOptions, "stream_engine", options)


def test_settings_that_may_be_secret_are_not_shown() -> None:
    assert "abc" not in repr(SparkOptions(conf={"spark.x": "abc"}, kafka={"sasl.jaas.config": "abc"}))


def batch() -> pa.RecordBatch:
    at = datetime(2024, 6, 1, tzinfo=UTC)
    header = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))
    columns = [
        pa.array([2, 2], pa.int32()),
        pa.array([7, 8], pa.int64()),
        pa.array([at, at], pa.timestamp("us", "UTC")),
        pa.array([b"k", None], pa.binary()),
        pa.array([None, b"v"], pa.binary()),
        pa.array([None, [{"key": "tenant", "value": b"a"}, {"key": "tenant", "value": b"b"}]], header),
    ]
    return pa.record_batch(columns, list(COLUMNS))


def test_rows_are_messages() -> None:
    found = messages_of(batch())
    assert (found.values, found.keys, found.offsets) == ([None, b"v"], [b"k", None], [7, 8])
    assert found.partitions.tolist() == [2, 2]
    assert found.times_us == [1_717_200_000_000_000] * 2
    assert found.header("tenant") == [None, b"b"]


def test_result_of_a_task_is_one_row_and_all_batches_are_one_task() -> None:
    (row,) = worked_off(lambda parts: b"%d" % sum(map(len, parts)), iter([batch(), batch()]))
    assert row.to_pydict() == {"result": [b"4"]}
