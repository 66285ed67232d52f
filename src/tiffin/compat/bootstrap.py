"""What the scripts use that fill new repositories of Feast's with data: a history of drivers, and small tools."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tiffin.errors import TypeMismatchError, UnsupportedError
from tiffin.types import ValueType, from_arrow_type, value_type_of

if TYPE_CHECKING:
    import pandas as pd


def create_driver_hourly_stats_df(
    drivers: Sequence[int], start_date: datetime, end_date: datetime, *, seed: int = 20_130_907
) -> pd.DataFrame:
    """A row per driver and hour, with made-up rates.

    Args:
        drivers: their numbers.
        start_date: the first hour; without a zone it is UTC.
        end_date: the hour after the last one, at which all rows became known.
        seed: the same arguments give the same rows.
    """
    import numpy as np
    import pandas as pd

    start, end = (pd.to_datetime(time, utc=True) for time in (start_date, end_date))
    hours = pd.date_range(start, end, freq="h", inclusive="left")
    rows = len(hours) * len(drivers)
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "event_timestamp": np.tile(hours, len(drivers)),
            "driver_id": np.repeat(np.asarray(drivers, np.int64), len(hours)),
            "conv_rate": random.random(rows, np.float32),
            "acc_rate": random.random(rows, np.float32),
            "avg_daily_trips": random.integers(0, 1000, rows, np.int32),
            "created": end,
        }
    )


def replace_str_in_file(file_path: str | Path, match_str: str, sub_str: str) -> None:
    """Put a text in the place of another one, everywhere in a file."""
    file = Path(file_path)
    file.write_text(file.read_text(encoding="utf-8").replace(match_str, sub_str), encoding="utf-8")


def python_type_to_feast_value_type(
    name: str, value: Any = None, recurse: bool = True, type_name: str | None = None
) -> ValueType:
    """The value type of a Python value, or of a column's type.

    Args:
        name: what it is the value of, for the message.
        value: the value.
        recurse: accepted for compatibility; lists are always looked into.
        type_name: a type as pandas names it, such as ``int64``; the value counts where it says too little.

    Raises:
        TypeMismatchError: no feature can be of such a type.
    """
    import pandas as pd
    import pyarrow as pa

    if isinstance(value, dict):
        return ValueType.MAP
    if isinstance(value, UUID):
        return ValueType.UUID
    if isinstance(value, set | frozenset):
        return ValueType[python_type_to_feast_value_type(name, list(value)).name.replace("_LIST", "_SET")]
    try:
        arrow = pa.null() if type_name is None else pa.array(pd.Series([], dtype=type_name)).type
        return value_type_of(from_arrow_type(pa.infer_type([value]) if pa.types.is_null(arrow) else arrow))
    except (TypeError, UnsupportedError, pa.ArrowException) as error:
        what = f"of type {type_name}" if type_name is not None else f"{value!r} ({type(value).__name__})"
        raise TypeMismatchError(f"{name} is {what}, which no feature can be", subject=name) from error
