"""Times of another zone are instants, also in a process that told Arrow to ignore zones."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pytest

from tiffin.definitions import Entity, FeatureView, Field, PushSource
from tiffin.operations.entity_rows import EntityRows, time_us, to_table
from tiffin.operations.frames import facts_table
from tiffin.time import to_us
from tiffin.types import Int64

MUMBAI = datetime(2024, 1, 1, 5, 30, tzinfo=timezone(timedelta(minutes=330)))
VIEW = FeatureView(
    name="v", entities=[Entity(name="k")], source=PushSource(name="p"), schema=[Field(name="x", dtype=Int64)]
)
FRAMES: dict[str, Any] = {
    "rows": [{"k": 1, "x": 1, "event_timestamp": MUMBAI}, {"k": 2, "x": 2, "event_timestamp": MUMBAI}],
    "columns": {"k": [1, 2], "x": [1, 2], "event_timestamp": [MUMBAI, MUMBAI]},
    "pandas": pd.DataFrame({"k": [1, 2], "x": [1, 2], "event_timestamp": [MUMBAI, MUMBAI]}),
    "pandas, objects": pd.DataFrame(
        {"k": [1, 2], "x": [1, 2], "event_timestamp": pd.Series([MUMBAI] * 2, dtype=object)}
    ),
}


@pytest.mark.parametrize("is_ignored", [False, True])
@pytest.mark.parametrize("kind", FRAMES)
def test_zone_counts_whatever_the_process_says(kind: str, is_ignored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYARROW_IGNORE_TIMEZONE", raising=False)
    if is_ignored:
        monkeypatch.setenv("PYARROW_IGNORE_TIMEZONE", "1")
    for table in (to_table(FRAMES[kind]), facts_table(VIEW, FRAMES[kind])):
        assert time_us(table["event_timestamp"], "event_timestamp").tolist() == [to_us("2024-01-01")] * 2
    assert EntityRows.from_any(FRAMES[kind]).time_column == "event_timestamp"
