"""What differs between two snapshots, as values that people and programs can read (DEF-1)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tiffin.definitions import Aggregation, Expectation
from tiffin.planning.declared import value_text
from tiffin.registry.snapshot import KINDS, Entry, Snapshot
from tiffin.time import format_duration

ADDED, CHANGED, REMOVED = "added", "changed", "removed"
_SIGNS = {ADDED: "+", CHANGED: "~", REMOVED: "-"}


@dataclass(frozen=True)
class FieldChange:
    """One argument of a definition; ``None`` where it is not given."""

    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        if isinstance(self.old, str) and isinstance(self.new, str) and "\n" in self.old + self.new:
            lines = difflib.unified_diff(self.old.splitlines(), self.new.splitlines(), lineterm="", n=1)
            return "\n        ".join([f"{self.field}:", *list(lines)[3:]])
        return f"{self.field}: {_shown(self.old)} -> {_shown(self.new)}"


@dataclass(frozen=True)
class Change:
    """What becomes of one object.

    Attributes:
        action: ``added``, ``changed`` or ``removed``.
        kind: one of the registry's ``KINDS``.
        name: its name.
        fields: the arguments that change; none for an object that is added or removed.
        storage: for a feature view, what becomes of its online table.
    """

    action: str
    kind: str
    name: str
    fields: tuple[FieldChange, ...] = ()
    storage: str = ""

    def lines(self) -> Iterator[str]:
        """The change as people read it: one line, and one more for each argument."""
        yield f"{_SIGNS[self.action]} {self.kind} {self.name}"
        for field in self.fields:
            yield f"    {field}"
        if self.storage:
            yield f"    ({self.storage})"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        fields = [{"field": item.field, "old": item.old, "new": item.new} for item in self.fields]
        return {
            "action": self.action,
            "kind": self.kind,
            "name": self.name,
            "fields": fields,
            "storage": self.storage,
        }


def is_same(old: Entry, new: Entry) -> bool:
    """Whether two entries mean the same, their place in a file aside."""
    if old is new or {**old.spec, "location": ""} == {**new.spec, "location": ""}:
        return True
    return value_text(old.spec) == value_text(new.spec)


def find_changes(old: Snapshot, new: Snapshot, storage_words: Mapping[str, str]) -> tuple[Change, ...]:
    """What differs, in the order of kinds and then of names.

    Args:
        old: the snapshot as it is.
        new: the snapshot as it will be.
        storage_words: by view, what becomes of its online table.
    """
    changes = []
    for kind, name in old.by_key.keys() | new.by_key.keys():
        before, after = old.by_key.get((kind, name)), new.by_key.get((kind, name))
        words = storage_words.get(name, "") if kind == "feature view" else ""
        if before is None:
            changes.append(Change(ADDED, kind, name, storage=words))
        elif after is None:
            changes.append(Change(REMOVED, kind, name))
        elif before is not after:
            fields = tuple(_field_changes(before.spec, after.spec))
            if fields or words:
                changes.append(Change(CHANGED, kind, name, fields, words))
    return tuple(sorted(changes, key=lambda change: (KINDS.index(change.kind), change.name)))


def _field_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldChange]:
    before, after = dict(_flat(old)), dict(_flat(new))
    order = "schema order"
    if sorted(before.get(order, ())) != sorted(after.get(order, ())):
        # Fields came or went, each with a line of its own; that the order is another one says nothing more.
        before.pop(order, None)
        after.pop(order, None)
    for name in [*before, *(name for name in after if name not in before)]:
        if before.get(name) != after.get(name):
            yield FieldChange(name, before.get(name), after.get(name))


def _flat(spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The arguments under names that people know; a schema's fields and tags one by one."""
    for name, value in spec.items():
        if name == "location":
            continue
        if name == "ttl_us":
            yield "ttl", format_duration(timedelta(microseconds=value))
        elif name in ("tags", "field_mapping"):
            yield from ((f"{name}.{key}", item) for key, item in value.items())
        elif name == "function":
            yield "function", f"{value['module']}:{value['name']}"
            yield "code", value["source"] or value["digest"]
        elif name == "schema":
            yield from ((f"schema.{field['name']}", _field_value(field)) for field in value)
            yield "schema order", [field["name"] for field in value]
        elif name == "aggregations":
            yield from ((f"aggregations.{item['name']}", str(Aggregation.from_spec(item))) for item in value)
        elif name == "expectations":
            yield name, _expectations(value)
        elif name in ("inputs", "input_schema"):
            yield from ((f"{name}.{column}", dtype) for column, dtype in value)
        else:
            yield name, value


def _field_value(field: Mapping[str, Any]) -> Any:
    rest = {name: value for name, value in field.items() if name not in ("name", "dtype")}
    if "expectations" in rest:
        rest["expectations"] = _expectations(rest["expectations"])
    return {"dtype": field["dtype"], **rest} if rest else field["dtype"]


def _expectations(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [Expectation.from_spec(item).words for item in specs]


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_shown(item)}" for name, item in value.items()) + "}"
    return str(value) if value != "" else '""'
