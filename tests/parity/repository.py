"""Small repositories for tests: definitions and sources in a folder, opened with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.config import RepoConfig
from tiffin.contracts.online import OnlineStore
from tiffin.definitions import DataSource, Definition, Entity, FeatureService, FeatureView
from tiffin.operations.context import Context
from tiffin.registry.snapshot import Entry, Snapshot, ViewStorage, entry_of
from tiffin.time import Clock, ManualClock

NOON = "2024-06-01T12:00:00Z"


class Repository(Context):
    """A context whose online store may be handed in, so that a test can hold on to it or make it fail."""

    def __init__(self, config: RepoConfig, clock: Clock, online: OnlineStore | None = None) -> None:
        super().__init__(config, clock)
        self._online = online


def open_repository(
    folder: Path,
    definitions: Iterable[Definition] = (),
    *,
    mode: str = "known",
    clock: Clock | None = None,
    online: OnlineStore | Mapping[str, object] | str = "memory",
    threads: int = 1,
) -> Repository:
    """A repository in a folder; the definitions, if there are any, become its next version.

    Args:
        folder: where relative paths start; the registry and a SQLite store are kept in it.
        definitions: views and services; sources and entities come along.
        mode: `point_in_time`.
        clock: noon of a day in 2024 when left out.
        online: a store, the `online_store` section of one, or its type.
        threads: of the offline engine.
    """
    section = {"type": online} if isinstance(online, str) else online
    store = None
    if not isinstance(section, Mapping):
        store, section = section, {"type": "memory"}
    elif online == "memory":
        # One of its own: those of a configuration are shared within a process.
        store = MemoryOnlineStore()
    config = RepoConfig(
        project="tests",
        repo_path=folder,
        registry="registry.db",
        online_store=section,
        offline_store={"type": "duckdb", "threads": threads},
        point_in_time=mode,
    )
    repository = Repository(config, clock or ManualClock(NOON), store)
    definitions = list(definitions)
    if definitions:
        commit(repository, definitions)
    return repository


def commit(repository: Context, definitions: Sequence[Definition]) -> None:
    """Make definitions the next version of a repository, and create their online tables."""
    entries: dict[tuple[str, str], Entry] = {}
    for definition in definitions:
        for entry in _entries(definition):
            entries[entry.kind, entry.name] = entry
    base = repository.registry.version(repository.project)
    snapshot = Snapshot(repository.project, base + 1, tuple(entries[key] for key in sorted(entries)))
    now_us = repository.now_us()
    repository.registry.commit(snapshot, base, created_us=now_us, author="tests", message="")
    repository.adopt(snapshot)
    repository.online.ensure([snapshot.storage(name).table for name in snapshot.names("feature view")])


def _entries(definition: Definition) -> Iterable[Entry]:
    if isinstance(definition, FeatureView):
        assert definition.source is not None
        yield from (entry_of(entity) for entity in definition.entity_list)
        yield from _source_entries(definition.source)
        yield entry_of(definition, storage_of(definition))
    elif isinstance(definition, FeatureService | Entity):
        yield entry_of(definition)
    elif isinstance(definition, DataSource):
        yield from _source_entries(definition)


def _source_entries(source: DataSource) -> Iterable[Entry]:
    batch = getattr(source, "batch_source", None)
    if batch is not None:
        yield entry_of(batch)
    yield entry_of(source)


def storage_of(view: FeatureView) -> ViewStorage:
    """The storage of a view at its first version."""
    layout = tuple((field.name, repr(field.dtype)) for field in view.features)
    return ViewStorage(1, f"tests.{view.name}.1", (layout,))
