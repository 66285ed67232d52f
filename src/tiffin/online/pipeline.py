"""An online read without its I/O: from a request to the keys to read, and from the rows to the answer.

A driver does what is between: it hands ``requests`` to a store, waiting or not, and the rows to ``take``; what this
returns is handed to the store as well, and its rows to ``take_tiles``. Then there is an ``answer``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tiffin.contracts.online import ReadRequest
from tiffin.errors import InputError, NameCollisionError, nearest
from tiffin.online.found import FoundRows
from tiffin.online.found_windows import FoundTimelines
from tiffin.online.keys import encode_keys
from tiffin.online.response import OnlineResponse
from tiffin.planning.online import OnlinePlan, ViewRead

EntityRows = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]


class OnlineRead:
    """One read on its way.

    Args:
        plan: what is read.
        functions: the functions of the plan's on-demand views.
        entity_rows: dicts with the same keys, or columns of the same length.

    Attributes:
        requests: what the store is to read: every key once, null keys left out.

    Raises:
        InputError: an entity row is wrong; names the row and the column.
        NameCollisionError: a feature has the name of an entity column (PIT-9).
    """

    __slots__ = (
        "_asked",
        "_count",
        "_entities",
        "_found",
        "_functions",
        "_keys",
        "_now_us",
        "_plan",
        "_vectored",
        "requests",
    )

    def __init__(self, plan: OnlinePlan, entity_rows: EntityRows, functions: Sequence[Callable[..., Any]] = ()) -> None:
        self._plan = plan
        self._functions = functions
        self._entities, count = _columns(plan, entity_rows)
        self._count = count
        self._keys: list[list[bytes | None]] = []
        asked: list[list[bytes]] = []
        for key_set in plan.key_sets:
            columns = [self._entities[name] for name in key_set.columns]
            keys = encode_keys(columns, key_set.types, key_set.columns, count)
            self._keys.append(keys)
            asked.append(_distinct(keys))
        self._vectored: list[Sequence[bytes | None] | None] | None = None
        self._asked = asked
        vector = plan.vector
        self.requests = self._of_views() if vector is None else [ReadRequest(vector.table, asked[0])]

    def take(self, found: Sequence[Sequence[bytes | None]], now_us: int) -> list[ReadRequest]:
        """Take the rows that the store found.

        Args:
            found: for each request its rows.
            now_us: the moment at which ages are judged (ONL-2), and at which windows end.

        Returns:
            What else the store is to read: tiles of keys with many facts, rows of keys without a good vector, and
            nothing for others.
        """
        self._now_us = now_us
        if self._plan.vector is None:
            return self._take(self.requests, found)
        self._vectored = [self._plan.vector.reader.rows(row) for row in found[0]]
        return self._take_vectored([])

    def _of_views(self, keys: Sequence[bytes] | None = None) -> list[ReadRequest]:
        """What is read of each view, of some keys or of all."""
        views = self._plan.views
        return [ReadRequest(view.table, self._asked[view.key_set] if keys is None else keys) for view in views]

    def _take_vectored(self, found: Sequence[Sequence[bytes | None]]) -> list[ReadRequest]:
        """Take the rows that are in vectors, and those of the keys without a good one, once they are read."""
        assert self._plan.vector is not None
        assert self._vectored is not None
        keys, places = self._asked[0], self._plan.vector.places
        without = [key for key, rows in zip(keys, self._vectored, strict=True) if rows is None]
        if without and not found:
            return self._of_views(without)
        parts = []
        for number, place in enumerate(places):
            others = iter(found[number]) if found else iter(())
            parts.append([next(others) if rows is None else rows[place] for rows in self._vectored])
        return self._take(self._of_views(), parts)

    def _take(self, requests: Sequence[ReadRequest], found: Sequence[Sequence[bytes | None]]) -> list[ReadRequest]:
        self._found: list[FoundRows | FoundTimelines] = []
        further = []
        for view, request, part in zip(self._plan.views, requests, found, strict=True):
            keys = self._keys[view.key_set]
            if len(part) != len(keys):
                by_key: dict[bytes | None, bytes | None] = dict(zip(request.keys, part, strict=True))
                part = [by_key.get(key) for key in keys]
            if isinstance(view, ViewRead):
                self._found.append(FoundRows(view, part, self._now_us))
                continue
            timelines = FoundTimelines(view, keys, part, self._now_us)
            self._found.append(timelines)
            tiles = timelines.tiles()
            if tiles:
                further.append(ReadRequest(view.table, tiles))
        return further

    def take_tiles(
        self, requests: Sequence[ReadRequest], found: Sequence[Sequence[bytes | None]], *, are_all: bool = True
    ) -> bool:
        """Take what else was read; false when a tile is gone, because facts came meanwhile: read everything again.

        Args:
            requests: what ``take`` gave.
            found: for each request its rows.
            are_all: whether nothing is missing but for that reason. Otherwise a key of which a tile is missing is
                answered as if nothing was found: a part of its facts would give a number that never was.
        """
        if self._plan.vector is not None:
            self._take_vectored(found)
            return True
        waiting = [each for each in self._found if not isinstance(each, FoundRows) and each.tiles()]
        return all(
            each.put_tiles(request.keys, rows, are_all=are_all)
            for each, request, rows in zip(waiting, requests, found, strict=True)
        )

    def answer(self) -> OnlineResponse | None:
        """The answer from the rows that were taken.

        Returns:
            ``None`` when a row was written under newer definitions than the plan was made from: plan and read again.
        """
        if not all([rows.is_readable for rows in self._found]):  # noqa: C419 - a list is faster
            return None
        if not self._plan.computed:
            return OnlineResponse(self._plan, self._entities, self._found, self._now_us)
        from tiffin.online.computed import ComputedValues

        values = ComputedValues(self._plan, self._entities, self._found, self._functions, self._now_us, self._count)
        return OnlineResponse(self._plan, self._entities, self._found, self._now_us, values)


def _distinct(keys: list[bytes | None]) -> list[bytes]:
    """Every key once, without nulls."""
    if len(keys) == 1:
        return [] if keys[0] is None else keys  # type: ignore[return-value]
    found = dict.fromkeys(keys)
    found.pop(None, None)
    return list(found)  # type: ignore[arg-type]


def _columns(plan: OnlinePlan, entity_rows: Any) -> tuple[dict[str, list[Any]], int]:
    """Entity rows as columns in request order, and how many rows there are."""
    columns, count = entity_columns(entity_rows)
    if not count and not columns:
        columns = {key: [] for key in plan.keys}
    if plan.entity_names:
        columns = _with_join_keys(columns, plan.entity_names)
    if not plan.name_set.isdisjoint(columns):
        taken = next(name for name in plan.names if name in columns)
        hint = "pass full_feature_names=True, or rename the entity column"
        raise NameCollisionError(f"feature {taken!r} has the name of an entity column", subject=taken, hint=hint)
    for key in plan.keys:
        if key not in columns:
            raise _missing(key, "a join key", columns)
    for name in plan.request_columns:
        if name not in columns:
            raise _missing(name, "a value of the request that a function computes from", columns)
    return columns, count


def entity_columns(entity_rows: Any) -> tuple[dict[str, list[Any]], int]:
    """Entity rows as columns, and how many rows there are.

    Raises:
        InputError: they are not dicts with the same keys, nor columns of the same length; names row or column.
    """
    if isinstance(entity_rows, list | tuple):
        return _columns_of(entity_rows), len(entity_rows)
    # A dict is a mapping, but that is found out slowly.
    if isinstance(entity_rows, dict) or isinstance(entity_rows, Mapping):  # noqa: SIM101
        return _checked_columns(entity_rows)
    raise InputError(
        f"entity_rows is a {type(entity_rows).__name__}",
        hint='pass a list of dicts such as [{"driver_id": 1001}], or columns such as {"driver_id": [1001, 1002]}',
    )


def _columns_of(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Dicts as columns, in the order of the first one."""
    if not rows:
        return {}
    first = rows[0]
    if len(rows) == 1 and type(first) is dict:
        return {name: [value] for name, value in first.items()}
    if set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(first)}:
        _check_rows(rows)
    try:
        return {name: [row[name] for row in rows] for name in first}
    except KeyError:
        _check_rows(rows)
        raise


def _check_rows(rows: Sequence[Any]) -> None:
    """Find the row that is wrong.

    Raises:
        InputError: a row is not a mapping, or its columns are not those of row 0.
    """
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            hint = 'pass a list of dicts such as [{"driver_id": 1001}]'
            raise InputError(f"entity row {number} is {row!r}, not a mapping", hint=hint)
        if row.keys() != rows[0].keys():
            raise InputError(
                f"entity row {number} has the columns {', '.join(row)}; row 0 has {', '.join(rows[0])}",
                hint="all rows need the same columns; use None for a missing key",
            )


def _checked_columns(entity_rows: Mapping[str, Any]) -> tuple[dict[str, list[Any]], int]:
    """Columns as lists, and their common length."""
    columns = {name: _as_list(name, values) for name, values in entity_rows.items()}
    if len(columns) > 1 and len({len(values) for values in columns.values()}) > 1:
        sizes = ", ".join(f"{name}: {len(values)}" for name, values in columns.items())
        raise InputError(f"the entity columns have different lengths: {sizes}", hint="give one value per row")
    return columns, len(next(iter(columns.values()), []))


def _as_list(name: str, values: Any) -> list[Any]:
    if type(values) is list:
        return values.copy()
    if hasattr(values, "to_pylist"):
        values = values.to_pylist()
    elif hasattr(values, "tolist"):
        # numpy would turn times of nanoseconds into numbers
        values = list(values) if getattr(values.dtype, "kind", "") == "M" else values.tolist()
    if not isinstance(values, list | tuple):
        hint = f"pass a list: {{{name!r}: [{values!r}]}}"
        raise InputError(f"entity column {name!r} is {values!r}, not a list of values", subject=name, hint=hint)
    return list(values)


def _with_join_keys(columns: dict[str, list[Any]], entity_names: Mapping[str, str]) -> dict[str, list[Any]]:
    """Columns that are named as an entity, under the name of its join key; a join key that is there goes first."""
    if entity_names.keys().isdisjoint(columns):
        return columns
    renamed = {old: new for old, new in entity_names.items() if old in columns and new not in columns}
    return {renamed.get(name, name): values for name, values in columns.items()} if renamed else columns


def _missing(key: str, role: str, columns: Mapping[str, Any]) -> InputError:
    found = f"they have {', '.join(columns)}" if columns else "they have no columns"
    hint = nearest(key, columns) if columns else f"pass entity_rows=[{{{key!r}: ...}}]"
    return InputError(f"the entity rows have no {key!r}, which is {role}; {found}", subject=key, hint=hint)
