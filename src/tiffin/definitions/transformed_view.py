"""Views whose rows go through a function of the user's before they are kept or aggregated.

The function is named like that of an on-demand view, by its place and the hash of its source (DEF-6). SQL is kept as
text: it is an expression over one row, checked before each use, and can reach nothing but the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tiffin.definitions.base import Definition
from tiffin.definitions.entity import Entity
from tiffin.definitions.feature_view import FeatureView
from tiffin.definitions.field import Field, check_fields
from tiffin.definitions.function import FunctionCode, parameters
from tiffin.definitions.sources import DataSource
from tiffin.errors import UnsupportedError, nearest

#: The languages of a function.
ROW_MODES = ("python", "pandas", "polars", "sql")

#: Those that Feast has and tiffin does not.
_FOREIGN_MODES = ("spark", "spark_sql", "ray", "flink", "trino_sql", "substrait")

#: What a query calls the rows.
ROWS = "source"


@dataclass(frozen=True, kw_only=True)
class TransformedFeatureView(FeatureView):
    """What ``BatchFeatureView`` and ``StreamFeatureView`` share: their rows may go through a function.

    Args:
        mode: ``python`` (a dict of lists in and out), ``pandas`` or ``polars`` (a frame in and out), or ``sql``.
        udf: the function. With ``mode="sql"``, the query, or a function that is called once with the name of the
            rows and returns it.
        udf_string: with ``mode="sql"`` and without ``udf``, the query; else accepted for compatibility.
        feature_transformation: an object with ``udf`` and ``mode``, in their place.
        singleton: with ``mode="python"``, the function takes a dict of values and returns one, or ``None`` to leave
            the row out.
        input_schema: the columns of the source that the function gets, besides the join keys and the times; all of
            them when left out.
        function, sql: what of it the registry keeps.

    Raises:
        DefinitionError: with the file and line of the declaration.
        UnsupportedError: the mode is one of Feast's that tiffin does not have.
    """

    mode: str | None = "python"
    udf: Any = field(default=None, compare=False, repr=False)
    udf_string: str | None = field(default="", compare=False, repr=False)
    feature_transformation: Any = field(default=None, compare=False, repr=False)
    singleton: bool = False
    input_schema: Sequence[Field] | None = None
    function: FunctionCode | None = None
    sql: str = ""

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_type("singleton", self.singleton, bool)
        self._take_transformation()
        if self.input_schema is not None:
            self._set("input_schema", check_fields(self, "input_schema", self.input_schema))
        query = self.udf_string if self.mode == "sql" else ""
        if self.udf is None and self.function is None and not self.sql and not query:
            self._check_unused()
            return
        self._check_row_mode()
        if self.mode == "sql":
            self._set("sql", self._query())
        elif self.udf is not None:
            self._set("function", self._checked_function())

    @property
    def transforms_rows(self) -> bool:
        """Whether rows go through a function."""
        return self.function is not None or bool(self.sql)

    @property
    def function_name(self) -> str:
        """Where the function is, or the query, for people; empty when there is none."""
        return f"{self.function.module}:{self.function.name}" if self.function is not None else self.sql

    def _take_transformation(self) -> None:
        """Take the function of an object that holds it."""
        given = self.feature_transformation
        if given is None:
            return
        if self.udf is None:
            self._set("udf", getattr(given, "udf", None))
        if self.udf is None:
            hint = "pass udf=, the function itself"
            raise self.error(f"{self.subject}: feature_transformation is {given!r}, which has no function", hint=hint)
        mode = getattr(given, "mode", None)
        self._set("mode", getattr(mode, "value", mode) or self.mode)
        self._set("singleton", bool(getattr(given, "singleton", self.singleton)))
        self._set("feature_transformation", None)

    def _check_unused(self) -> None:
        for argument in ("singleton", "input_schema"):
            if getattr(self, argument):
                raise self.error(f"{self.subject} has {argument} and no function", hint="pass udf=, or leave it out")
        if self.udf_string:
            hint = 'pass udf=, the function itself; text is only run as a query, with mode="sql"'
            raise self.error(f"{self.subject} has a udf_string and no function", hint=hint)

    def _check_row_mode(self) -> None:
        if self.mode in _FOREIGN_MODES:
            raise UnsupportedError(
                f"{self.subject}: a function with mode {self.mode!r} is not supported yet",
                subject=self.subject,
                location=self.location,
                hint=f"modes are {', '.join(ROW_MODES)}",
            )
        if self.mode not in ROW_MODES:
            raise self.error(f"{self.subject} has mode {self.mode!r}", hint=nearest(str(self.mode), ROW_MODES))
        if self.singleton and self.mode != "python":
            hint = 'pass mode="python"'
            raise self.error(f"{self.subject}: singleton goes with mode python, not {self.mode}", hint=hint)

    def _query(self) -> str:
        """The query of ``mode="sql"``."""
        given = self.sql if self.udf is None else self.udf
        if callable(given):
            given = given(ROWS)
        given = given or self.udf_string
        if not isinstance(given, str) or not given.strip():
            hint = f'pass udf="SELECT *, a + b AS c FROM {ROWS}", or a function that returns such a text'
            raise self.error(f"{self.subject}: its query is {given!r}, not a text", hint=hint)
        return given.strip().rstrip(";").rstrip()

    def _checked_function(self) -> FunctionCode:
        function = self.udf
        if not callable(function) or not hasattr(function, "__code__"):
            raise self.error(f"{self.subject}: udf is {function!r}, not a function")
        if len(parameters(function)) != 1:
            hint = "it takes the rows and nothing else"
            raise self.error(f"{self.subject}: the function {function.__name__} has other parameters", hint=hint)
        return FunctionCode.of(function)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        spec = super().to_spec()
        if self.function is not None:
            spec["function"] = self.function.to_spec()
        if self.sql:
            spec["sql"] = self.sql
        if self.singleton:
            spec["singleton"] = True
        if self.input_schema is not None:
            spec["input_schema"] = [[item.name, repr(item.dtype)] for item in self.input_schema]
        return spec

    @classmethod
    def from_spec(
        cls, spec: dict[str, Any], sources: Mapping[str, DataSource], entities: Mapping[str, Entity]
    ) -> FeatureView:
        """Build it again from ``to_spec``'s data and the objects that it names."""
        spec = dict(spec)
        location = spec.get("location", "")
        if "function" in spec:
            spec["function"] = FunctionCode(**spec["function"])
        if "input_schema" in spec:
            given = spec["input_schema"]
            spec["input_schema"] = [Field.from_spec({"name": n, "dtype": d}, location) for n, d in given]
        return super().from_spec(spec, sources, entities)
