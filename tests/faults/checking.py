"""What must be there when a stream of clicks has been worked off, whatever happened meanwhile."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brokers import Kafka
from faults.clicks import TABLE, UNEXPECTED, expected, history, newest, poisoned, repository, usable, views, windows
from parity.repository import Repository
from servers import wait_until
from tiffin.contracts.stream import Until
from tiffin.operations.online import read_online
from tiffin.operations.quarantine import read_quarantine
from tiffin.operations.stream import run_stream, stream_status


def undisturbed(folder: Path, broker: Kafka, topic: str) -> dict[bytes, bytes]:
    """What one run from the beginning to the end leaves, in a project of its own."""
    calm = repository(folder, views(folder, broker.address, topic, is_strict=True), project="calm")
    run_stream(calm, until=Until())
    rows = dict(calm.online.scan_all(TABLE.replace("tests", "calm")))
    calm.close()
    return rows


def check(
    folder: Path, broker: Kafka, topic: str, messages: Sequence[Mapping[str, Any]], *, is_kept: bool = True, **more: Any
) -> None:
    """The store has what an undisturbed run leaves and the newest facts of all messages, each of them counted once.

    Each message is in the history, in the quarantine of both views, or a dead letter.

    Args:
        folder, broker, topic: of the test, whose views are strict.
        messages: that were sent.
        is_kept: the history has each of them, once.
        more: of the repository.
    """
    ctx = repository(folder, None, **more)
    rows = dict(ctx.online.scan_all(TABLE))
    assert rows == undisturbed(folder / "calm", broker, topic)
    good = expected(messages)
    latest = newest(good)
    features = [f"clicks:{name}" for name in ("amount", "page", "n")]
    found = read_online(ctx, features, {"user": list(latest)}).to_dict()
    spent = windows(good)
    held = read_online(
        ctx, [f"spending:{name}" for name in ("hour_sum", "hour_max", "day_count")], {"user": list(spent)}
    )
    columns = held.to_dict()
    rows_of_windows = zip(columns["hour_sum"], columns["hour_max"], columns["day_count"], strict=True)
    assert dict(zip(spent, rows_of_windows, strict=True)) == spent
    served = zip(latest.items(), zip(found["amount"], found["page"], found["n"], strict=True), strict=True)
    assert [(user, row) for (user, allowed), row in served if row not in allowed] == []
    if is_kept:
        assert history(folder) == usable(good)
    for view in ("clicks", "spending"):
        apart = read_quarantine(ctx, view)
        offsets = zip(apart["__partition"].to_pylist(), apart["__offset"].to_pylist(), strict=True)
        assert apart.num_rows == len(set(offsets)) == len(messages) - len(good) > 0
        assert set(apart["n"].to_pylist()) == {UNEXPECTED}
    (status,) = stream_status(ctx, ["clicks", "spending"], history=is_kept)
    assert {part.lag for part in status.partitions} == {0}
    # The counts are moved by the same commit as the positions.
    assert sum(part.count.messages for part in status.partitions) == len(messages)
    assert sum(part.count.dead for part in status.partitions) == poisoned(messages)
    letters = (folder / "data" / "dead_letters" / "clicks.jsonl").read_text().splitlines()
    places = {(letter["partition"], letter["offset"]) for letter in map(json.loads, letters)}
    assert len(places) == poisoned(messages)
    ctx.close()


def wait_for(ctx: Repository, count: int, *, is_kept: bool = True, seconds: float = 120) -> None:
    """Wait until so many messages are done, or more."""

    def is_done() -> bool:
        (status,) = stream_status(ctx, history=is_kept)
        return sum(int(part.committed or 0) for part in status.partitions) >= count

    wait_until(is_done, f"{count} messages", seconds=seconds, pause_seconds=0.2)
