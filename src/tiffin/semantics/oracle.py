"""The reference: every value of `rules.md`, computed the slow and obvious way.

It stands beside the rules and below everything else. Tests hold the engines, the stores and the transports to it;
nothing that runs in production calls it. Its invariant is that it can be checked by eye: plain loops over plain facts,
no index, no cache, no cleverness, and nothing from tiffin but the errors, so that it shares no bug with the code that
it judges. This module says what a value is; `oracle_requests` asks for whole tables of them. Times are int
microseconds UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tiffin.errors import InputError

Key = tuple[object, ...]
Row = Mapping[str, object]
Mode = Literal["known", "event"]
Outcome = Literal["matched", "expired", "missing"]
Status = Literal["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"]

MAX_FUTURE_SKEW_US = 5 * 60 * 1_000_000


# --- Facts and their order -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fact:
    """Something that a view learned about a key.

    Attributes:
        key: the values of the join keys, in the order of the view.
        event_ts: when it was true.
        known_ts: when it was known; the event time if the source has no created time.
        payload: every field of the view, or None for a tombstone.
        offset: its place in a stream; 0 for a fact that came from no stream.
        encoded: the canonical bytes of the payload. Whoever makes the facts provides them; only ties look at them.
        valid_to: the first moment at which it no longer holds (PIT-13), or None if it never ends.
    """

    key: Key
    event_ts: int
    known_ts: int
    payload: Row | None
    offset: int = 0
    encoded: bytes = b""
    valid_to: int | None = None


def order(fact: Fact) -> tuple[int, int, int, bool, bytes]:
    """ORD: of two facts of one key, the newer one has the greater order."""
    is_tombstone = fact.payload is None
    return (fact.event_ts, fact.known_ts, fact.offset, is_tombstone, fact.encoded)


def newest(facts: Iterable[Fact]) -> Fact | None:
    """The fact that is last in ORD, or None if there are none.

    Raises:
        InputError: two facts that differ have the same place in ORD, because they were made without `encoded`.
    """
    best: Fact | None = None
    for fact in facts:
        if best is None or order(fact) > order(best):
            best = fact
        elif order(fact) == order(best) and _content(fact) != _content(best):
            raise InputError(f"{fact} and {best} differ but have the same place in ORD", hint="give `encoded`")
    return best


def distinct(facts: Iterable[Fact]) -> list[Fact]:
    """The facts in ORD; those that are equal in all of it are one.

    Raises:
        InputError: two facts that differ have the same place in ORD, because they were made without `encoded`.
    """
    found: list[Fact] = []
    for fact in sorted(facts, key=order):
        if not found or order(fact) != order(found[-1]):
            found.append(fact)
        elif _content(fact) != _content(found[-1]):
            raise InputError(f"{fact} and {found[-1]} differ but have the same place in ORD", hint="give `encoded`")
    return found


def _content(fact: Fact) -> str:
    """What a fact says, as text: unlike `==`, it tells 0.0 from -0.0 and holds NaN equal to itself."""
    payload = None if fact.payload is None else sorted(fact.payload.items())
    return repr((payload, fact.valid_to))


def known_facts(facts: Iterable[Fact], key: Key, t: int, known_at: int | None) -> list[Fact]:
    """The facts of a key with `event_ts <= t` and `known_ts <= known_at` (None: no limit); none for a null key."""
    found = []
    for fact in facts:
        same_key = fact.key == key and None not in key
        known = known_at is None or fact.known_ts <= known_at
        if same_key and fact.event_ts <= t and known:
            found.append(fact)
    return found


def outcome_at(fact: Fact | None, t: int, ttl_us: int | None) -> Outcome:
    """What the newest fact of a key is worth at `t`, offline and online alike (PIT-2, PIT-3, PIT-13, ONL-2)."""
    if fact is None or fact.payload is None:
        return "missing"
    if ttl_us is not None and fact.event_ts < t - ttl_us:
        return "expired"
    if fact.valid_to is not None and fact.valid_to <= t:
        return "expired"
    return "matched"


def asof(facts: Iterable[Fact], key: Key, t: int, known_at: int | None, ttl_us: int | None) -> Fact | None:
    """`asof(view, key, t, k)` of the rules: the fact that is served, or None for null."""
    fact = newest(known_facts(facts, key, t, known_at))
    return fact if outcome_at(fact, t, ttl_us) == "matched" else None


@dataclass(frozen=True)
class Cell:
    """What one view has for one entity row.

    Attributes:
        fact: the fact that is served; None unless matched.
        outcome: matched, expired or missing.
        tied: only `seq` decided between this fact and another one with a different payload (PIT-4).
        known_later: the fact was known only after `t`.
    """

    fact: Fact | None
    outcome: Outcome
    tied: bool
    known_later: bool


def offline_cell(facts: Iterable[Fact], key: Key, t: int, mode: Mode, ttl_us: int | None) -> Cell:
    """The offline value at `t`: `asof(t, t)` in mode `known`, `asof(t, infinity)` in mode `event`."""
    candidates = known_facts(facts, key, t, t if mode == "known" else None)
    fact = newest(candidates)
    outcome = outcome_at(fact, t, ttl_us)
    if fact is None or outcome != "matched":
        return Cell(None, outcome, tied=False, known_later=False)
    tied = any(_ties_with(fact, other) for other in candidates)
    return Cell(fact, outcome, tied, known_later=fact.known_ts > t)


def _ties_with(fact: Fact, other: Fact) -> bool:
    same_times = (fact.event_ts, fact.known_ts) == (other.event_ts, other.known_ts)
    return same_times and (fact.encoded != other.encoded or _content(fact) != _content(other))


# --- Views -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """A feature view with all its facts.

    Attributes:
        keys: join key -> type, as `str(pyarrow.DataType)` prints it; empty for a view without entities.
        fields: feature -> type.
        ttl_us: None or 0 for no limit (PIT-2).
        defaults: feature -> the value that replaces null (ONL-5).
    """

    name: str
    keys: Mapping[str, str]
    fields: Mapping[str, str]
    facts: Sequence[Fact] = ()
    ttl_us: int | None = None
    defaults: Row = field(default_factory=dict)

    def limit_us(self) -> int | None:
        """The ttl, with zero read as no limit."""
        return self.ttl_us or None

    def values(self, fact: Fact | None) -> dict[str, object]:
        """The features of a fact that is served, or of none, with defaults in place of null (PIT-3, ONL-5)."""
        values: dict[str, object] = {}
        for feature in self.fields:
            value = None if fact is None or fact.payload is None else fact.payload[feature]
            values[feature] = self.defaults.get(feature) if value is None else value
        return values


# --- Online: one row per key -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """What became of a batch: keys whose row changed, facts that were not newer, facts too far ahead of now (WR-5)."""

    written: int
    stale: int
    refused: Sequence[Fact]


@dataclass(frozen=True)
class Answer:
    """What a view answers for one key. `event_ts` is None when nothing was found."""

    values: Row
    statuses: Mapping[str, Status]
    event_ts: int | None


class OnlineState:
    """An online store for one view: the newest fact per key, and nothing else (ONL-1 to ONL-5, WR-1 to WR-5).

    An online value at `now` is `asof(now, now)` over the facts delivered so far. With one row per key that is exact
    for facts that are not ahead of now, as long as time moves forward: each later `now` only sees more facts, and the
    newest of them is the one that was kept. A fact ahead of now, within the skew that WR-5 admits, has replaced its
    older one already; clocks differ, so its delivery is taken as proof that its moment has come, and it is served at
    once. So `read` asks of the row only what `outcome_at` asks, ttl and valid-to: neither that its event time has come,
    nor its `known_ts`, for what was delivered is known.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.stored: dict[Key, Fact] = {}

    def write(self, facts: Iterable[Fact], now: int, max_future_skew_us: int = MAX_FUTURE_SKEW_US) -> Written:
        """Keep the newest fact of each key; a tombstone is kept like any fact (WR-4).

        Raises:
            InputError: a null key, or not the fields of the view (WR-6); nothing was written.
        """
        facts = list(facts)
        for number, fact in enumerate(facts):
            self._check(fact, number)
        refused = [fact for fact in facts if fact.event_ts > now + max_future_skew_us]
        accepted = [fact for fact in facts if fact.event_ts <= now + max_future_skew_us]
        written = 0
        for key in {fact.key for fact in accepted}:
            best = newest(fact for fact in accepted if fact.key == key)
            stored = self.stored.get(key)
            if best is not None and (stored is None or order(best) > order(stored)):
                self.stored[key] = best
                written += 1
        return Written(written, len(accepted) - written, refused)

    def delete(self, key: Key, event_ts: int, now: int, known_ts: int | None = None, offset: int = 0) -> Written:
        """WR-4: a delete is a tombstone, written like any other fact."""
        known = event_ts if known_ts is None else known_ts
        return self.write([Fact(key, event_ts, known, None, offset)], now)

    def read(self, key: Key, now: int) -> Answer:
        """The features of a key at `now`, with the four answers kept apart (ONL-2, ONL-3)."""
        fact = self.stored.get(key)
        outcome = outcome_at(fact, now, self.view.limit_us())
        if fact is None or fact.payload is None or outcome == "missing":
            return Answer(self.view.values(None), dict.fromkeys(self.view.fields, "NOT_FOUND"), None)
        if outcome == "expired":
            return Answer(self.view.values(None), dict.fromkeys(self.view.fields, "OUTSIDE_MAX_AGE"), fact.event_ts)
        statuses: dict[str, Status] = {}
        for feature in self.view.fields:
            statuses[feature] = "NULL_VALUE" if fact.payload[feature] is None else "PRESENT"
        return Answer(self.view.values(fact), statuses, fact.event_ts)

    def _check(self, fact: Fact, number: int) -> None:
        for column, value in zip(self.view.keys, fact.key, strict=True):
            if value is None:
                raise InputError(f"row {number}: join key {column!r} is null")
        if fact.payload is not None and set(fact.payload) != set(self.view.fields):
            wrong = sorted(set(fact.payload) ^ set(self.view.fields))
            raise InputError(f"row {number}: missing or unknown columns {wrong}")


def materialize(facts: Iterable[Fact], start: int, end: int, now: int) -> list[Fact]:
    """MAT-1: the facts that a run at `now` over `start <= event_ts <= end` writes to the online store.

    The newest per key is enough, because of WR-1. What is not yet, or not yet known, at `now` is left to a later run.
    Facts with a null in their key match nothing (PIT-8) and are left out.
    """
    due: dict[Key, list[Fact]] = {}
    for fact in facts:
        if start <= fact.event_ts <= min(end, now) and fact.known_ts <= now and None not in fact.key:
            due.setdefault(fact.key, []).append(fact)
    chosen = (newest(group) for group in due.values())
    return [fact for fact in chosen if fact is not None]
