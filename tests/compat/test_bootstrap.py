"""The small tools of Feast's that scripts use to fill a new repository."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from tiffin.compat.bootstrap import (
    create_driver_hourly_stats_df,
    python_type_to_feast_value_type,
    replace_str_in_file,
)
from tiffin.errors import TypeMismatchError
from tiffin.types import ValueType

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)


def test_the_history_of_drivers_is_hourly_and_the_same_each_time() -> None:
    start, end = datetime(2024, 6, 1), datetime(2024, 6, 1, 3)
    made = create_driver_hourly_stats_df([1001, 1002], start, end)
    assert made["driver_id"].tolist() == [1001] * 3 + [1002] * 3
    assert made["event_timestamp"].max() == pd.Timestamp("2024-06-01T02:00:00Z")
    assert list(made)[2:] == ["conv_rate", "acc_rate", "avg_daily_trips", "created"]
    assert made.equals(create_driver_hourly_stats_df([1001, 1002], start, end))


def test_a_text_is_replaced_everywhere_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "feature_store.yaml"
    file.write_text("a: %NAME%\nb: %NAME%\n")
    replace_str_in_file(str(file), "%NAME%", "x")
    assert file.read_text() == "a: x\nb: x\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, ValueType.BOOL),
        (1, ValueType.INT64),
        ([1.5], ValueType.DOUBLE_LIST),
        ({1}, ValueType.INT64_SET),
        ({"a": 1}, ValueType.MAP),
        (NOON, ValueType.UNIX_TIMESTAMP),
    ],
)
def test_python_values_have_a_value_type(value: object, expected: ValueType) -> None:
    assert python_type_to_feast_value_type("x", value) is expected


def test_columns_have_a_value_type() -> None:
    types = {"int64": "INT64", "float32": "FLOAT", "datetime64[ns, UTC]": "UNIX_TIMESTAMP", "string": "STRING"}
    for type_name, expected in types.items():
        assert python_type_to_feast_value_type("x", type_name=type_name).name == expected
    assert python_type_to_feast_value_type("x", "a", type_name="object") is ValueType.STRING
    with pytest.raises(TypeMismatchError, match="x is of type junk"):
        python_type_to_feast_value_type("x", type_name="junk")
    with pytest.raises(TypeMismatchError, match="x is None"):
        python_type_to_feast_value_type("x")
