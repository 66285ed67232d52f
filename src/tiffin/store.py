"""The front: everything that a program does with a feature repository, one method each.

What only looks at the definitions is in `store_catalog.py`, what watches over the data in `store_quality.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiffin.compat.gaps import FEATURE_STORE, WithGaps, refuse_argument
from tiffin.store_catalog import CatalogMethods
from tiffin.store_quality import QualityMethods
from tiffin.time import MIN_US

if TYPE_CHECKING:
    import threading
    from datetime import datetime

    import pandas as pd
    import pyarrow as pa

    from tiffin.config import RepoConfig
    from tiffin.contracts.registry import Commit, MaterializationRun, RegistryStore
    from tiffin.definitions import (
        Definition,
        FeatureService,
        PushMode,
        SavedDataset,
        ValidationReference,
    )
    from tiffin.online.pipeline import EntityRows
    from tiffin.online.response import OnlineResponse
    from tiffin.operations.datasets import DatasetComparison
    from tiffin.operations.delete import EntityDeletion
    from tiffin.operations.materialize import MaterializationReport
    from tiffin.operations.online import OnlineWrite
    from tiffin.operations.push import PushReport
    from tiffin.operations.remote import RemoteResponse
    from tiffin.operations.retrieve import RetrievalJob
    from tiffin.operations.stream import StreamStatus
    from tiffin.operations.stream_counts import SourceProgress
    from tiffin.planning.apply import ApplyPlan
    from tiffin.time import Clock


class FeatureStore(CatalogMethods, QualityMethods, WithGaps):
    """A feature repository, ready for use. One object may be shared by many threads.

    ``allow_cache`` and ``allow_registry_cache`` are there for compatibility: how old definitions may be is one setting,
    ``cache_ttl_seconds``, and ``refresh_registry`` looks for newer ones at once.

    Args:
        repo_path: the folder that has ``feature_store.yaml``; the working directory when nothing is given.
        config: the settings, instead of a file.
        fs_yaml_file: the file, when it is called differently or lies elsewhere.
        embedding_provider: not supported yet.
        clock: tells ``now``; the machine's clock when left out.

    Raises:
        ConfigError: the settings are missing or wrong.

    ``with FeatureStore(...) as store:`` closes the backends at the end.
    """

    _gaps = FEATURE_STORE

    def __init__(
        self,
        repo_path: str | Path | None = None,
        config: RepoConfig | None = None,
        fs_yaml_file: str | Path | None = None,
        embedding_provider: None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        from tiffin.operations.context import open_context

        refuse_argument("FeatureStore", "embedding_provider", embedding_provider, FEATURE_STORE["embedding_provider"])
        self.context = open_context(repo_path, config, fs_yaml_file, clock)
        if self.config.audit_log is not None:
            from tiffin.governance.audit import AuditLog

            self.context.write_down = AuditLog(self.config.audit_log, self.context.clock).append

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FeatureStore(project={self.project!r}, repo_path={str(self.config.repo_path)!r})"

    @property
    def config(self) -> RepoConfig:
        """The settings."""
        return self.context.config

    @property
    def project(self) -> str:
        """The project's name."""
        return self.context.project

    @property
    def registry(self) -> RegistryStore:
        """The registry store: the logs of all projects."""
        return self.context.registry

    async def initialize(self) -> None:
        """Load the definitions and get the stores ready now, instead of with the first request.

        Raises:
            ConfigError: the options of a store are wrong.
            BackendNotFoundError: the type of a store is unknown, or a package that it needs is not installed.
        """
        import asyncio

        await asyncio.to_thread(self.context.initialize)

    def close(self) -> Awaitable[None]:
        """Close the backends; they are opened again if the store is used afterwards. It may be awaited as well."""
        self.context.close()
        return _Done()

    # Definitions

    def plan(
        self,
        objects: Definition | Iterable[Definition],
        partial: bool = False,
        skip_feature_view_validation: bool = False,
    ) -> ApplyPlan:
        """What ``apply`` would change; nothing is changed.

        The settings of all stores are checked; the online store is not connected to.

        Args:
            objects: definitions. What a view refers to comes along by itself.
            partial: whether definitions that are not among the objects stay; otherwise they are removed.
            skip_feature_view_validation: accepted for compatibility, as in ``apply``.

        Raises:
            ConfigError: the options of a store are wrong.
            BackendNotFoundError: the type of a store is unknown, or a package that it needs is not installed.
            DefinitionError: the definitions contradict one another or the source; names file and line.
            SourceError: a source cannot be read, or lacks a column.
        """
        from tiffin.operations.apply import plan

        return plan(self.context, objects, partial=partial)

    def apply(
        self,
        objects: Definition | Iterable[Definition] | ApplyPlan,
        objects_to_delete: Iterable[Definition] | None = None,
        partial: bool = True,
        skip_feature_view_validation: bool = False,
        no_promote: bool = False,
    ) -> ApplyPlan:
        """Make definitions the current ones, all of them or none (DEF-2), and create what they need online.

        Args:
            objects: definitions; or a plan, which is carried out exactly as it was shown.
            objects_to_delete: definitions to remove.
            partial: whether definitions that are not among the objects stay; otherwise they are removed.
            skip_feature_view_validation: accepted for compatibility; functions are never run here, and the rest is
                always checked.
            no_promote: not supported; ``plan`` shows what would change, and an older version can be read.

        Returns:
            The plan that was carried out; an empty one when there was nothing to change (DEF-3).

        Raises:
            DefinitionError: the definitions contradict one another or the source; names file and line.
            SourceError: a source cannot be read, or lacks a column.
            RegistryConflictError: somebody else applied since the plan was made; nothing was changed. An ``apply`` of
                definitions with ``partial=True`` plans again by itself.
        """
        from tiffin.operations.apply import apply

        hint = "use plan() to see what would change; older versions are read as view@v1:feature"
        refuse_argument("apply", "no_promote", no_promote, hint)
        return apply(self.context, objects, objects_to_delete, partial=partial)

    def history(self) -> list[Commit]:
        """The versions of the definitions, newest first."""
        from tiffin.operations.catalog import history

        return history(self.context)

    def rollback(self, version: int) -> ApplyPlan:
        """Make the definitions of an older version current again, as a new version.

        Raises:
            NotFoundError: there is no such version.
        """
        from tiffin.operations.apply import rollback

        return rollback(self.context, version)

    def teardown(self) -> None:
        """Drop the online tables of this project and forget its definitions. Sources stay as they are."""
        from tiffin.operations.apply import teardown

        teardown(self.context)

    def refresh_registry(self) -> None:
        """Look for newer definitions now, instead of after ``cache_ttl_seconds``."""
        self.context.refresh()

    def delete_feature_view(self, name: str) -> None:
        """Remove a feature view from the definitions; refused while a service uses it."""
        self.apply([], [self.get_feature_view(name)])

    def enable_feature_view(self, name: str) -> None:
        """Serve a view again that was disabled."""
        from tiffin.operations.catalog import set_enabled

        set_enabled(self.context, name, enabled=True)

    def disable_feature_view(self, name: str) -> None:
        """Serve a view no longer, and load it no longer; what is stored stays."""
        from tiffin.operations.catalog import set_enabled

        set_enabled(self.context, name, enabled=False)

    def delete_feature_service(self, name: str) -> None:
        """Remove a feature service from the definitions."""
        self.apply([], [self.get_feature_service(name)])

    # Training

    def get_historical_features(
        self,
        entity_df: Any = None,
        features: Sequence[str] | FeatureService = (),
        full_feature_names: bool = False,
        start_date: datetime | str | None = None,
        end_date: datetime | str | None = None,
        filter_by_created_timestamp: bool = False,
        *,
        keys: Any = None,
    ) -> RetrievalJob:
        """A training set: the features of every entity row as they were at its time. Lazy; rules PIT-1 to PIT-12.

        Args:
            entity_df: rows with keys and a time, as a pandas or polars frame, an Arrow table or a SQL query; without
                them every fact between the two dates becomes a row.
            features: ``["view:feature", ...]``, or a service.
            full_feature_names: name columns ``view__feature``.
            start_date: the first event time of the range, when there are no entity rows.
            end_date: the last one, included.
            filter_by_created_timestamp: a fact counts only once it was known, as with ``point_in_time: known``.
            keys: of the facts in the range, only those of these keys: columns such as ``{"driver_id": [1001, 1002]}``
                or a frame. Several columns are compared together; a view that lacks one of them gives no rows.

        Raises:
            RequestError: the request contradicts itself.
            NotFoundError: a view or feature does not exist; lists the nearest names.
        """
        from tiffin.operations.retrieve import retrieve

        return retrieve(
            self.context,
            entity_df,
            features,
            full_feature_names=full_feature_names,
            start_date=start_date,
            end_date=end_date,
            keys=keys,
            only_known=filter_by_created_timestamp or None,
        )

    def create_saved_dataset(
        self,
        from_: RetrievalJob,
        name: str,
        storage: Any,
        tags: Mapping[str, str] | None = None,
        feature_service: FeatureService | None = None,
        allow_overwrite: bool = False,
    ) -> SavedDataset:
        """Write a training set to a file, and keep in the registry what it was made of.

        Args:
            from_: the retrieval.
            name: of the dataset.
            storage: ``SavedDatasetFileStorage(path=...)`` or a path.
            tags: labels.
            feature_service: the service that it is of, when the retrieval was made from a list of features.
            allow_overwrite: replace a dataset and a file that are there.

        Raises:
            DefinitionError: there is a dataset of this name.
            StoreError: a file is there, or it cannot be written.
        """
        from tiffin.operations.datasets import create_saved_dataset

        return create_saved_dataset(
            self.context, from_, name, storage, tags, feature_service, allow_overwrite=allow_overwrite
        )

    def create_dataset_from_retrieval(
        self,
        name: str,
        entity_df: Any,
        features: Sequence[str] | FeatureService,
        storage: Any,
        tags: Mapping[str, str] | None = None,
        allow_overwrite: bool = False,
    ) -> SavedDataset:
        """``get_historical_features``, then ``create_saved_dataset`` of it."""
        job = self.get_historical_features(entity_df, features)
        return self.create_saved_dataset(job, name, storage, tags, allow_overwrite=allow_overwrite)

    def retrieve_dataset_data(self, name: str, limit: int = 10) -> pd.DataFrame:
        """The first rows of a saved dataset; raises ``NotFoundError`` with the nearest names."""
        return self.get_saved_dataset(name).to_df().head(limit)

    def get_saved_dataset(self, name: str) -> SavedDataset:
        """One saved dataset, ready to be read; raises ``NotFoundError`` with the nearest names."""
        from tiffin.operations.datasets import get_saved_dataset

        return get_saved_dataset(self.context, name)

    def list_saved_datasets(
        self, allow_cache: bool = True, tags: Mapping[str, str] | None = None
    ) -> list[SavedDataset]:
        """The saved datasets, by name; those that have all of the tags."""
        from tiffin.operations.datasets import list_saved_datasets

        return list_saved_datasets(self.context, tags)

    def compare_saved_dataset(self, name: str) -> DatasetComparison:
        """Make a saved dataset again from its own rows, and count per feature the rows that differ today.

        Raises:
            NotFoundError: there is no such dataset, or a feature of it is gone.
            SourceError: its file is missing.
        """
        from tiffin.operations.datasets import compare_saved_dataset

        return compare_saved_dataset(self.context, name)

    def get_validation_reference(self, name: str, allow_cache: bool = True) -> ValidationReference:
        """One validation reference, for ``to_df(validation_reference=...)``; raises ``NotFoundError``."""
        from tiffin.operations.datasets import get_validation_reference

        return get_validation_reference(self.context, name)

    def list_validation_references(
        self, allow_cache: bool = True, tags: Mapping[str, str] | None = None
    ) -> list[ValidationReference]:
        """The validation references, by name; those that have all of the tags."""
        from tiffin.operations.datasets import list_validation_references

        return list_validation_references(self.context, tags)

    # Serving

    def materialize(
        self,
        start_date: datetime | str | int | None,
        end_date: datetime | str | int | None,
        feature_views: Sequence[str] | None = None,
        disable_event_timestamp: bool = False,
        full_feature_names: bool = False,
        version: str | None = None,
        force: bool = False,
        run_async: bool = False,
        *,
        full_refresh: bool = False,
        progress: Any = None,
    ) -> MaterializationReport:
        """Load the facts of a range of event times, both ends included, into the online store (MAT-1).

        Args:
            start_date: the first event time.
            end_date: the last one; facts after now stay out.
            feature_views: names; all views that are online when left out.
            disable_event_timestamp: load everything up to now, whatever the two dates are. Facts keep their times.
            full_feature_names: accepted for compatibility; nothing that is stored is called by it.
            version: only ``latest``; the current version of a view is the one that is loaded.
            force: accepted for compatibility; a load that died holds up nobody.
            run_async: not supported.
            full_refresh: load everything up to now beside what is there, then put it in its place at once, so that
                rows gone from the source are gone online (MAT-5); whatever the two dates are.
            progress: called as rows are written.

        Raises:
            MaterializationError: a view could not be loaded, or its facts are not as expected; says which are done.
        """
        from tiffin.operations.materialize import materialize
        from tiffin.operations.refresh import refresh_fully

        _refuse_load("materialize", version, run_async)
        if full_refresh:
            return refresh_fully(self.context, feature_views, progress=progress)
        if disable_event_timestamp or start_date is None or end_date is None:
            start_date, end_date = MIN_US, self.context.now_us()
        return materialize(self.context, start_date, end_date, feature_views, progress=progress)

    def materialize_incremental(
        self,
        end_date: datetime | str | int,
        feature_views: Sequence[str] | None = None,
        full_feature_names: bool = False,
        version: str | None = None,
        force: bool = False,
        run_async: bool = False,
        *,
        progress: Any = None,
    ) -> MaterializationReport:
        """Load what came since the last incremental run, late facts included (MAT-2, MAT-3).

        Args:
            end_date: up to which event time; never past now.
            feature_views: names; all views that are online when left out.
            full_feature_names: as for ``materialize``; so are the next three.
            version: only ``latest``.
            force: accepted for compatibility.
            run_async: not supported.
            progress: called as rows are written.

        Raises:
            MaterializationError: a view could not be loaded; says which are done.
        """
        from tiffin.operations.materialize import materialize_incremental

        _refuse_load("materialize_incremental", version, run_async)
        return materialize_incremental(self.context, end_date, feature_views, progress=progress)

    def precompute_feature_service(self, feature_service_name: str | None = None, batch_size: int = 1000) -> int:
        """Keep what services with ``precompute_online`` serve in one row per key, too; answers stay the same.

        Run it once every program that writes knows the service, and again after a full refresh of one of its views.

        Args:
            feature_service_name: the service; all with ``precompute_online`` when left out.
            batch_size: keys at once.

        Returns:
            How many rows were put.

        Raises:
            NotFoundError: there is no such service.
            RequestError: it is not declared with ``precompute_online``, or has windows, several keys or older versions.
            StoreError: the store fails; running it again converges.
        """
        from tiffin.operations.vectors import precompute

        return precompute(self.context, feature_service_name, batch_size)

    def delete_entities(self, entity_rows: EntityRows, feature_views: Sequence[str] | None = None) -> EntityDeletion:
        """Delete entities from the online store; older facts do not bring them back, whoever loads them (WR-4).

        Args:
            entity_rows: ``[{"driver_id": 1}, ...]``, or ``{"driver_id": [1, ...]}``.
            feature_views: names; all online views whose join keys are among the columns when left out.

        Raises:
            RequestError: no view has these join keys, or a named view has others.
            InputError: a key is null or has a wrong type; names row and column.
        """
        from tiffin.operations.delete import delete_entities

        return delete_entities(self.context, entity_rows, feature_views)

    def materialization_runs(self, view: str | None = None, limit: int = 100) -> list[MaterializationRun]:
        """The history of runs, newest first."""
        from tiffin.operations.catalog import materialization_runs

        return materialization_runs(self.context, view, limit)

    def get_online_features(
        self,
        features: Sequence[str] | FeatureService,
        entity_rows: EntityRows,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse | RemoteResponse:
        """The features of entities as of now, in one round trip; rules ONL-1 to ONL-5.

        Args:
            features: ``["view:feature", ...]``, or a service.
            entity_rows: ``[{"driver_id": 1}, ...]``, or ``{"driver_id": [1, ...]}``.
            full_feature_names: name columns ``view__feature``.
            include_feature_view_version_metadata: accepted for compatibility; ``list_feature_view_versions`` tells.

        Raises:
            InputError: an entity row is wrong; names the row.
            NotFoundError: a view or feature does not exist; lists the nearest names.
        """
        from tiffin.operations.remote import read_features

        return read_features(self.context, features, entity_rows, full_feature_names)

    async def get_online_features_async(
        self,
        features: Sequence[str] | FeatureService,
        entity_rows: EntityRows,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse | RemoteResponse:
        """Like ``get_online_features``, without holding up the event loop."""
        from tiffin.operations.remote import read_features_async

        return await read_features_async(self.context, features, entity_rows, full_feature_names)

    def write_logged_features(
        self, logs: OnlineResponse | Iterable[OnlineResponse] | pa.Table | str | Path, source: FeatureService
    ) -> int:
        """Write what was served to the log of a feature service, for ``verify``, and say how many rows.

        Args:
            logs: answers of ``get_online_features`` for the service, of which the rows that are in the sample are kept;
                several answers make one file a day. Or a table, a Parquet file or a folder of them, in the log's form.
            source: the service; its ``logging_config`` says where to.

        Raises:
            RequestError: the service has no ``logging_config``.
            StoreError: the log cannot be written.
        """
        from tiffin.operations.feature_log import write_logged_features

        return write_logged_features(self.context, logs, source)

    def push(
        self,
        push_source_name: str,
        df: Any,
        allow_registry_cache: bool = True,
        to: PushMode | None = None,
        transform_on_write: bool = True,
        *,
        wait: bool = True,
    ) -> PushReport:
        """Push facts to every view of a push source; all rows are checked before any is written (WR-5, WR-6).

        Args:
            push_source_name: the source.
            df: a pandas or polars frame, an Arrow table or a list of dicts, with the columns of the source.
            to: ``PushMode.ONLINE`` when left out, ``OFFLINE`` or ``ONLINE_AND_OFFLINE``; the history is appended to.
            allow_registry_cache: accepted for compatibility.
            transform_on_write: accepted for compatibility.
            wait: accepted, and true whatever is said: what was pushed can be read when the call returns.

        Raises:
            NotFoundError: there is no such push source, or no view has it.
            InputError: names the row and the column.
        """
        from tiffin.definitions import PushMode
        from tiffin.operations.remote import push_facts

        return push_facts(self.context, push_source_name, df, PushMode.ONLINE if to is None else to)

    def run_stream(
        self,
        feature_views: Sequence[str] = (),
        *,
        start: datetime | str | None = None,
        until: datetime | str | None = None,
        history: bool = False,
        dead_letters: str = "",
        max_dead_letters: int | None = None,
        stop: threading.Event | None = None,
        progress: Callable[[Sequence[SourceProgress]], None] | None = None,
    ) -> list[SourceProgress]:
        """Feed views from Kafka or Kinesis, as one worker of several that share the messages.

        Args:
            feature_views: which; all that have a stream, are online and enabled when empty.
            start: ``earliest``, ``latest`` or a time; where the group is when left out.
            until: ``now`` or a time: it ends before the first message that the broker got then or later. It goes on for
                good when left out.
            history: append the messages to the history, the batch source of their source, as well. Workers that do so
                have a position of their own.
            dead_letters: a folder or ``topic:NAME`` for messages that cannot be used, instead of that of the settings.
            max_dead_letters: more of them are an error.
            stop: ends it when set, after the batch that is worked on.
            progress: called about every second.

        Raises:
            NotFoundError: there is no such view.
            RequestError: a view has no stream that can be read, or no history to append to.
            UnsupportedError: its history cannot be appended to.
            FunctionError: the function of a view is not found, or it is another one than was applied.
            StreamError: a topic is not there, its broker refuses, or there are too many dead letters.
            StoreError: a store refuses; what was not done is delivered again (WR-7).
        """
        from tiffin.operations.stream import start_of, until_of
        from tiffin.operations.stream_engine import feed

        return feed(
            self.context,
            feature_views,
            start=start_of(start),
            until=until_of(until),
            history=history,
            dead_letters=dead_letters,
            max_dead_letters=max_dead_letters,
            stop=stop,
            progress=progress,
        )

    def stream_status(self, feature_views: Sequence[str] = (), *, history: bool = False) -> list[StreamStatus]:
        """How far the streams have been worked off that feed some views, or all; raises as ``run_stream`` does."""
        from tiffin.operations.stream import stream_status

        return stream_status(self.context, feature_views, history=history)

    async def push_async(
        self,
        push_source_name: str,
        df: Any,
        allow_registry_cache: bool = True,
        to: PushMode | None = None,
        transform_on_write: bool = True,
        *,
        wait: bool = True,
    ) -> PushReport:
        """Like ``push``, without holding up the event loop."""
        import asyncio

        return await asyncio.to_thread(self.push, push_source_name, df, allow_registry_cache, to)

    def write_to_offline_store(
        self, feature_view_name: str, df: Any, allow_registry_cache: bool = True, reorder_columns: bool = True
    ) -> int:
        """Append facts to the history of a view, and say how many; files that are there are not rewritten.

        Args:
            feature_view_name: the view.
            df: as for ``push``.
            allow_registry_cache: accepted for compatibility.
            reorder_columns: accepted for compatibility; columns may come in any order.

        Raises:
            InputError: names the row and the column.
        """
        from tiffin.operations.push import write_to_offline_store

        return write_to_offline_store(self.context, feature_view_name, df)

    def write_to_online_store(
        self,
        feature_view_name: str,
        df: Any = None,
        inputs: Any = None,
        allow_registry_cache: bool = True,
        transform_on_write: bool = True,
    ) -> OnlineWrite:
        """Write facts straight into the online store; all rows are checked before any is written (WR-5, WR-6).

        Args:
            feature_view_name: the view.
            df: a pandas or polars frame, an Arrow table or a list of dicts, with the keys, the features and the time.
            inputs: the same as a dict of lists, instead of ``df``.
            allow_registry_cache: accepted for compatibility.
            transform_on_write: accepted for compatibility.

        Raises:
            InputError: names the row and the column.
        """
        from tiffin.operations.remote import write_facts

        return write_facts(self.context, feature_view_name, inputs if df is None else df)

    async def write_to_online_store_async(
        self,
        feature_view_name: str,
        df: Any = None,
        inputs: Any = None,
        allow_registry_cache: bool = True,
        transform_on_write: bool = True,
    ) -> OnlineWrite:
        """Like ``write_to_online_store``, without holding up the event loop."""
        import asyncio

        return await asyncio.to_thread(self.write_to_online_store, feature_view_name, df, inputs)


class _Done:
    """What may be awaited, and is done already."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


def _refuse_load(call: str, version: str | None, run_async: bool) -> None:
    """Refuse what a load of the online store cannot do."""
    hint = "the current version is loaded; rollback() makes the definitions of an older one current"
    refuse_argument(call, f"version={version!r}", version not in (None, "latest"), hint)
    refuse_argument(call, "run_async", run_async, "call it in a thread of your own, such as asyncio.to_thread(...)")
