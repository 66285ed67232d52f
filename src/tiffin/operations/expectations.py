"""Hold facts to what is expected of them, batch by batch, before they are written.

Facts that are not as expected are counted, put into the quarantine, or keep everything from being written. For the
last, a load has to be seen as a whole before its first fact is written: its batches wait in a file meanwhile, so that
memory stays bounded (MAT-4) and what was checked is what is written.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import numpy_values, shown, single_chunk, valid_mask
from tiffin.definitions import Expectation, FeatureView
from tiffin.definitions.expectation import FAIL, QUARANTINE
from tiffin.errors import ExpectationError, StoreError
from tiffin.operations.facts import EVENT_COLUMN
from tiffin.operations.quarantine import Places, Quarantine
from tiffin.planning.expectations import Check, Checks, plan_checks, whole_pattern
from tiffin.time import format_duration, format_us, from_us
from tiffin.windows.conditions import Not, is_true
from tiffin.windows.hashing import row_hashes

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.operations.context import Context

log = logging.getLogger("tiffin.expectations")

BoolArray = NDArray[np.bool_]
Batch = Any


@dataclass(frozen=True)
class Unmet:
    """An expectation that facts did not meet.

    Attributes:
        view: whose facts.
        expectation: as people read it.
        on_failure: what became of them.
        rows: how many facts were not as expected; of an expectation of all facts together, how many there were.
        found: one of them, or what was found instead.
    """

    view: str
    expectation: str
    on_failure: str
    rows: int
    found: str

    def __str__(self) -> str:
        return f"{self.view}: expected that {self.expectation}; {self.found}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return asdict(self)


class Guard:
    """Checks the facts of one load or push of a view.

    Args:
        ctx: the opened project.
        view: the view.
        end_us: where the range of a load ends; ``None`` for a push, whose size and age are what they are.
        places: where messages stand that are checked; in the quarantine each is once, however often it comes.
    """

    def __init__(
        self, ctx: Context, view: FeatureView, end_us: int | None = None, places: Places | None = None
    ) -> None:
        self._view = view
        self._places = places
        self._checks = checks_of(ctx, view)
        self._end_us = end_us
        self._counts: dict[Expectation, tuple[int, str]] = {}
        self._seen = _Seen(self._checks)
        self._quarantine = Quarantine(ctx, view.name)
        self.quarantined = 0

    @property
    def unmet(self) -> tuple[Unmet, ...]:
        """What was not met so far."""
        return tuple(self._unmet(item, *found) for item, found in self._counts.items())

    def guarded(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The facts of a load without those that go into the quarantine.

        Raises:
            ExpectationError: an expectation is not met that keeps everything from being written; nothing has been
                yielded then.
            StoreError: the quarantine, or the file that batches wait in, cannot be written.
        """
        if not self._checks:
            yield from batches
            return
        try:
            if self._checks.may_fail:
                yield from self._spooled(batches)
            else:
                yield from self._taken(batches)
            self.settle()
        finally:
            self._quarantine.discard()

    def take(self, batch: Batch, numbers: NDArray[np.int64] | None = None) -> tuple[Batch, BoolArray]:
        """The facts of a batch that go on, and (n,) which these are; the others wait for ``settle``.

        Args:
            batch: n facts, with keys, payload and ``__event_us``.
            numbers: (n,) the numbers of their rows, for what is said of them.

        Raises:
            ExpectationError: a fact keeps everything from being written.
        """
        import pyarrow as pa

        good = np.ones(batch.num_rows, np.bool_)
        if not self._checks:
            return batch, good
        columns = _columns(batch, self._checks)
        reasons: list[tuple[BoolArray, str]] = []
        for check in self._checks.of_rows:
            bad = _unmet_by(check, columns, batch.num_rows)
            if not bad.any():
                continue
            self._count(check.expectation, bad, batch, numbers)
            if check.expectation.on_failure == QUARANTINE:
                good &= ~bad
                reasons.append((bad, str(check.expectation)))
        self._seen.add(columns, good)
        if good.all():
            return batch, good
        places = None if self._places is None or numbers is None else self._places(numbers[~good])
        self._quarantine.add(batch, good, reasons, places)
        self.quarantined += int((~good).sum())
        return batch.filter(pa.array(good)), good

    def judge(self) -> None:
        """Check what is expected of all facts together.

        Raises:
            ExpectationError: an expectation is not met that keeps everything from being written.
        """
        for check in self._checks.of_all:
            found = self._seen.unmet(check.expectation, self._end_us)
            if found:
                self._counts[check.expectation] = self._seen.rows, found
                self._raise_if_fatal(check.expectation)

    def settle(self) -> None:
        """Let readers see the quarantine, and say what was not met.

        Raises:
            StoreError: the quarantine cannot be written.
        """
        self._quarantine.close()
        for unmet in self.unmet:
            log.warning("%s (%s)", unmet, unmet.on_failure)

    def _taken(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            kept, _ = self.take(batch)
            self._quarantine.write()
            yield kept
        self.judge()

    def _spooled(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The facts after all of them were checked; in the meantime they are in a file that nobody else sees."""
        import pyarrow as pa

        try:
            with tempfile.TemporaryFile(prefix="tiffin-checked-") as file:
                writer = None
                for batch in self._taken(batches):
                    whole = _one_batch(batch)
                    writer = writer or pa.ipc.new_stream(file, whole.schema)
                    writer.write_batch(whole)
                if writer is None:
                    return
                writer.close()
                file.seek(0)
                yield from pa.ipc.open_stream(file)
        except OSError as error:
            hint = "checked facts wait in a temporary file: check the free space, or set TMPDIR"
            raise StoreError(f"the checked facts of {self._view.name} cannot be kept: {error}", hint=hint) from error

    def _count(self, item: Expectation, bad: BoolArray, batch: Batch, numbers: NDArray[np.int64] | None) -> None:
        rows, example = self._counts.get(item, (0, ""))
        if not example:
            place = int(np.argmax(bad))
            example = f"{_shown_fact(batch, place, self._view, item)} is not so"
            if numbers is not None:
                example = f"row {numbers[place]}: {example}"
        self._counts[item] = rows + int(bad.sum()), example
        self._raise_if_fatal(item)

    def _raise_if_fatal(self, item: Expectation) -> None:
        if item.on_failure != FAIL:
            return
        _, found = self._counts[item]
        raise ExpectationError(
            f"{self._view.subject} expects that {item}; {found}, so that nothing was written",
            subject=self._view.subject,
            location=item.location if item.location != "registry" else self._view.location,
            hint="correct the source, or let on_failure be 'quarantine' or 'warn'",
        )

    def _unmet(self, item: Expectation, rows: int, found: str) -> Unmet:
        return Unmet(self._view.name, str(item), item.on_failure, rows, found)


def checks_of(ctx: Context, view: FeatureView) -> Checks:
    """The checks of a view, made once per version of the definitions."""
    plans = ctx.snapshot().plans
    shape: Any = ("checks", view.name)
    found: tuple[FeatureView, Checks] | None = plans.get(shape)
    if found is None or found[0] is not view:
        found = plans[shape] = (view, plan_checks(view))
    return found[1]


class _Seen:
    """What is remembered of all facts for the expectations of all of them."""

    def __init__(self, checks: Checks) -> None:
        self.rows = 0
        self._newest_us: int | None = None
        self._event = checks.event_column
        self._hashes: dict[tuple[str, ...], list[NDArray[np.uint64]]] = {
            check.expectation.columns: [] for check in checks.of_all if check.expectation.kind == "unique"
        }

    def add(self, columns: Mapping[str, pa.Array], good: BoolArray) -> None:
        """Remember the facts of a batch that go on."""
        import pyarrow as pa

        self.rows += int(good.sum())
        if not good.any():
            return
        newest = int(numpy_values(columns[self._event])[good].max())
        self._newest_us = newest if self._newest_us is None else max(self._newest_us, newest)
        for names, held in self._hashes.items():
            parts = [columns[name] for name in names]
            there = np.logical_and.reduce([good, *(valid_mask(part) for part in parts)])
            held.append(row_hashes([part.filter(pa.array(there)) for part in parts]))

    def unmet(self, item: Expectation, end_us: int | None) -> str:
        """What was found instead; empty where it is as expected."""
        if item.kind == "unique":
            hashes = np.concatenate([np.empty(0, np.uint64), *self._hashes[item.columns]])
            again = len(hashes) - len(np.unique(hashes))
            return f"{again} of {len(hashes)} have values that came before" if again else ""
        if end_us is None:
            return ""
        if item.kind == "row_count":
            low, high = item.arguments.get("low", 0), item.arguments.get("high", self.rows)
            return "" if low <= self.rows <= high else f"there are {self.rows}"
        if self._newest_us is None or end_us - self._newest_us <= item.arguments["max_age_us"]:
            return ""
        age = format_duration(from_us(end_us) - from_us(self._newest_us))
        return f"the newest is of {format_us(self._newest_us)}, {age} before {format_us(end_us)}"


def _columns(batch: Batch, checks: Checks) -> dict[str, pa.Array]:
    """The columns of a batch under the names that expectations have for them; the event time in microseconds."""
    found = {name: single_chunk(batch.column(name)) for name in batch.schema.names}
    return found | {checks.event_column: found[EVENT_COLUMN]}


def _unmet_by(check: Check, columns: Mapping[str, pa.Array], count: int) -> BoolArray:
    """(n,) which facts are not as expected."""
    import pyarrow.compute as pc

    if check.condition is not None:
        return is_true(Not(check.condition), columns, count)
    column = columns[check.column]
    if check.expectation.kind == "not_null":
        return ~valid_mask(column)
    if check.expectation.kind == "between":
        return _outside(check, column)
    if check.expectation.kind == "one_of":
        held = pc.is_in(column, value_set=check.values)
    else:
        held = pc.match_substring_regex(column, whole_pattern(check.expectation))
    return ~_bits(held) & valid_mask(column)


def _outside(check: Check, column: pa.Array) -> BoolArray:
    """(n,) which numbers or times do not lie between the ends of a check; NaN does not."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) or pa.types.is_int64(column.type):
        values = numpy_values(column)
    elif pa.types.is_decimal(column.type):
        values = numpy_values(column.cast(pa.float64(), safe=False), np.float64)
    else:
        values = numpy_values(column, column.type.to_pandas_dtype())
    inside = np.ones(len(values), np.bool_)
    strict = check.expectation.arguments.get("strict", False)
    if check.low is not None:
        inside &= values > check.low if strict else values >= check.low
    if check.high is not None:
        inside &= values < check.high if strict else values <= check.high
    return ~inside & valid_mask(column)


def _bits(column: pa.Array) -> BoolArray:
    """(n,) a column of truth values; undefined where it is null."""
    import pyarrow as pa

    return numpy_values(column.cast(pa.uint8()), np.uint8).astype(np.bool_)


def _shown_fact(batch: Batch, row: int, view: FeatureView, item: Expectation) -> str:
    """The key of a fact and the values that are not as expected."""
    names = dict.fromkeys([*view.join_keys, *(name for name in item.columns if name in batch.schema.names)])
    return ", ".join(f"{name} {shown(single_chunk(batch.column(name)), row)}" for name in names) or f"fact {row}"


def _one_batch(facts: Batch) -> pa.RecordBatch:
    """Facts as one batch: all facts of a key stay together."""
    import pyarrow as pa

    columns = [single_chunk(facts.column(name)) for name in facts.schema.names]
    return pa.RecordBatch.from_arrays(columns, names=facts.schema.names)
