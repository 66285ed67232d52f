"""What was served, kept as Parquet: a sample of the answers of feature services, to be compared with training later.

Whether an entity is in the sample depends on a hash of its key alone, so that all of its requests are kept or none.
Files lie in ``<path>/<service>/log_date=<day>/`` and get their name only when they are whole. Columns are called as in
Feast's logs: the entity columns, ``view__feature`` with ``__timestamp`` and ``__status``, ``__log_timestamp`` and
``__request_id``; and ``__definitions_version`` and ``__fallback``. What a function computed from and was not served
itself is there as ``__input__view__feature``: without it, nobody can tell a wrong function from a wrong input.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import numpy_values, single_chunk
from tiffin.definitions import FeatureService
from tiffin.errors import InputError, RequestError, StoreError
from tiffin.online.found import FieldStatus
from tiffin.online.response import OnlineResponse
from tiffin.time import DAY_US, from_us

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.operations.context import Context

#: What the columns of a feature are called besides its own name, and the columns that a row has once.
TIMESTAMP, STATUS = "__timestamp", "__status"
#: What the columns of a feature begin with that was not served, but computed from.
INPUT = "__input__"
LOGGED_AT, REQUEST_ID, VERSION, FALLBACK = "__log_timestamp", "__request_id", "__definitions_version", "__fallback"

_HASHES = 1 << 64


@dataclass(frozen=True, slots=True)
class Served:
    """Rows of one answer that are to be kept.

    Attributes:
        service: what was asked for.
        response: the answer.
        rows: the numbers of its rows that are in the sample.
        request_id: of the request.
        fallback: what was answered from because the store did not answer; empty when it did.
    """

    service: FeatureService
    response: OnlineResponse
    rows: Sequence[int]
    request_id: str = ""
    fallback: str = ""


def sampled_rows(response: OnlineResponse, share: float) -> Sequence[int]:
    """The numbers of the rows whose entity is in the sample."""
    keys = response.keys()
    if share >= 1:
        return range(len(keys)) if keys else range(len(next(iter(response.entities.values()), ())))
    return [number for number, key in enumerate(keys) if _place(key) < share * _HASHES]


def _place(key: tuple[Any, ...]) -> int:
    import msgspec

    return int.from_bytes(hashlib.blake2b(msgspec.json.encode(key), digest_size=8).digest(), "big")


def log_table(served: Served) -> pa.Table:
    """The rows as they are kept. Their time is the moment that the answer is of, not the later one of its writing."""
    import pyarrow as pa

    response = served.response.with_inputs
    table = response.to_arrow()
    statuses, times = response.statuses(), response.event_us()
    columns: dict[str, Any] = {name: table[name] for name in response.entities}
    moments = pa.timestamp("us", "UTC")
    was_asked = served.response.plan.name_set
    for name, reference in response.references.items():
        full = full_name(reference) if name in was_asked else INPUT + full_name(reference)
        columns[full] = table[name]
        columns[full + TIMESTAMP] = pa.array(times[name], moments)
        columns[full + STATUS] = pa.array([FieldStatus[status].value for status in statuses[name]], pa.int32())
    count = table.num_rows
    columns[LOGGED_AT] = pa.array([response.now_us] * count, moments)
    columns[REQUEST_ID] = pa.array([served.request_id] * count, pa.string())
    columns[VERSION] = pa.array([response.definitions_version] * count, pa.int64())
    columns[FALLBACK] = pa.array([served.fallback] * count, pa.string())
    return pa.table(columns).take(pa.array(served.rows, pa.int64()))


def full_name(reference: str) -> str:
    """The column of a feature, by its reference ``view:feature``."""
    return reference.replace(":", "__", 1)


def log_folder(folder: Path, service: FeatureService) -> Path:
    """Where the log of a service lies.

    Args:
        folder: that relative paths are relative to.
        service: the service.

    Raises:
        RequestError: the service does not say where to.
        UnsupportedError: elsewhere than in a folder; ``apply`` refuses that, older ones did not.
    """
    if service.logging_config is None:
        raise RequestError(
            f"{service.subject} has no logging_config, so that it has no log",
            subject=service.subject,
            location=service.location,
            hint="give it LoggingConfig(FileLoggingDestination(path=...)) and run `tiffin apply`",
        )
    return folder / service.logging_config.destination.folder / service.name


def write_rows(folder: Path, group: Sequence[Served]) -> None:
    """Write rows of one service and one version of the definitions, a file for each day.

    Raises:
        StoreError: they cannot be written.
        UnsupportedError: they are to be written elsewhere than in a folder.
    """
    _write_tables(log_folder(folder, group[0].service), map(log_table, group))


def write_logged_features(
    ctx: Context, logs: OnlineResponse | Iterable[OnlineResponse] | pa.Table | str | Path, service: FeatureService
) -> int:
    """Write to the log of a service, and say how many rows.

    Args:
        ctx: the opened project.
        logs: answers that this process got for the service, of which the rows that are in the sample are kept; or a
            table, a Parquet file or a folder of them, in the form of the log.
        service: the service.

    Raises:
        RequestError: the service has no ``logging_config``.
        InputError: it is neither answers nor a log.
        StoreError: it cannot be read or written.
    """
    folder = log_folder(ctx.config.repo_path, service)
    tables = _log_tables(logs, service)
    for table in tables:
        if LOGGED_AT not in table.column_names:
            raise InputError(
                f"the rows have no column {LOGGED_AT!r}, so that they are no log of served features",
                subject=LOGGED_AT,
                hint="pass the answers of get_online_features(service, ...), or rows in the form that a server logs",
            )
    _write_tables(folder, tables)
    return sum(table.num_rows for table in tables)


def _log_tables(logs: Any, service: FeatureService) -> list[pa.Table]:
    import pyarrow as pa

    if isinstance(logs, str | Path):
        return [_read_log(logs)]
    if isinstance(logs, pa.Table):
        return [logs]
    assert service.logging_config is not None
    share = service.logging_config.sample_rate
    answers = [logs] if hasattr(logs, "to_arrow") else logs
    return [log_table(Served(service, each, sampled_rows(each, share))) for each in map(_checked, answers)]


def _checked(answer: Any) -> OnlineResponse:
    if not isinstance(answer, OnlineResponse):
        raise InputError(
            f"{type(answer).__name__} is no answer of a store",
            hint="pass what get_online_features() gave; what a feature server answers is logged by the server",
        )
    return answer


def _read_log(path: str | Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read as Parquet: {error}", subject=str(path)) from error


def _write_tables(root: Path, tables: Iterable[pa.Table]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # A null says that null was served, so that rows without a feature do not go together with rows that have it.
        files: dict[tuple[int, tuple[str, ...]], list[pa.Table]] = {}
        for table in tables:
            features = tuple(name for name in table.column_names if name.endswith(STATUS))
            for day, part in _by_day(table):
                files.setdefault((day, features), []).append(part)
        for (day, _), parts in files.items():
            date = from_us(day * DAY_US).date().isoformat()
            file = root / f"log_date={date}" / f"{uuid.uuid4().hex}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_suffix(".unfinished")
            # Columns of the request have the types that Arrow finds, which may differ from one answer to the next.
            pq.write_table(pa.concat_tables(parts, promote_options="permissive"), unfinished)
            os.replace(unfinished, file)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"served features cannot be written to {root}: {error}", subject=str(root)) from error


def _by_day(table: pa.Table) -> Iterable[tuple[int, pa.Table]]:
    """The rows of each day, by its number since 1970."""
    import pyarrow as pa

    times = single_chunk(table[LOGGED_AT]).cast(pa.timestamp("us", "UTC"))
    days = numpy_values(times) // DAY_US
    for day in np.unique(days).tolist():
        yield day, table.filter(pa.array(days == day))
