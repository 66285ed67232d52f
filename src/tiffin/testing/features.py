"""Test features: give facts, choose a moment, say what their values are to be. No source, no server, no sleep.

Each expectation is held against both ways to get a value, the training set and the online store.

    with FeatureTest([driver_stats]) as features:
        features.at("2026-01-01 10:00").given("driver_stats", driver_id=1, rate=0.5)
        features.at("2026-01-01 09:59").expect({"driver_stats:rate": None}, driver_id=1)
        features.at("2026-01-01 10:00").expect({"driver_stats:rate": 0.5}, driver_id=1)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tiffin.columns import single_chunk
from tiffin.config import RepoConfig
from tiffin.definitions import (
    BaseFeatureView,
    DataSource,
    Definition,
    FeatureService,
    FeatureView,
    PushMode,
    StreamSource,
)
from tiffin.errors import NotFoundError, RequestError, SourceError, nearest
from tiffin.operations.apply import apply
from tiffin.operations.context import Context
from tiffin.operations.frames import facts_table
from tiffin.operations.history import source_rows
from tiffin.operations.loader import open_offline
from tiffin.operations.materialize import materialize
from tiffin.operations.online import read_online
from tiffin.operations.push import push
from tiffin.operations.repository import load_repository
from tiffin.operations.retrieve import retrieve
from tiffin.testing.given import GivenEngine
from tiffin.time import MIN_US, ManualClock, format_us, from_us, to_us
from tiffin.transforms.column import Column
from tiffin.types import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

_SHM = Path("/dev/shm")
_ENGINE = f"{GivenEngine.__module__}.{GivenEngine.__qualname__}"


class FeatureTest:
    """A feature repository over facts that a test gives, with a clock that the test sets.

    Args:
        objects: the definitions to test; what a view refers to comes along by itself.
        config: the settings that matter for values, such as ``point_in_time``; those of a new project when left out.

    Use it with ``with``, or ``close`` it.
    """

    def __init__(self, objects: Iterable[Definition], config: RepoConfig | None = None) -> None:
        self._objects = tuple(objects)
        self._settings = config or RepoConfig(project="tests", point_in_time="known")
        self._clock = ManualClock("2026-01-01T00:00:00+00:00")
        self._given: dict[str, list[dict[str, Any]]] = {}
        self._pushed: list[tuple[int, str, list[dict[str, Any]]]] = []
        self._scratch = tempfile.TemporaryDirectory(prefix="tiffin-test-", dir=_memory_folder())
        self._opened: Context | None = None
        self._opened_at = -1
        self._tables: dict[str, pa.Table | None] = {}
        self._real: dict[str, Mapping[str, pa.DataType]] = {}

    @classmethod
    def of_repository(cls, path: str | Path) -> Self:
        """The definitions of a feature repository, with its settings.

        Raises:
            ConfigError: there is no ``feature_store.yaml``, or it is wrong.
            RepositoryError: a file of it cannot be imported.
        """
        from tiffin.config import load_config

        return cls(load_repository(path).objects, load_config(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything."""
        self._forget()
        self._scratch.cleanup()

    @property
    def now(self) -> datetime:
        """The moment."""
        return from_us(self._clock.now_us())

    def at(self, moment: datetime | str) -> Self:
        """Set the clock, forward or back."""
        self._clock.set(moment)
        return self

    def given(self, name: str, *rows: Mapping[str, Any], **row: Any) -> Self:
        """Put facts into the history that a view or a source reads.

        Args:
            name: of the view or the source.
            rows: one dict for each fact, with the columns of the source; a column that is left out is null. The event
                time is now, and a fact is known at its event time, where that is left out.
            row: one more fact, by its columns.

        Raises:
            NotFoundError: there is no such view or source; lists the nearest names.
        """
        view = self._view_of(name)
        source = view.batch_source
        if source is None:
            raise RequestError(f"{view.subject} has no history", hint="use pushed()")
        self._given.setdefault(source.name, []).extend(self._timed(view, rows, row))
        self._forget()
        return self

    def pushed(self, source: str, *rows: Mapping[str, Any], **row: Any) -> Self:
        """Push facts to a push source, now: online, and into the history where there is one.

        Args:
            source: the push source.
            rows: one dict for each fact; a column that is left out is null. The event time is now, and a fact is known
                at its event time, where that is left out.
            row: one more fact, by its columns.
        """
        view = self._view_of(source)
        columns = [field.name for field in view.payload]
        facts = [dict.fromkeys(columns) | fact for fact in self._timed(view, rows, row)]
        self._pushed.append((self._clock.now_us(), source, facts))
        self._forget()
        return self

    def values(self, features: Sequence[str] | str, **entity: Any) -> dict[str, Any]:
        """The values that are served now, by ``view:feature`` or, for a feature service, by the columns of its answer.

        Args:
            features: references, or the name of a feature service.
            entity: the join keys of one entity, and request data.
        """
        return self._served(features, entity)

    def expect(self, expected: Mapping[str, Any], **entity: Any) -> Self:
        """Check the values of one entity now, in a training set and online.

        Args:
            expected: ``view:feature`` to value; ``pytest.approx`` may be one.
            entity: the join keys of the entity, and request data.

        Raises:
            AssertionError: a value is another one; says which, and where.
        """
        features = list(expected)
        served = self._served(features, entity)
        trained = self._trained(features, entity)
        wrong = []
        for name, value in expected.items():
            for way, found in (("served", served), ("in training", trained)):
                if found is not None and not _is_equal(found[name], value):
                    wrong.append(f"{name} is {found[name]!r} {way}, expected {value!r}")
        assert not wrong, f"at {format_us(self._clock.now_us())} for {entity}:\n  " + "\n  ".join(wrong)
        return self

    def _timed(
        self, view: FeatureView, rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Facts with their times."""
        facts = [dict(each) for each in (*rows, *([row] if row else ()))]
        event, created = view.time_columns
        for fact in facts:
            fact[event] = self.now if fact.get(event) is None else from_us(to_us(fact[event]))
            if created:
                fact[created] = fact[event] if fact.get(created) is None else from_us(to_us(fact[created]))
        return facts

    # --- Definitions -------------------------------------------------------------------------------------------------

    def _view_of(self, name: str) -> FeatureView:
        """The view of a name, or one that reads the source of that name."""
        views = [each for each in self._objects if isinstance(each, FeatureView)]
        sources: dict[str, FeatureView] = {}
        for view in views:
            for source in (view.source, view.batch_source):
                if source is not None:
                    sources.setdefault(source.name, view)
        found = {view.name: view for view in views}.get(name) or sources.get(name)
        if found is None:
            names = [*(view.name for view in views), *sources]
            raise NotFoundError(f"there is no view or source {name!r}", subject=name, hint=nearest(name, names))
        return found

    def _asked(self, features: Sequence[str] | str) -> list[Definition]:
        """The definitions that are asked for."""
        names = [features] if isinstance(features, str) else [each.partition(":")[0] for each in features]
        known = {each.name: each for each in self._objects if isinstance(each, BaseFeatureView | FeatureService)}
        for name in names:
            if name not in known:
                raise NotFoundError(f"there is no view {name!r}", subject=name, hint=nearest(name, known))
        found = [known[name] for name in dict.fromkeys(names)]
        uses = [use.view for each in found if isinstance(each, FeatureService) for use in each.uses]
        return [*found, *(known[view] for view in uses if view in known)]

    # --- The project that a test asks --------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Let go of the project: it has other facts now."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _open(self, asked: Sequence[Definition]) -> Context:
        """The project now, with the definitions that are asked for, and with everything that came by now."""
        ctx, now_us = self._opened, self._clock.now_us()
        if ctx is None:
            ctx = self._opened = self._project()
            self._opened_at = -1
        changed = not apply(ctx, asked).is_empty
        if changed or self._opened_at != now_us:
            self._load(ctx)
            self._opened_at = now_us
        return ctx

    def _project(self) -> Context:
        config = RepoConfig(
            project=self._settings.project,
            point_in_time=self._settings.point_in_time,
            registry="registry.db",
            online_store="memory",
            offline_store={"type": _ENGINE},
            repo_path=Path(self._scratch.name),
        )
        ctx = Context(config, self._clock)
        self._tables = {source.name: self._table(source) for source in self._sources()}
        self._put(ctx)
        return ctx

    def _put(self, ctx: Context) -> None:
        """The given facts, and no others, into the history."""
        assert isinstance(ctx.offline, GivenEngine)
        for source in self._sources():
            table = self._tables[source.name]
            if table is not None:
                ctx.offline.put(source, table)

    def _sources(self) -> list[DataSource]:
        views = [each for each in self._objects if isinstance(each, FeatureView)]
        return list({view.batch_source.name: view.batch_source for view in views if view.batch_source}.values())

    def _table(self, source: DataSource) -> pa.Table | None:
        """The given facts of a source, in the columns and types of the source as far as they are known."""
        import pyarrow as pa

        types: dict[str, pa.DataType] = {}
        readers = [v for v in self._objects if isinstance(v, FeatureView) and v.batch_source == source]
        for view in readers:
            keys = zip(view.join_keys, view.key_types, strict=True)
            fields = [*keys, *((field.name, field.dtype) for field in view.payload)]
            types |= {source.source_column(name): arrow_type(dtype) for name, dtype in fields if dtype is not None}
            event, created = view.time_columns
            types |= {source.source_column(name): pa.timestamp("us", "UTC") for name in (event, created) if name}
        rows = self._given.get(source.name, [])
        if not all(view.payload for view in readers):
            types |= self._real_schema(source)
        if not rows and not types:
            return None
        names = list(dict.fromkeys(name for row in rows for name in row))
        given = facts_table(readers[0], [{name: row.get(name) for name in names} for row in rows])
        types |= {
            name: given[name].type for name in given.column_names if name not in (*types, *source.mapping.values())
        }
        return source_rows(source, given, types)

    def _real_schema(self, source: DataSource) -> Mapping[str, pa.DataType]:
        """The columns of the source itself; none where it is not there."""
        if source.name not in self._real:
            engine = open_offline(self._settings)
            try:
                self._real[source.name] = engine.schema(source)
            except SourceError:
                self._real[source.name] = {}
            finally:
                engine.close()
        return self._real[source.name]

    def _load(self, ctx: Context) -> None:
        """Everything into the online store that was there, and was pushed, by now."""
        now_us = self._clock.now_us()
        if self._pushed:
            self._put(ctx)
        tables = [each.table for each in ctx.online.tables()]
        ctx.online.drop(tables)
        ctx.online.ensure(tables)
        views = [view for view in ctx.snapshot().views.values() if view.online and view.batch_source is not None]
        materialize(ctx, MIN_US, now_us, [view.name for view in views])
        for moment_us, name, facts in self._pushed:
            source = ctx.snapshot().sources.get(name)
            if moment_us <= now_us and isinstance(source, StreamSource):
                self._clock.set(moment_us)
                history = source.batch_source is not None
                push(ctx, name, facts, PushMode.ONLINE_AND_OFFLINE if history else PushMode.ONLINE)
        self._clock.set(now_us)

    # --- Values ------------------------------------------------------------------------------------------------------

    def _served(self, features: Sequence[str] | str, entity: Mapping[str, Any]) -> dict[str, Any]:
        ctx = self._open(self._asked(features))
        asked = ctx.snapshot().services[features] if isinstance(features, str) else features
        answer = read_online(ctx, asked, [dict(entity)], full_feature_names=True).to_dict()
        return {name: answer[_column(name)][0] for name in self._names(features, answer, entity)}

    def _trained(self, features: Sequence[str], entity: Mapping[str, Any]) -> dict[str, Any] | None:
        """The same from a training set with one row; ``None`` where a view has no history."""
        ctx = self._open(self._asked(features))
        import pyarrow as pa

        views = [ctx.snapshot().views.get(name.partition(":")[0]) for name in features]
        if any(view is not None and view.batch_source is None for view in views):
            return None
        rows = {name: [value] for name, value in entity.items()} | {"event_timestamp": [self.now]}
        table = retrieve(ctx, pa.table(rows), features, full_feature_names=True).to_arrow()
        return {name: _python(table[_column(name)]) for name in features}

    @staticmethod
    def _names(features: Sequence[str] | str, answer: Mapping[str, Any], entity: Mapping[str, Any]) -> list[str]:
        return [name for name in answer if name not in entity] if isinstance(features, str) else list(features)


def _memory_folder() -> str | None:
    """Where files are in memory, so that nothing waits for a disk; ``None`` for the usual folder."""
    return str(_SHM) if os.access(_SHM, os.W_OK) else None


def _column(name: str) -> str:
    return name.replace(":", "__")


def _python(column: pa.ChunkedArray) -> Any:
    from tiffin.types import from_arrow_type

    (value,) = Column(from_arrow_type(column.type), arrow=single_chunk(column)).python()
    return value


def _is_equal(found: Any, expected: Any) -> bool:
    """Whether two values are the same; NaN is itself."""
    return bool(found == expected) or (found != found and expected != expected)
