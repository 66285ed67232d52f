"""Save training sets, read them again, and make them again to see what has changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tiffin.columns import pandas_type, single_chunk
from tiffin.definitions import FeatureService, SavedDataset, SavedDatasetFileStorage, ValidationReference
from tiffin.equality import same_values
from tiffin.errors import DefinitionError, InputError, SourceError
from tiffin.operations.apply import apply
from tiffin.operations.functions import find_function
from tiffin.operations.retrieve import RetrievalJob, retrieve

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tiffin.operations.context import Context


class DatasetReader:
    """Reads the file of a saved dataset.

    Args:
        dataset: the dataset.
        folder: the folder of the feature repository.
    """

    def __init__(self, dataset: SavedDataset, folder: str) -> None:
        self._dataset = dataset
        self._path = os.path.join(folder, dataset.storage.path)

    def to_arrow(self) -> pa.Table:
        """The rows.

        Raises:
            SourceError: the file is missing or damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_table(self._path)
        except (OSError, pa.ArrowException) as error:
            raise SourceError(
                f"{self._dataset.subject}: {self._path} cannot be read: {error}",
                subject=self._dataset.subject,
                hint="bring the file back, or save the dataset again with allow_overwrite=True",
            ) from error

    def to_df(self) -> pd.DataFrame:
        """The rows as a pandas frame, in the types that a retrieval gives."""
        frame: pd.DataFrame = self.to_arrow().to_pandas(types_mapper=pandas_type)
        return frame


@dataclass(frozen=True)
class DatasetComparison:
    """A saved dataset beside the same retrieval of today.

    Attributes:
        name: the dataset.
        rows: how many rows were compared.
        different: feature to the number of rows in which it differs now; 0 where it is the same.
        definitions_version: the version then, and now.
        changed_sources: the sources whose content is another one now.
    """

    name: str
    rows: int
    different: Mapping[str, int]
    definitions_version: tuple[int, int]
    changed_sources: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether every value is the same."""
        return not any(self.different.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {**asdict(self), "is_same": self.is_same}


def create_saved_dataset(
    ctx: Context,
    job: RetrievalJob,
    name: str,
    storage: Any,
    tags: Mapping[str, str] | None,
    feature_service: FeatureService | None,
    *,
    allow_overwrite: bool,
) -> SavedDataset:
    """Write a training set to a file, and keep in the registry what it was made of.

    Raises:
        InputError: the storage names no file.
        DefinitionError: there is a dataset of this name already.
        StoreError: a file is there, or it cannot be written.
    """
    path = storage if isinstance(storage, str) else getattr(storage, "path", None)
    if not path:
        raise InputError(f"{storage!r} names no file", hint="pass SavedDatasetFileStorage(path=...)")
    snapshot = ctx.refresh()
    if ("saved dataset", name) in snapshot.by_key and not allow_overwrite:
        hint = "give it another name, or pass allow_overwrite=True"
        raise DefinitionError(f"there is a saved dataset {name!r} already", subject=f"saved dataset {name}", hint=hint)
    table = job.to_arrow()
    first_us, last_us = job.time_range_us or (None, None)
    sources = {view.facts.source.name: ctx.offline.fingerprint(view.facts.source) for view in job.plan.views}
    job.persist(os.path.join(ctx.config.repo_path, path), allow_overwrite=allow_overwrite)
    service = feature_service.name if feature_service is not None else job.feature_service_name
    dataset = SavedDataset(
        name=name,
        features=job.features,
        join_keys=list(job.plan.keys),
        storage=SavedDatasetFileStorage(path),
        full_feature_names=job.full_feature_names,
        feature_service_name=service,
        definitions_version=snapshot.version,
        sources=sources,
        rows=table.num_rows,
        min_event_us=first_us,
        max_event_us=last_us,
        tags=dict(tags or {}),
    )
    apply(ctx, [dataset])
    return _readable(ctx, dataset)


def get_saved_dataset(ctx: Context, name: str) -> SavedDataset:
    """One saved dataset, ready to be read."""
    return _readable(ctx, ctx.snapshot().saved_dataset(name))


def list_saved_datasets(ctx: Context, tags: Mapping[str, str] | None) -> list[SavedDataset]:
    """The saved datasets, by name."""
    snapshot, wanted = ctx.snapshot(), (tags or {}).items()
    found = (snapshot.saved_dataset(name) for name in snapshot.names("saved dataset"))
    return [_readable(ctx, dataset) for dataset in found if wanted <= dataset.tags.items()]


def get_validation_reference(ctx: Context, name: str) -> ValidationReference:
    """One validation reference, with its dataset and, where it has one, its function.

    Raises:
        NotFoundError: there is no such reference.
        FunctionError: its function is not found, or another one than was applied.
    """
    found = ctx.snapshot().validation_reference(name)
    if found.function is not None:
        find_function(ctx, found)
    return found.with_dataset(get_saved_dataset(ctx, found.dataset_name))


def list_validation_references(ctx: Context, tags: Mapping[str, str] | None) -> list[ValidationReference]:
    """The validation references, by name."""
    snapshot, wanted = ctx.snapshot(), (tags or {}).items()
    found = (snapshot.validation_reference(name) for name in snapshot.names("validation reference"))
    return [reference for reference in found if wanted <= reference.tags.items()]


def compare_saved_dataset(ctx: Context, name: str) -> DatasetComparison:
    """Make a saved dataset again from its own rows, and compare value by value.

    Raises:
        NotFoundError: there is no such dataset, or a feature of it is gone.
        SourceError: its file is missing.
    """
    dataset = get_saved_dataset(ctx, name)
    saved = dataset.to_arrow()
    snapshot = ctx.refresh()
    features: Any = list(dataset.features)
    if dataset.feature_service_name:
        features = snapshot.service(dataset.feature_service_name)
    names = _feature_columns(dataset, saved)
    job = retrieve(ctx, saved.drop_columns(names), features, dataset.full_feature_names)
    again = job.to_arrow()
    different = {column: _differences(saved[column], again[column]) for column in names if column in again.column_names}
    sources = {view.facts.source.name: dict(ctx.offline.fingerprint(view.facts.source)) for view in job.plan.views}
    changed = [source for source, parts in sources.items() if dict(dataset.sources.get(source, {})) != parts]
    versions = (dataset.definitions_version, snapshot.version)
    return DatasetComparison(name, saved.num_rows, different, versions, tuple(sorted(changed)))


def _feature_columns(dataset: SavedDataset, table: pa.Table) -> list[str]:
    """The columns of a dataset that are features."""
    full = dataset.full_feature_names
    names = [each.replace(":", "__") if full else each.partition(":")[2] for each in dataset.features]
    return [name for name in names if name in table.column_names]


def _differences(saved: pa.ChunkedArray, again: pa.ChunkedArray) -> int:
    """In how many rows two columns differ; nulls are the same, and so are two NaN."""
    one, other = single_chunk(saved), single_chunk(again)
    if one.type == other.type:
        return int((~same_values(one, other)).sum())
    pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
    return sum(repr(mine) != repr(yours) for mine, yours in pairs)


def _readable(ctx: Context, dataset: SavedDataset) -> SavedDataset:
    return dataset.with_retrieval_job(DatasetReader(dataset, str(ctx.config.repo_path)))
