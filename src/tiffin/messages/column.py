"""The columns that are wanted of messages, and the tree of fields that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tiffin.errors import RequestError
from tiffin.types import FeatureType

#: Names of what stands around a message; no field of a message is called so.
KEY, TIMESTAMP, HEADER = "@key", "@timestamp", "@header."

#: A field's type, or the fields below it.
Tree = Mapping[str, "MessageColumn | Tree"]


@dataclass(frozen=True)
class MessageColumn:
    """A column that is read from every message.

    Attributes:
        path: the field, those that it is in before it, with dots between; or a name that begins with ``@``.
        dtype: its type.
        is_time: it is the event time or the created time.
        is_required: a message without it cannot be used.
        is_key: it is a join key, for which ``"1"`` stands for 1 (TYP-3).
    """

    path: str
    dtype: FeatureType
    is_time: bool = False
    is_required: bool = False
    is_key: bool = False

    @property
    def is_outside(self) -> bool:
        """Whether it stands around the message instead of in it."""
        return self.path.startswith("@")


def field_tree(columns: Sequence[MessageColumn]) -> Tree:
    """The columns that are fields, as the tree of their paths.

    Raises:
        RequestError: a path leads through a field that is wanted as a whole.
    """
    tree: dict[str, MessageColumn | Tree] = {}
    for column in columns:
        if column.is_outside:
            continue
        here = tree
        *way, last = column.path.split(".")
        for name in way:
            below = here.setdefault(name, {})
            if isinstance(below, MessageColumn):
                raise _twice(column.path, below.path)
            assert isinstance(below, dict)
            here = below
        there = here.setdefault(last, column)
        if there is not column:
            raise _twice(column.path, f"{column.path}.{next(iter(there))}" if isinstance(there, dict) else last)
    return tree


def has_required(tree: Tree) -> bool:
    """Whether a tree has a column that no message may lack."""
    return any(
        below.is_required if isinstance(below, MessageColumn) else has_required(below) for below in tree.values()
    )


def _twice(one: str, other: str) -> RequestError:
    return RequestError(
        f"of a message both {one!r} and {other!r} are wanted, one of which is a part of the other",
        hint="read the parts that are wanted, each under its path",
    )
