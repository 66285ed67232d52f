"""What a view is compared with: a period, a training set, a table, what is served, or a profile that was kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tiffin.definitions import FeatureView, SavedDataset
from tiffin.errors import RequestError, SourceError
from tiffin.operations.datasets import get_saved_dataset
from tiffin.operations.entity_rows import to_table
from tiffin.operations.quarantine import quality_folder
from tiffin.quality.drift import DriftReport, Thresholds, compare_profiles
from tiffin.quality.history import kept_profiles, write_profile
from tiffin.quality.profiles import Profile
from tiffin.quality.profiling import profile_online, profile_table, profile_view

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.operations.context import Context

#: What is served now, for a sample of the keys.
ONLINE = "online"
_REFERENCES = "references"


def find_drift(
    ctx: Context,
    name: str,
    reference: Any,
    current: Any = None,
    columns: Sequence[str] | None = None,
    thresholds: Thresholds | None = None,
) -> DriftReport:
    """How far the features of a view are from a reference.

    Args:
        ctx: the opened project.
        name: the view.
        reference: a profile, a period ``(since, until)``, the name of a saved dataset or the dataset, a frame with
            columns ``feature`` or ``view__feature``, or ``"online"``.
        current: the same; all facts up to now when left out.
        columns: which features; all that both have, but for times, when left out.
        thresholds: what counts as drift.

    Raises:
        NotFoundError: a view, dataset or named column is not there.
        RequestError: a period is empty, or there is no column in common.
    """
    view = ctx.snapshot().view(name)
    base = _profile_of(ctx, view, reference)
    now = _profile_of(ctx, view, (None, None) if current is None else current)
    return compare_profiles(base, now, columns or _compared(view, base, now), thresholds)


def drift_trend(
    ctx: Context,
    name: str,
    reference: Any,
    columns: Sequence[str] | None = None,
    thresholds: Thresholds | None = None,
) -> list[DriftReport]:
    """How far each profile of a view that was kept is from a reference, by period.

    Raises:
        NotFoundError: a view, dataset or named column is not there.
        RequestError: no profile was kept.
    """
    view = ctx.snapshot().view(name)
    kept = kept_profiles(ctx, name)
    if not kept:
        hint = "keep some by `tiffin monitor profile`"
        raise RequestError(f"no profile of {view.subject} was kept yet", subject=view.subject, hint=hint)
    base = _profile_of(ctx, view, reference)
    return [compare_profiles(base, each, columns or _compared(view, base, each), thresholds) for each in kept]


def kept_reference(ctx: Context, name: str, side: str | tuple[int | None, int]) -> Path:
    """The file with the profile of a reference that stays what it is, which is computed when it is first asked for.

    A dataset is profiled again when its file is another one. A period is not: delete the profile where facts came late.

    Args:
        ctx: the opened project.
        name: the view.
        side: the name of a saved dataset, or a period ``(since, until)`` in microseconds.

    Raises:
        NotFoundError: there is no such view or dataset.
        SourceError: a file or source cannot be read.
        EmptyPeriodError: the period has no facts.
        StoreError: the profile cannot be kept.
    """
    folder = quality_folder(ctx, _REFERENCES, name)
    if isinstance(side, tuple):
        path = folder / f"period={side[0]}={side[1]}.parquet"
        if not path.exists():
            write_profile(path, profile_view(ctx, name, *side))
        return path
    dataset = get_saved_dataset(ctx, side)
    # No name has a "=" in it, once it is quoted.
    start = f"dataset={quote(side, safe='')}="
    path = folder / f"{start}{_stamp(ctx, dataset)}.parquet"
    if not path.exists():
        view = ctx.snapshot().view(name)
        write_profile(path, profile_table(ctx, _of_view(view, dataset.to_arrow()), side))
        for older in folder.glob("dataset=*"):
            if older.name.startswith(start) and older != path:
                older.unlink(missing_ok=True)
    return path


def _stamp(ctx: Context, dataset: SavedDataset) -> str:
    """What changes when the file of a dataset is another one."""
    try:
        file = (ctx.config.repo_path / dataset.storage.path).stat()
    except OSError as error:
        hint = "bring the file back, or save the dataset again with allow_overwrite=True"
        message = f"{dataset.subject} cannot be read: {error}"
        raise SourceError(message, subject=dataset.subject, hint=hint) from error
    return f"{file.st_size}-{file.st_mtime_ns}"


def _compared(view: FeatureView, *sides: Profile) -> list[str]:
    """The features that both sides have; times move on by themselves, and ids of facts are never the same."""
    features = dict.fromkeys(view.feature_names)
    names = features | dict.fromkeys(field.name for field in view.payload if field.name not in view.fact_id)
    both = [name for name in names if all(name in side.columns for side in sides)]
    return [name for name in both if any(side.columns[name].kind != "time" for side in sides)]


def _profile_of(ctx: Context, view: FeatureView, side: Any) -> Profile:
    if isinstance(side, Profile):
        return side
    if isinstance(side, str):
        if side == ONLINE:
            return profile_online(ctx, view.name)
        side = get_saved_dataset(ctx, side)
    if isinstance(side, tuple):
        if len(side) != 2:
            raise RequestError(f"{side!r} is no period", hint="pass (since, until); None leaves a side open")
        return profile_view(ctx, view.name, *side)
    if isinstance(side, SavedDataset):
        return profile_table(ctx, _of_view(view, side.to_arrow()), side.name, exact=True)
    return profile_table(ctx, _of_view(view, to_table(side)), exact=True)


def _of_view(view: FeatureView, table: pa.Table) -> pa.Table:
    """A training set with the features of a view under their own names."""
    prefix = f"{view.name}__"
    full = {name: name.removeprefix(prefix) for name in table.column_names if name.startswith(prefix)}
    plain = [name for name in table.column_names if name not in full and name not in full.values()]
    return table.select([*full, *plain]).rename_columns([*full.values(), *plain])
