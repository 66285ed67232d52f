"""Validation references: a saved dataset that later training sets have to be like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from tiffin.definitions.base import Definition
from tiffin.definitions.saved_dataset import SavedDataset
from tiffin.errors import DefinitionError


@dataclass(frozen=True)
class TableProfiler:
    """How much a table may differ from the reference, column by column.

    Attributes:
        null_share: by how much the share of nulls may be larger.
        mean: by how many of the reference's standard deviations a mean may be off.
        range: by which part of the reference's range a value may lie outside of it.
        new_values: which share of the rows may have a text that the reference does not have; looked at where the
            reference has at most 1,000 different ones.
    """

    null_share: float = 0.05
    mean: float = 0.5
    range: float = 0.1
    new_values: float = 0.05

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
                raise DefinitionError(f"TableProfiler: {name} is {value!r}", hint="pass a number that is not negative")

    def to_spec(self) -> dict[str, float]:
        """JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ValidationReference(Definition):
    """What training sets have to be like.

    Attributes:
        dataset_name: the saved dataset.
        profiler: how much may differ.
        dataset: the dataset itself, ready to be read; ``store.get_validation_reference`` brings it along.
    """

    kind: ClassVar[str] = "validation reference"

    dataset_name: str
    profiler: TableProfiler = field(default_factory=TableProfiler)
    dataset: SavedDataset | None = field(default=None, compare=False, repr=False)

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_type("dataset_name", self.dataset_name, str)
        self.check_type("profiler", self.profiler, TableProfiler)

    @classmethod
    def from_saved_dataset(
        cls, name: str, dataset: SavedDataset, profiler: TableProfiler | None = None
    ) -> ValidationReference:
        """The reference that a dataset is."""
        return cls(name=name, dataset_name=dataset.name, profiler=profiler or TableProfiler(), dataset=dataset)

    def with_dataset(self, dataset: SavedDataset) -> ValidationReference:
        """The same reference with its dataset, ready to be read."""
        return replace(self, dataset=dataset)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data; the dataset is named."""
        return self._common_spec() | {"dataset": self.dataset_name, "profiler": self.profiler.to_spec()}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> ValidationReference:
        """Build it again from ``to_spec``'s data."""
        plain = dict(spec)
        return cls(dataset_name=plain.pop("dataset"), profiler=TableProfiler(**plain.pop("profiler")), **plain)
