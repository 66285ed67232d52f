"""Label views: facts that people give, such as whether a payment was fraud."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from tiffin.definitions.base import Definition
from tiffin.definitions.feature_view import FeatureView


class ConflictPolicy(enum.Enum):
    """Which label counts when several people labelled one thing."""

    LAST_WRITE_WINS = "last_write_wins"
    LABELER_PRIORITY = "labeler_priority"
    MAJORITY_VOTE = "majority_vote"


@dataclass(frozen=True, kw_only=True)
class LabelView(FeatureView):
    """Labels of one or several entities; read like any feature view.

    Args:
        labeler_field: the field that says who gave the label.
        conflict_policy: which label counts; only ``LAST_WRITE_WINS``, which is the order of all facts.
        reference_feature_view: as in Feast.

    Raises:
        UnsupportedError: another conflict policy.
    """

    labeler_field: str = "labeler"
    conflict_policy: ConflictPolicy = ConflictPolicy.LAST_WRITE_WINS
    reference_feature_view: str | None = None

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_type("conflict_policy", self.conflict_policy, ConflictPolicy)
        if self.conflict_policy is not ConflictPolicy.LAST_WRITE_WINS:
            self.refuse(f"conflict_policy={self.conflict_policy.name}", self.conflict_policy)
        if self.schema is not None and self.labeler_field not in self.feature_names:
            hint = f"add Field(name={self.labeler_field!r}, dtype=String)"
            raise self.error(f"{self.subject}: its schema has no labeler_field {self.labeler_field!r}", hint=hint)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        spec = super().to_spec() | {"labeler_field": self.labeler_field}
        if self.reference_feature_view is not None:
            spec["reference_feature_view"] = self.reference_feature_view
        return spec
