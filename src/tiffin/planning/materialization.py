"""Loading the online store as a plan: which facts of a view, and up to where the cursor may move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tiffin.definitions import FeatureView
from tiffin.errors import RequestError
from tiffin.planning.references import SelectedView
from tiffin.planning.retrieval import FactColumns, KeyColumn, fact_columns, key_column
from tiffin.registry.snapshot import ViewStorage
from tiffin.time import MIN_US, format_us


@dataclass(frozen=True)
class LoadPlan:
    """Which facts of a view are loaded.

    A fact is loaded when its event time is in the closed interval and, where ``known_until_us`` is set, it was known
    by then. Of each key the newest such fact is enough (WR-1).

    Attributes:
        facts: where they stand.
        keys: the join keys; ``entity_column`` is the key's own name.
        start_us, end_us: the closed interval of event times (MAT-1).
        known_until_us: facts known later are left for a later run; ``None`` where that does not matter.
        known_from_us: together with ``changed_parts``, lets in older facts that became known since (MAT-3).
        changed_parts: parts of the source whose content is new since the last run; all of their facts up to
            ``end_us`` are loaded, however old.
    """

    facts: FactColumns
    keys: tuple[KeyColumn, ...]
    start_us: int
    end_us: int
    known_until_us: int | None = None
    known_from_us: int | None = None
    changed_parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cursor:
    """How far the incremental runs of a (view version, online store) have come (MAT-2).

    Attributes:
        view_version: a cursor of another version of the view does not count.
        end_us: facts with an event time up to here are loaded.
        known_us: facts that were known up to here are loaded.
        parts: the parts of the source as they were then.
    """

    view_version: int
    end_us: int
    known_us: int
    parts: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """JSON, for the online store to keep."""
        data = {"version": self.view_version, "end": self.end_us, "known": self.known_us, "parts": dict(self.parts)}
        return msgspec.json.encode(data)

    @classmethod
    def from_bytes(cls, data: bytes | None) -> Cursor | None:
        """Build it again; ``None`` when there is none."""
        if data is None:
            return None
        plain: Any = msgspec.json.decode(data)
        return cls(plain["version"], plain["end"], plain["known"], plain["parts"])


def plan_load(view: FeatureView, *, start_us: int, end_us: int, now_us: int) -> LoadPlan:
    """The load of a closed interval (MAT-1). What happens or becomes known after ``now`` stays out (WR-5).

    Raises:
        RequestError: the interval is turned round.
        UnsupportedError: the view has no history.
    """
    if start_us > end_us:
        raise RequestError(
            f"start_date {format_us(start_us)} is after end_date {format_us(end_us)}", hint="swap the two dates"
        )
    facts = fact_columns(SelectedView(view, view.features))
    keys = tuple(
        key_column(facts, key, key, dtype) for key, dtype in zip(view.join_keys, view.known_key_types(), strict=True)
    )
    return LoadPlan(
        facts=facts,
        keys=keys,
        start_us=start_us,
        end_us=min(end_us, now_us),
        known_until_us=now_us if facts.known_column else None,
    )


def plan_incremental_load(
    view: FeatureView,
    storage: ViewStorage,
    cursor: Cursor | None,
    *,
    end_us: int,
    now_us: int,
    parts: Mapping[str, str],
) -> LoadPlan:
    """The load of everything that came since the cursor (MAT-2, MAT-3).

    Without a cursor, or with one of another version of the view, everything is loaded, facts older than the ttl too:
    a read says ``OUTSIDE_MAX_AGE`` of these (ONL-2), and serves them when the ttl is raised. With one, the interval
    goes on where it ended; parts of the source that are new or changed since are read in full, so a fact that came late
    is found whatever its times say.
    """
    end_us = min(end_us, now_us)
    if cursor is None or cursor.view_version != storage.version:
        return plan_load(view, start_us=MIN_US, end_us=end_us, now_us=now_us)
    # An end before the cursor does not undo anything: the range up to the cursor is loaded, late facts in it too.
    start_us = min(cursor.end_us, now_us)
    end_us = max(start_us, end_us)
    plan = plan_load(view, start_us=start_us, end_us=end_us, now_us=now_us)
    changed = tuple(name for name, print_ in parts.items() if cursor.parts.get(name) != print_)
    return LoadPlan(
        facts=plan.facts,
        keys=plan.keys,
        start_us=start_us,
        end_us=plan.end_us,
        known_until_us=plan.known_until_us,
        known_from_us=cursor.known_us if plan.known_until_us is not None else None,
        changed_parts=changed,
    )
