"""Reads the shards of a stream, one after the other, parents before children."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from tiffin.backends.kinesis.roster import Roster
from tiffin.contracts.stream import Cursors, Messages, Start, StreamReader, Until
from tiffin.errors import StoreUnavailableError, StreamUnavailableError
from tiffin.time import from_us, to_us

log = logging.getLogger("tiffin.kinesis")

#: As many records does one call give.
_MOST_RECORDS = 10_000
#: How often positions are kept while work goes on, and how long to leave a stream alone that cannot be reached.
_COMMIT_SECONDS, _PAUSE_SECONDS = 0.5, 1.0


@dataclass(frozen=True)
class Shard:
    """A shard and the shards that it was made of."""

    name: str
    parents: tuple[str, ...]


def list_shards(client: Any, stream: str) -> list[Shard]:
    """The shards that Kinesis still has, closed ones included."""
    found, more = [], {"StreamName": stream}
    while True:
        page = client.list_shards(**more)
        for shard in page["Shards"]:
            parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
            found.append(Shard(shard["ShardId"], tuple(parent for parent in parents if parent)))
        if not page.get("NextToken"):
            return found
        more = {"NextToken": page["NextToken"]}


class Position(msgspec.Struct, frozen=True):
    """Where reading goes on in a shard: behind a record; or nowhere, when the shard is closed and done."""

    offset: str = ""
    is_closed: bool = False
    note: str = ""


class Positions:
    """The positions of a group, kept as cursors under names of their own."""

    def __init__(self, cursors: Cursors, group: str) -> None:
        self._cursors = cursors
        self._group = group

    def of(self, shard: str) -> Position:
        """The position in a shard; one without an offset when there is none."""
        kept = self._cursors.get_cursor(f"{self._group}.{shard}")
        return Position() if kept is None else msgspec.json.decode(kept, type=Position)

    def keep(self, shard: str, position: Position) -> None:
        """Keep it, durably."""
        self._cursors.put_cursor(f"{self._group}.{shard}", msgspec.json.encode(position))


@dataclass
class _Reading:
    """A shard that is read.

    Attributes:
        shard: it.
        polled, done: where it is, and up to where the work is durable.
        kept: what was kept last.
        begin: how to get an iterator before the first record.
        iterator: for the next call; empty where one is to be had first.
        next_at: the next call, by the monotonic clock.
        is_at_end: nothing waited in it when it was asked last, or the end of the run is reached.
        is_own: this worker reads it; not another one.
    """

    shard: Shard
    polled: Position
    begin: Mapping[str, Any]
    done: Position = field(default_factory=Position)
    kept: Position = field(default_factory=Position)
    iterator: str = ""
    next_at: float = 0.0
    is_at_end: bool = False
    is_own: bool = True


class KinesisReader(StreamReader):
    """Reads a stream.

    Args:
        client: of botocore.
        stream: its name.
        positions: of the group.
        start: where to begin in a shard without a position, or in all of them.
        until: where to end; a time that is still to come means what is there.
        roster: the workers that share the shards; ``None`` for a worker that reads all.
        seconds_between_reads: of one shard.
        failures: wraps errors.
    """

    def __init__(
        self,
        client: Any,
        stream: str,
        positions: Positions,
        *,
        start: Start,
        until: Until | None,
        roster: Roster | None,
        seconds_between_reads: float,
        failures: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._client = client
        self._stream = stream
        self._positions = positions
        self._start = start
        self._until = until
        self._roster = roster
        self._pause = seconds_between_reads
        self._failures = failures
        self._readings: list[_Reading] = []
        self._kept_at = time.monotonic()
        if roster is not None:
            roster.enter()
        self._find_shards(is_first=True)

    def _find_shards(self, *, is_first: bool = False) -> None:
        """Take up shards that are not read yet and whose parents are done, as far as these are still there."""
        shards = list_shards(self._client, self._stream)
        there = {shard.name for shard in shards}
        own = there if self._roster is None else self._roster.own(list(there))
        self._readings = [self._divided(reading, is_own=reading.shard.name in own) for reading in self._readings]
        for shard in shards:
            known = {reading.shard.name for reading in self._readings}
            if shard.name in known or shard.name not in own:
                continue
            if any(parent in there and not self._is_done(parent) for parent in shard.parents):
                continue
            position = self._positions.of(shard.name)
            begin = self._begin(shard, position, is_new=not is_first and bool(shard.parents))
            if self._start.place != "committed":
                position = Position(note=position.note)
            self._readings.append(_Reading(shard, position, begin, done=position, kept=position))

    def _divided(self, reading: _Reading, *, is_own: bool) -> _Reading:
        """A shard, let go of, or taken up again where the others have got to."""
        if is_own and not reading.is_own:
            position = self._positions.of(reading.shard.name)
            return _Reading(reading.shard, position, self._began_at(position), done=position, kept=position)
        if reading.is_own and not is_own:
            # What was polled and is not done comes again, to whoever has the shard now.
            self._keep_one(reading)
            reading.is_own = False
        return reading

    def _is_done(self, shard: str) -> bool:
        """Whether a shard is closed and read, by this worker or, as its position tells, by another one."""
        mine = [reading for reading in self._readings if reading.shard.name == shard and reading.is_own]
        return mine[0].polled.is_closed if mine else self._positions.of(shard).is_closed

    @staticmethod
    def _began_at(position: Position) -> Mapping[str, Any]:
        if position.offset:
            return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": position.offset}
        return {"ShardIteratorType": "TRIM_HORIZON"}

    def _begin(self, shard: Shard, position: Position, *, is_new: bool) -> Mapping[str, Any]:
        place = self._start.place
        if place == "committed":
            return self._began_at(position)
        if place == "latest" and not is_new:
            return {"ShardIteratorType": "LATEST"}
        if place == "time":
            return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": from_us(self._start.time_us)}
        return {"ShardIteratorType": "TRIM_HORIZON"}

    def poll(self, max_messages: int, max_bytes: int, wait_seconds: float) -> Messages | None:
        """The next records of the shards that may be asked again, waiting for the first of them if need be."""
        until = time.monotonic() + wait_seconds
        while True:
            try:
                with self._failures():
                    if self._roster is not None and self._roster.enter():
                        self._find_shards()
                    found = self._read_due(max_messages, max_bytes)
            except (StreamUnavailableError, StoreUnavailableError) as error:
                log.warning("%s", error.message)
                for reading in self._readings:
                    reading.next_at = time.monotonic() + _PAUSE_SECONDS
                found = []
            if found:
                return self._messages(found)
            open_ = [each.next_at for each in self._readings if each.is_own and not each.polled.is_closed]
            wake_at = min([until, *open_])
            self._keep(flush=False)
            if time.monotonic() >= until or not open_ or wake_at >= until:
                time.sleep(max(0.0, min(until, wake_at) - time.monotonic()))
                return None
            time.sleep(max(0.0, wake_at - time.monotonic()))

    def _read_due(self, max_messages: int, max_bytes: int) -> list[tuple[int, dict[str, Any]]]:
        found: list[tuple[int, dict[str, Any]]] = []
        size = 0
        for number, reading in enumerate(self._readings):
            if len(found) >= max_messages or size >= max_bytes:
                break
            if reading.is_own and not reading.polled.is_closed and time.monotonic() >= reading.next_at:
                records = self._read(reading, min(_MOST_RECORDS, max_messages - len(found)))
                size += sum(len(record["Data"]) for record in records)
                found += [(number, record) for record in records]
        # Workers that share the shards look for new ones whenever they read their list.
        if self._roster is None and any(
            reading.polled.is_closed and reading.shard.name not in self._followed() for reading in self._readings
        ):
            self._find_shards()
        return found

    def _followed(self) -> set[str]:
        """The shards whose children are read."""
        return {parent for reading in self._readings for parent in reading.shard.parents}

    def _read(self, reading: _Reading, limit: int) -> list[dict[str, Any]]:
        """One call for one shard."""
        reading.next_at = time.monotonic() + self._pause
        if not reading.iterator:
            reading.iterator = self._client.get_shard_iterator(
                StreamName=self._stream, ShardId=reading.shard.name, **reading.begin
            )["ShardIterator"]
        try:
            answer = self._client.get_records(ShardIterator=reading.iterator, Limit=limit)
        except self._client.exceptions.ExpiredIteratorException:
            reading.iterator = ""
            return []
        records: list[dict[str, Any]] = answer["Records"]
        reading.iterator = answer.get("NextShardIterator") or ""
        is_last = not reading.iterator or answer.get("MillisBehindLatest") == 0
        if self._until is not None and self._until.time_us is not None:
            limit_us = self._until.time_us
            before = [record for record in records if to_us(record["ApproximateArrivalTimestamp"]) < limit_us]
            is_last, records = is_last or len(before) < len(records), before
        if records:
            reading.polled = replace_offset(reading.polled, records[-1]["SequenceNumber"])
            reading.begin = self._began_at(reading.polled)
        if not answer.get("NextShardIterator"):
            reading.polled = Position(reading.polled.offset, True, reading.polled.note)
        reading.is_at_end = is_last
        if is_last and self._until is not None:
            # Nothing after the end is wanted; the shard is not asked again in this run.
            reading.next_at = float("inf")
        return records

    def _messages(self, found: Sequence[tuple[int, dict[str, Any]]]) -> Messages:
        records = [record for _, record in found]
        return Messages(
            [record["Data"] for record in records],
            np.asarray([number for number, _ in found], np.int32),
            [record["SequenceNumber"] for record in records],
            lambda: [record["PartitionKey"].encode() for record in records],
            lambda: [to_us(record["ApproximateArrivalTimestamp"]) for record in records],
            lambda: [()] * len(records),
        )

    def mark(self, notes: Mapping[int, str]) -> None:
        """Note something, to be kept with the positions."""
        for number, note in notes.items():
            reading = self._readings[number]
            reading.polled = Position(reading.polled.offset, reading.polled.is_closed, note)

    def done(self, *, flush: bool = False) -> None:
        """Say that everything polled so far is durable; kept now and then."""
        for reading in self._readings:
            reading.done = reading.polled
        self._keep(flush=flush)

    def _keep(self, *, flush: bool) -> None:
        if not flush and time.monotonic() < self._kept_at + _COMMIT_SECONDS:
            return
        self._kept_at = time.monotonic()
        try:
            for reading in self._readings:
                if reading.is_own:
                    self._keep_one(reading)
        except StoreUnavailableError as error:
            if flush:
                raise
            # A crash before the next time works off again what is not kept.
            log.info("positions are not kept: %s", error.message)

    def _keep_one(self, reading: _Reading) -> None:
        if reading.done != reading.kept:
            self._positions.keep(reading.shard.name, reading.done)
            reading.kept = reading.done

    def notes(self) -> Mapping[int, str]:
        """What was marked last, else kept with the positions."""
        return {number: reading.polled.note for number, reading in enumerate(self._readings) if reading.is_own}

    def keep_alive(self) -> None:
        """Stay in the list of workers; shards move only while polling."""
        if self._roster is not None:
            self._roster.enter()

    def name(self, partition: int) -> str:
        """The shard's name."""
        return self._readings[partition].shard.name

    def is_finished(self) -> bool:
        """Whether all shards were at their end when they were asked last, and no children wait."""
        return self._until is not None and all(
            reading.is_at_end or reading.polled.is_closed for reading in self._readings
        )

    def lag(self) -> int | None:
        """Kinesis tells milliseconds, not records."""
        return None

    def close(self) -> None:
        """Keep what is done, and leave the shards to the others."""
        self._keep(flush=True)
        if self._roster is not None:
            self._roster.leave()


def replace_offset(position: Position, offset: str) -> Position:
    """The position behind a later record."""
    return Position(offset, position.is_closed, position.note)
