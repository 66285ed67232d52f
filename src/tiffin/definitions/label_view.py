"""Label views: facts that people give, such as whether a payment was fraud."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tiffin.definitions.base import Definition
from tiffin.definitions.entity import Entity
from tiffin.definitions.feature_view import FeatureView
from tiffin.definitions.sources import DataSource
from tiffin.errors import DefinitionTypeError
from tiffin.types import KEY_TYPES, Float32, Float64, String

_FLOATS = (Float32, Float64)


class ConflictPolicy(enum.Enum):
    """Which label counts when several people labelled one thing; of each one, only the newest label does.

    ``LAST_WRITE_WINS``: the newest of all. ``LABELER_PRIORITY``: that of the first in ``labeler_priorities`` who gave
    one; people who are not listed come last, the newest label first. ``MAJORITY_VOTE``: for each feature the value that
    most people give, and of several such the newest.
    """

    LAST_WRITE_WINS = "last_write_wins"
    LABELER_PRIORITY = "labeler_priority"
    MAJORITY_VOTE = "majority_vote"


@dataclass(frozen=True, kw_only=True)
class LabelView(FeatureView):
    """Labels of one or several entities; read like any feature view.

    Args:
        labeler_field: the field that says who gave the label.
        conflict_policy: which label counts. Another one than ``LAST_WRITE_WINS`` is for training sets: an online store
            keeps the newest fact of an entity, so that such labels are not served, and ``online`` becomes false.
        labeler_priorities: for ``LABELER_PRIORITY``, whose label goes before whose, first the one who goes before all.
        reference_feature_view: as in Feast.

    Raises:
        DefinitionError: the schema lacks ``labeler_field``, or the policy lacks its priorities.
        DefinitionTypeError: an argument is of the wrong type, or a feature cannot be voted for.
    """

    labeler_field: str = "labeler"
    conflict_policy: ConflictPolicy = ConflictPolicy.LAST_WRITE_WINS
    labeler_priorities: Sequence[str] | None = None
    reference_feature_view: str | None = None

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_type("conflict_policy", self.conflict_policy, ConflictPolicy)
        self._check_priorities()
        if self.aggregations:
            hint = "declare a FeatureView over the source of the labels"
            raise self.error(f"{self.subject} has aggregations, which labels cannot have", hint=hint)
        if self.is_resolved:
            self._set("online", False)
        if self.schema is not None and self.labeler_field not in self.feature_names:
            hint = f"add Field(name={self.labeler_field!r}, dtype=String)"
            raise self.error(f"{self.subject}: its schema has no labeler_field {self.labeler_field!r}", hint=hint)
        if self.is_resolved:
            self._check_types()

    @property
    def is_resolved(self) -> bool:
        """Whether something else than the newest fact may count."""
        return self.conflict_policy is not ConflictPolicy.LAST_WRITE_WINS

    def _check_priorities(self) -> None:
        wanted = self.conflict_policy is ConflictPolicy.LABELER_PRIORITY
        if self.labeler_priorities is not None:
            self.check_type("labeler_priorities", self.labeler_priorities, list, tuple)
            for name in self.labeler_priorities:
                self.check_type("labeler_priorities", name, str)
            self._set("labeler_priorities", tuple(self.labeler_priorities))
        if bool(self.labeler_priorities) != wanted:
            what = "has no labeler_priorities" if wanted else "has labeler_priorities without their policy"
            hint = 'conflict_policy=ConflictPolicy.LABELER_PRIORITY goes with labeler_priorities=["first", "second"]'
            raise self.error(f"{self.subject} {what}", hint=hint)

    def _check_types(self) -> None:
        for item in self.features:
            is_labeler = item.name == self.labeler_field
            if is_labeler and item.dtype is not String:
                what = f"the labeler_field {item.name!r} is declared as {item.dtype!r}; it must be String"
            elif self.conflict_policy is ConflictPolicy.MAJORITY_VOTE and item.dtype not in (*KEY_TYPES, *_FLOATS):
                what = f"{item.name!r} is declared as {item.dtype!r}, of which no majority can be found"
            else:
                continue
            raise DefinitionTypeError(f"{self.subject}: {what}", subject=self.subject, location=self.location)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        spec = super().to_spec() | {"labeler_field": self.labeler_field}
        if self.is_resolved:
            spec["conflict_policy"] = self.conflict_policy.value
        if self.labeler_priorities:
            spec["labeler_priorities"] = list(self.labeler_priorities)
        if self.reference_feature_view is not None:
            spec["reference_feature_view"] = self.reference_feature_view
        return spec

    @classmethod
    def from_spec(
        cls, spec: dict[str, Any], sources: Mapping[str, DataSource], entities: Mapping[str, Entity]
    ) -> FeatureView:
        """Build it again from ``to_spec``'s data and the objects that it names."""
        policy = ConflictPolicy(spec.get("conflict_policy", ConflictPolicy.LAST_WRITE_WINS.value))
        return super().from_spec(spec | {"conflict_policy": policy}, sources, entities)
