"""A feature store with windows, beside what the rules say of it: everything that can happen to facts, step by step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from property.timelines_cases import Expected, identity
from property.windows_cases import COLUMNS, arrow_columns, is_equal, random_case
from tiffin import Aggregation, Entity, FeatureStore, FeatureView, FileSource, ManualClock, PushMode, PushSource
from tiffin.config import RepoConfig
from tiffin.online.merging import Limits
from tiffin.online.rows import payload_bytes
from tiffin.online.tails import NEVER_US
from tiffin.planning.timelines import timeline_spec
from tiffin.semantics.oracle import MAX_FUTURE_SKEW_US, Fact
from tiffin.semantics.oracle_windows import window_value
from tiffin.time import SECOND_US
from tiffin.types import ValueType

TIME = pa.timestamp("us", "UTC")
SPREAD_US = 60 * SECOND_US
#: Tiles after a few facts, and never so many that only states are kept.
LIMITS = Limits(tail=8, kept=4, tiles=200, tile=8)
_NUMBERS = count()


class World:
    """A store and its reference.

    Args:
        folder: an empty folder.
        section: the ``online_store`` section.
        seed: of the facts that may come, and of the windows.
        facts: how many.
        asks: how many windows.
    """

    def __init__(self, folder: Path, section: Mapping[str, object], seed: int, facts: int = 80, asks: int = 8) -> None:
        self.rng = np.random.default_rng(seed)
        self.has_known = bool(self.rng.integers(2))
        moments = int(self.rng.choice([6, 20, 60]))
        self.case = random_case(
            seed, facts, 0, keys=3, moments=moments, spread=SPREAD_US, asks=asks, has_known=self.has_known
        )
        self.clock = ManualClock(-3 * SPREAD_US)
        self.config = RepoConfig(
            project=f"windowed{next(_NUMBERS)}",
            repo_path=folder,
            registry="registry.db",
            online_store=dict(section),
            offline_store={"type": "duckdb", "threads": 1},
            point_in_time="known",
        )
        self.columns = {"k": pa.array(self.case.keys, pa.int64()), "ts": pa.array(self.case.event, TIME)}
        self.columns |= arrow_columns(self.case.columns)
        if self.has_known:
            self.columns["created"] = pa.array(self.case.known, TIME)
        (folder / "facts").mkdir()
        pq.write_table(pa.table(self.columns).slice(0, 0), folder / "facts" / "none.parquet")
        self.store = FeatureStore(config=self.config, clock=self.clock)
        entity = Entity(name="k", value_type=ValueType.INT64)
        self.store.apply([entity, self._view(entity)])
        self.facts = self._facts()
        self.delivered: defaultdict[int, Expected] = defaultdict(Expected)
        self.history: dict[Any, Fact] = {}
        self.cursor_us = NEVER_US
        self.cells = 0

    def _view(self, entity: Entity) -> FeatureView:
        created = "created" if self.has_known else ""
        history = FileSource(path="facts", name="facts", timestamp_field="ts", created_timestamp_column=created)
        aggregations = [
            Aggregation(
                asked.column,
                asked.function,
                _duration(asked.window.length_us),
                _duration(asked.window.slide_us),
                name=f"f{number}",
                filter=None if asked.condition is None else "i > 0 AND NOT i IS NULL",
                offset=_duration(asked.window.offset_us or None),
                params=dict(asked.params),
            )
            for number, asked in enumerate(self.case.asked)
        ]
        source = PushSource(name="pushed", batch_source=history)
        return FeatureView(name="v", entities=[entity], source=source, aggregations=aggregations)

    def _facts(self) -> list[Fact]:
        """The facts as the rules see them; what the view does not read does not tell them apart."""
        names = [field.name for field in self.store.context.snapshot().view("v").payload]
        layout = tuple((name, repr(COLUMNS[name])) for name in names)
        read = pa.table({name: self.columns[name] for name in names})
        encoded = payload_bytes(layout, read) if names else [b""] * len(self.case.keys)
        plain = zip(*self.case.columns.values(), strict=True)
        times = zip(self.case.keys.tolist(), self.case.event.tolist(), self.case.known.tolist(), strict=True)
        return [
            Fact((key,), event, known, dict(zip(self.case.columns, row, strict=True)), 0, content)
            for (key, event, known), row, content in zip(times, plain, encoded, strict=True)
        ]

    @property
    def now_us(self) -> int:
        """The present moment."""
        return self.clock.now_us()

    def close(self) -> None:
        """Drop everything."""
        self.store.teardown()
        self.store.close()

    # Steps

    def push(self, places: Sequence[int], to: PushMode = PushMode.ONLINE) -> None:
        """Push facts, by their numbers; what is said of them is compared."""
        if to is not PushMode.ONLINE:
            # The history has every fact once.
            places = self._absent(places)
        is_ahead = [self.facts[place].event_ts > self.now_us + MAX_FUTURE_SKEW_US for place in places]
        taken = [place for place, ahead in zip(places, is_ahead, strict=True) if not ahead]
        refused = tuple(np.flatnonzero(is_ahead).tolist())
        if not places:
            return
        report = self.store.push("pushed", pa.table(self.columns).take(pa.array(places)), to=to)
        assert report.refused == refused
        if to is not PushMode.ONLINE:
            assert report.appended == len(taken)
            self.history |= {self._named(place): self.facts[place] for place in taken}
        if to is not PushMode.OFFLINE:
            written = report.views["v"]
            distinct = {self._named(place): self.facts[place] for place in taken}
            expected = self._deliver(list(distinct.values()))
            assert (written.written, written.stale, written.late) == expected

    def record(self, places: Sequence[int]) -> None:
        """Facts come to the history alone."""
        places = self._absent(places)
        if places:
            self.store.write_to_offline_store("v", pa.table(self.columns).take(pa.array(places)))
            self.history |= {self._named(place): self.facts[place] for place in places}

    def materialize(self, start_us: int, end_us: int) -> None:
        """Load an interval."""
        self.store.materialize(start_us, end_us)
        self._load(lambda fact: start_us <= fact.event_ts <= end_us)

    def materialize_incremental(self, end_us: int) -> None:
        """Load what came."""
        self.store.materialize_incremental(end_us)
        self.cursor_us = max(self.cursor_us, min(end_us, self.now_us))
        self._load(lambda fact: fact.event_ts <= self.cursor_us)

    def refresh(self) -> None:
        """Make the table anew: what was pushed and never recorded goes, but for what is known only later."""
        self.store.materialize(None, None, disable_event_timestamp=True, full_refresh=True)
        for held in self.delivered.values():
            for named in [named for named, fact in held.facts.items() if fact.known_ts <= self.now_us]:
                del held.facts[named]
        self.cursor_us = self.now_us
        self._load(lambda fact: True)

    def delete(self, keys: Sequence[int]) -> None:
        """Delete keys online."""
        self.store.delete_entities({"k": list(keys)})
        for key in keys:
            self.delivered[key] = self.delivered[key].without_all(self.now_us)

    def reopen(self) -> None:
        """Another process goes on."""
        self.store.close()
        self.store = FeatureStore(config=self.config, clock=self.clock)

    def step(self, offline: bool = True) -> None:
        """Do something, about as often as it happens, and compare."""
        rng = self.rng
        some = rng.integers(0, len(self.facts), int(rng.integers(1, 16))).tolist()
        end_us = self.now_us + int(rng.integers(-9, 3)) * SPREAD_US
        choice = rng.random()
        if choice < 0.3:
            self.push(some)
        elif choice < 0.45:
            self.push(some, PushMode.ONLINE_AND_OFFLINE)
        elif choice < 0.55:
            self.record(some)
        elif choice < 0.65:
            self.materialize(end_us - int(rng.integers(0, 20)) * SPREAD_US, end_us)
        elif choice < 0.75:
            self.materialize_incremental(end_us)
        elif choice < 0.8:
            self.refresh()
        elif choice < 0.85:
            self.delete(rng.choice(3, int(rng.integers(1, 3)), replace=False).tolist())
        elif choice < 0.88:
            self.reopen()
        else:
            self.advance(int(rng.integers(0, 4)) * SPREAD_US + int(rng.integers(-1, 2)))
        self.check(offline=offline)

    def advance(self, us: int) -> None:
        """Time goes on."""
        self.clock.set(self.now_us + max(0, us))

    # The reference

    def _absent(self, places: Sequence[int]) -> list[int]:
        fresh: dict[Any, int] = {self._named(place): place for place in places}
        return [place for named, place in fresh.items() if named not in self.history]

    def _named(self, place: int) -> tuple[Any, ...]:
        fact = self.facts[place]
        return (*fact.key, *identity(fact))

    def _deliver(self, facts: Sequence[Fact]) -> tuple[int, int, int]:
        """How many are new, how many were there, and how many are too old for every window."""
        view = self.store.context.snapshot().view("v")
        gone_us = timeline_spec(view).gone_us(self.now_us)
        added = known = late = 0
        for fact in facts:
            held = self.delivered[fact.key[0]]  # type: ignore[index]
            if gone_us is not None and fact.event_ts <= gone_us:
                late += 1
            elif held.put(fact):
                added += 1
            else:
                known += 1
        return added, known, late

    def _load(self, is_wanted: Any) -> None:
        now = self.now_us
        there = [fact for fact in self.history.values() if fact.event_ts <= now and fact.known_ts <= now]
        self._deliver([fact for fact in there if is_wanted(fact)])

    def check(self, *, offline: bool = True) -> None:
        """Every window of every key, online one by one and together, and for training, is what the rules say."""
        keys = [0, 1, None, 2, 3]
        answer = self.store.get_online_features(["v"], {"k": keys})
        assert answer is not None
        values, arrays = answer.to_dict(), answer.to_arrow()
        self._compare(keys, values, [fact for held in self.delivered.values() for fact in held.facts.values()])
        for name in values:
            assert repr([plain(value) for value in arrays[name].to_pylist()]) == repr([plain(v) for v in values[name]])
        if offline:
            times = pa.array([self.now_us] * len(keys), TIME)
            rows = pa.table({"k": pa.array(keys, pa.int64()), "event_timestamp": times})
            found = self.store.get_historical_features(rows, ["v"]).to_arrow()
            columns = {name: found[name].to_pylist() for name in found.column_names}
            self._compare(keys, columns, list(self.history.values()))

    def _compare(self, keys: Sequence[int | None], values: Mapping[str, Sequence[Any]], facts: list[Fact]) -> None:
        for number, (asked, spec) in enumerate(zip(self.case.asked, self.case.specs, strict=True)):
            for key, value in zip(keys, values[f"f{number}"], strict=True):
                expected = window_value(facts, (key,), self.now_us, "known", spec)
                assert is_equal(asked.function, plain(value), expected), (asked, key, self.now_us, value, expected)
                self.cells += 1


def plain(value: Any) -> Any:
    """A value as aggregates have it: times as microseconds."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return (value - _EPOCH) // timedelta(microseconds=1) if hasattr(value, "tzinfo") else value


_EPOCH = pa.scalar(0, TIME).as_py()


def _duration(us: int | None) -> timedelta | None:
    return None if us is None else timedelta(microseconds=us)
