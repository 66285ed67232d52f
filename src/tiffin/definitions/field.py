"""Fields: a named, typed column of a view or of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tiffin.definitions.base import Definition
from tiffin.definitions.expectation import Expectation, check_expectations
from tiffin.errors import DefinitionTypeError
from tiffin.types import Array, FeatureType, PrimitiveType, Set, Struct, ValueType, from_value_type, parse_type


@dataclass(frozen=True, kw_only=True)
class Field(Definition):
    """A named, typed column.

    Args:
        dtype: a type of ``tiffin.types``; a ``ValueType`` is accepted for old repositories.
        default_value: takes the place of null, offline and online alike (ONL-5).
        vector_index: whether similarity search is wanted over it.
        vector_length: how many numbers an embedding has.
        vector_search_metric: how two embeddings are compared.
        expectations: what has to be true of its values before they are served, such as ``Expectation.not_null()``.

    >>> Field(name="trips", dtype=PrimitiveType.INT64).dtype
    Int64
    """

    kind: ClassVar[str] = "field"

    dtype: FeatureType
    default_value: Any = None
    vector_index: bool = False
    vector_length: int = 0
    vector_search_metric: str | None = None
    expectations: Sequence[Expectation] = ()

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.dtype, ValueType):
            self._set("dtype", from_value_type(self.dtype))
        if not isinstance(self.dtype, PrimitiveType | Array | Set | Struct) or self.dtype is PrimitiveType.INVALID:
            raise DefinitionTypeError(
                f"{self.subject}: dtype is {self.dtype!r}, which is not a type",
                subject=self.subject,
                location=self.location,
                hint="use a type of tiffin.types, such as Int64 or Array(String)",
            )
        self.check_type("vector_index", self.vector_index, bool)
        self.check_type("vector_length", self.vector_length, int)
        self._set("expectations", check_expectations(self.expectations or (), self.error, column=self.name))

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        spec = self._common_spec() | {"dtype": repr(self.dtype)}
        spec.pop("location", None)
        if self.default_value is not None:
            spec["default_value"] = self.default_value
        if self.vector_index or self.vector_length or self.vector_search_metric:
            spec["vector"] = [self.vector_index, self.vector_length, self.vector_search_metric]
        if self.expectations:
            spec["expectations"] = [item.to_spec() for item in self.expectations]
        return spec

    @classmethod
    def from_spec(cls, spec: dict[str, Any], location: str = "") -> Field:
        """Build it again from ``to_spec``'s data; ``location`` is that of the object it belongs to."""
        spec = dict(spec)
        index, length, metric = spec.pop("vector", (False, 0, None))
        return cls(
            dtype=parse_type(spec.pop("dtype")),
            vector_index=index,
            vector_length=length,
            vector_search_metric=metric,
            expectations=[Expectation.from_spec(item, location) for item in spec.pop("expectations", ())],
            location=location or "registry",
            **spec,
        )


def check_fields(owner: Definition, argument: str, value: object) -> tuple[Field, ...]:
    """The fields of a schema, checked: a list of ``Field`` objects with distinct names."""
    owner.check_type(argument, value, list, tuple)
    assert isinstance(value, list | tuple)
    seen: set[str] = set()
    for index, item in enumerate(value):
        owner.check_type(f"{argument}[{index}]", item, Field)
        if item.name in seen:
            raise owner.error(f"{owner.subject} declares the field {item.name!r} twice")
        seen.add(item.name)
    return tuple(value)
