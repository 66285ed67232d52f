"""Validation references: a saved dataset that later training sets have to be like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from tiffin.compat.gaps import DATASET
from tiffin.definitions.base import Definition
from tiffin.definitions.function import FunctionCode
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


@dataclass(frozen=True)
class GEProfiler:
    """A function that says what to expect of later tables, from the reference dataset, in terms of great_expectations.

    The registry has its path and hash; it is run whenever a table is validated. ``ge_profiler`` makes one.

    Attributes:
        user_defined_profiler: the function, by path and hash. It gets the dataset as a pandas frame that has
            great_expectations' methods ``expect_...`` besides, and returns an ``ExpectationSuite``.
        with_feature_metadata: accepted for compatibility: training sets have none.
    """

    user_defined_profiler: FunctionCode | Callable[[Any], Any]
    with_feature_metadata: bool = False

    def __post_init__(self) -> None:
        given: Any = self.user_defined_profiler
        if isinstance(given, FunctionCode):
            return
        if not callable(given) or not hasattr(given, "__code__"):
            hint = "decorate a function: @ge_profiler def profile(dataset): ..."
            raise DefinitionError(f"GEProfiler: {given!r} is no function", hint=hint)
        object.__setattr__(self, "user_defined_profiler", FunctionCode.of(given))

    @property
    def function(self) -> FunctionCode:
        """The function as the registry knows it."""
        assert isinstance(self.user_defined_profiler, FunctionCode)
        return self.user_defined_profiler

    @property
    def udf(self) -> Callable[..., Any] | None:
        """The function, when it was defined in this process."""
        return self.function.known

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"function": self.function.to_spec(), "with_feature_metadata": self.with_feature_metadata}


def ge_profiler(function: Any = None, *, with_feature_metadata: bool = False) -> Any:
    """Decorate a function to make a ``GEProfiler`` of it; with or without arguments."""
    if function is None:
        return lambda each: GEProfiler(each, with_feature_metadata)
    return GEProfiler(function, with_feature_metadata)


def _profiler_from_spec(spec: Mapping[str, Any]) -> TableProfiler | GEProfiler:
    if "function" in spec:
        return GEProfiler(FunctionCode(**spec["function"]), spec["with_feature_metadata"])
    return TableProfiler(**spec)


@dataclass(frozen=True, kw_only=True)
class ValidationReference(Definition):
    """What training sets have to be like.

    Attributes:
        dataset_name: the saved dataset.
        profiler: how much may differ, or a function that says what to expect.
        dataset: the dataset itself, ready to be read; ``store.get_validation_reference`` brings it along.
    """

    kind: ClassVar[str] = "validation reference"
    _gaps: ClassVar[Mapping[str, str]] = DATASET

    dataset_name: str
    profiler: TableProfiler | GEProfiler = field(default_factory=TableProfiler)
    dataset: SavedDataset | None = field(default=None, compare=False, repr=False)

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_type("dataset_name", self.dataset_name, str)
        self.check_type("profiler", self.profiler, TableProfiler, GEProfiler)

    @classmethod
    def from_saved_dataset(
        cls, name: str, dataset: SavedDataset, profiler: TableProfiler | GEProfiler | None = None
    ) -> ValidationReference:
        """The reference that a dataset is."""
        return cls(name=name, dataset_name=dataset.name, profiler=profiler or TableProfiler(), dataset=dataset)

    @property
    def function(self) -> FunctionCode | None:
        """The function that says what to expect, where there is one."""
        return self.profiler.function if isinstance(self.profiler, GEProfiler) else None

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
        return cls(dataset_name=plain.pop("dataset"), profiler=_profiler_from_spec(plain.pop("profiler")), **plain)
