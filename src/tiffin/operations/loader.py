"""Find backends by their short names. Built-in ones and those of third parties are declared in the same way.

A package declares an entry point in the group ``tiffin.backends.online``, ``tiffin.backends.offline`` or
``tiffin.backends.registry``; its name is the ``type`` in ``feature_store.yaml``. In ``tiffin.backends.stream`` it is
the ``broker`` of a class of sources, and ``tiffin.backends.stream_engine`` has what works streams off elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from tiffin.contracts.online import OnlineLocation
from tiffin.errors import BackendNotFoundError, ConfigError, UnsupportedError, nearest

if TYPE_CHECKING:
    from tiffin.config import RepoConfig
    from tiffin.contracts.offline import OfflineEngine
    from tiffin.contracts.online import OnlineStore
    from tiffin.contracts.registry import RegistryStore
    from tiffin.contracts.stream import Cursors, StreamBroker
    from tiffin.contracts.stream_engine import StreamEngine
    from tiffin.definitions import StreamSource


#: Short names of what older repositories name by the path of a class of Feast's.
_CLASS_NAMES = {
    "DaskOfflineStore": "duckdb",
    "DuckDBOfflineStore": "duckdb",
    "DynamoDBOnlineStore": "dynamodb",
    "PostgreSQLOnlineStore": "postgres",
    "RedisOnlineStore": "redis",
    "SqliteOnlineStore": "sqlite",
}


def open_registry(config: RepoConfig) -> RegistryStore:
    """The registry store of a configuration."""
    # ``file`` is the older name: a path is a SQLite file, which the SQL registry reads.
    cls = _load("registry", "sql")
    store: RegistryStore = cls.from_config(config.registry, str(config.repo_path))
    return store


def open_online(config: RepoConfig) -> OnlineStore:
    """The online store of a configuration.

    Raises:
        BackendNotFoundError: the type is unknown, or a package that it needs is not installed.
        ConfigError: there is none, or an option is unknown or wrong.
        UnsupportedError: a feature server stands for it.
    """
    section = config.online_store
    if section is None:
        raise ConfigError("this repository has no online store", hint="set online_store in feature_store.yaml")
    if section.type == "remote":
        raise UnsupportedError(
            "the online store of this repository is a feature server, which can be read, pushed to and written to",
            subject="online store",
            hint="apply, load and delete in the repository that the server serves",
        )
    location = OnlineLocation(project=config.project, base_path=str(config.repo_path))
    store: OnlineStore = _load("online", section.type).from_config(section.options, location)
    return store


def open_offline(config: RepoConfig) -> OfflineEngine:
    """The offline engine of a configuration.

    Raises:
        BackendNotFoundError: the type is unknown, or a package that it needs is not installed.
        ConfigError: an option is unknown or wrong.
    """
    cls = _load("offline", config.offline_type)
    engine: OfflineEngine = cls.from_config(config.offline_store.options, str(config.repo_path))
    return engine


def open_broker(config: RepoConfig, source: StreamSource, cursors: Cursors) -> StreamBroker:
    """The broker of a stream.

    Raises:
        BackendNotFoundError: a package that it needs is not installed.
        ConfigError: an option is unknown or wrong.
    """
    options: dict[str, object] = getattr(config.streams, source.broker, {})
    broker: StreamBroker = _load("stream", source.broker).from_config(source, options, cursors)
    return broker


def open_stream_engine(config: RepoConfig) -> StreamEngine:
    """The engine that works streams off elsewhere.

    Raises:
        BackendNotFoundError: the type is unknown, or a package that it needs is not installed.
        ConfigError: an option is unknown or wrong.
    """
    section = config.stream_engine
    engine: StreamEngine = _load("stream_engine", section.type).from_config(section.options, config.project)
    return engine


def open_schema_registry(config: RepoConfig, address: str) -> Callable[[int], str]:
    """What asks the schema registry at an address for the schema of a number.

    Raises:
        ConfigError: an option is unknown or wrong.
    """
    from tiffin.backends.schema_registry.client import SchemaRegistry

    return SchemaRegistry.from_config(address, config.streams.schema_registry).schema


def _load(kind: str, name: str) -> Any:
    """The class that a short name or a class path stands for."""
    found = _declared(kind).get(_CLASS_NAMES.get(name.rpartition(".")[2], name) if name.startswith("feast.") else name)
    if found is None and "." in name and not name.startswith("feast."):
        module, _, attribute = name.rpartition(".")
        found = EntryPoint(name, f"{module}:{attribute}", f"tiffin.backends.{kind}")
    if found is None:
        raise BackendNotFoundError(
            f"there is no {kind} backend {name!r}",
            subject=f"{kind} backend {name}",
            hint=nearest(name, _declared(kind)),
        )
    try:
        return found.load()
    except (ImportError, AttributeError) as error:
        raise BackendNotFoundError(
            f"the {kind} backend {name!r} cannot be loaded: {error}",
            subject=f"{kind} backend {name}",
            hint="check the class path" if "." in name else f"install what it needs: pip install 'tiffin[{name}]'",
        ) from error


@cache
def _declared(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"tiffin.backends.{kind}")}
