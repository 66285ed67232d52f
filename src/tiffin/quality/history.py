"""The history of profiles: a Parquet file for each, a row for each column, for trends and for whoever reads Parquet.

Files are put in place by renaming, so that nobody sees half of one, and never changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiffin.columns import numpy_values
from tiffin.errors import StoreError
from tiffin.operations.quarantine import quality_folder
from tiffin.quality.buckets import Buckets
from tiffin.quality.files import replace_file
from tiffin.quality.profiles import QUANTILES, ColumnProfile, Profile
from tiffin.quality.texts import Texts
from tiffin.time import from_us, to_us

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.operations.context import Context

_KEPT = "profiles"
_NAME = re.compile(r"(?P<of>[a-z]+)-(?P<since>-?\d+)-(?P<until>-?\d+)-(?P<taken>-?\d+)\.parquet")


@dataclass(frozen=True, order=True)
class KeptProfile:
    """A profile in the history, by what its file is called; reading it is another matter.

    Attributes:
        since_us, until_us: its period.
        taken_us: when it was computed.
        path: the file.
    """

    since_us: int
    until_us: int
    taken_us: int
    path: Path

    @classmethod
    def at(cls, path: Path) -> KeptProfile | None:
        """What a file has, by its name; ``None`` for another kind of file."""
        match = _NAME.fullmatch(path.name)
        return match and cls(int(match["since"]), int(match["until"]), int(match["taken"]), path)

    def read(self) -> Profile:
        """The profile.

        Raises:
            StoreError: the file cannot be read.
        """
        return read_profile(self.path)


def keep_profile(ctx: Context, profile: Profile) -> KeptProfile:
    """Add a profile to the history of its view.

    Raises:
        StoreError: it cannot be written.
    """
    name = f"{profile.of}-{profile.since_us}-{profile.until_us}-{profile.taken_us}.parquet"
    path = quality_folder(ctx, _KEPT, profile.subject) / name
    write_profile(path, profile)
    return KeptProfile(profile.since_us, profile.until_us, profile.taken_us, path)


def list_kept(ctx: Context, subject: str, of: str | None = None) -> list[KeptProfile]:
    """What there is in the history of a view, by period and then by when it was computed; no file is read.

    Args:
        ctx: the opened project.
        subject: the view.
        of: only what is ``offline`` or ``online``.
    """
    found = map(KeptProfile.at, quality_folder(ctx, _KEPT, subject).glob(f"{of or '[!.]*'}-*.parquet"))
    return sorted(each for each in found if each is not None)


def kept_profiles(ctx: Context, subject: str, of: str | None = None) -> list[Profile]:
    """The profiles of ``list_kept``.

    Raises:
        StoreError: one cannot be read.
    """
    return [each.read() for each in list_kept(ctx, subject, of)]


def write_profile(path: Path, profile: Profile) -> None:
    """Write a profile to a file, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_row(profile, each) for each in profile.columns.values()]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, _schema()), sink)
    replace_file(path, sink.getvalue().to_pybytes())


def read_profile(path: Path) -> Profile:
    """Read what ``write_profile`` wrote.

    Raises:
        StoreError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return _profile(pq.read_table(path, partitioning=None))
    except (OSError, KeyError, IndexError, pa.ArrowException) as error:
        hint = "remove the file; it can be computed again"
        raise StoreError(f"the profile {path} cannot be read: {error}", subject=str(path), hint=hint) from error


def _schema() -> pa.Schema:
    import pyarrow as pa

    moment, whole, number = pa.timestamp("us", "UTC"), pa.int64(), pa.float64()
    columns = {"subject": pa.string(), "of": pa.string(), "since": moment, "until": moment, "taken": moment}
    columns |= {"total_rows": whole, "name": pa.string(), "type": pa.string(), "kind": pa.string(), "rows": whole}
    columns |= {"nulls": whole, "nans": whole, "distinct": whole, "min": number, "max": number, "mean": number}
    columns |= {"std": number, "quantiles": pa.list_(pa.struct([("part", number), ("value", number)]))}
    columns |= {"shift": whole, "places": pa.list_(whole), "counts": pa.list_(whole)}
    columns |= {"texts": pa.list_(pa.struct([("value", pa.string()), ("count", whole)])), "texts_total": whole}
    return pa.schema([*columns.items(), ("texts_lost", whole)])


def _row(profile: Profile, column: ColumnProfile) -> dict[str, Any]:
    return {
        "subject": profile.subject,
        "of": profile.of,
        "since": from_us(profile.since_us),
        "until": from_us(profile.until_us),
        "taken": from_us(profile.taken_us),
        "total_rows": profile.rows,
        "name": column.name,
        "type": column.dtype,
        "kind": column.kind,
        "rows": column.rows,
        "nulls": column.nulls,
        "nans": column.nans,
        "distinct": column.distinct,
        "min": column.minimum,
        "max": column.maximum,
        "mean": column.mean,
        "std": column.std,
        "quantiles": [{"part": p, "value": v} for p, v in zip(QUANTILES, column.quantiles(), strict=True)],
        "shift": column.buckets.shift,
        "places": column.buckets.places,
        "counts": column.buckets.counts,
        "texts": [{"value": value, "count": count} for value, count in column.texts.counts],
        "texts_total": column.texts.total,
        "texts_lost": column.texts.lost,
    }


def _profile(table: pa.Table) -> Profile:
    # Intervals are many: they are taken as arrays.
    places, counts = (table[name].combine_chunks() for name in ("places", "counts"))
    rows = table.drop_columns(["places", "counts"]).to_pylist()
    first = rows[0]
    since_us, until_us, taken_us = (to_us(first[name]) for name in ("since", "until", "taken"))
    columns = {}
    for number, row in enumerate(rows):
        intervals = (numpy_values(part[number].values) for part in (places, counts))
        columns[row["name"]] = _column(row, Buckets(row["shift"], *intervals))
    return Profile(first["subject"], first["of"], since_us, until_us, taken_us, first["total_rows"], columns)


def _column(row: dict[str, Any], buckets: Buckets) -> ColumnProfile:
    texts = tuple((each["value"], each["count"]) for each in row["texts"])
    return ColumnProfile(
        name=row["name"],
        dtype=row["type"],
        kind=row["kind"],
        rows=row["rows"],
        nulls=row["nulls"],
        nans=row["nans"],
        distinct=row["distinct"],
        minimum=row["min"],
        maximum=row["max"],
        mean=row["mean"],
        std=row["std"],
        buckets=buckets,
        texts=Texts(texts, row["texts_total"], row["texts_lost"]),
    )
