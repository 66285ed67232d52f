"""Aggregations: features that are computed from many facts of a key, those of a window of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tiffin.definitions.base import caller
from tiffin.errors import DefinitionError, DefinitionTypeError, nearest
from tiffin.time import duration_us, format_duration

if TYPE_CHECKING:
    from tiffin.definitions.base import Definition

#: The column that stands for the facts themselves.
ALL_FACTS = "*"

#: The largest ``n``: a list of more values is no feature.
MAX_N = 10_000


@dataclass(frozen=True)
class Parameter:
    """What a parameter of a function may be.

    Attributes:
        smallest, largest: the numbers that it lies between, or is one of.
        is_whole: whether it is a whole number.
        default: what it is when left out; ``None`` where it has to be given.
    """

    smallest: int
    largest: int
    is_whole: bool = True
    default: int | None = None

    def __str__(self) -> str:
        """What may be given, as people read it."""
        return f"a {'whole ' if self.is_whole else ''}number from {self.smallest} to {self.largest:,}"

    def accepts(self, value: object) -> bool:
        """Whether a value may be given; truth values are no numbers here."""
        if isinstance(value, bool) or not isinstance(value, int if self.is_whole else int | float):
            return False
        return self.smallest <= value <= self.largest


_N = Parameter(1, MAX_N)

#: Function to its parameters. What each computes is in ``tiffin.windows``.
FUNCTIONS: Mapping[str, Mapping[str, Parameter]] = {
    "count": {},
    "sum": {},
    "mean": {},
    "min": {},
    "max": {},
    "var_samp": {},
    "var_pop": {},
    "stddev_samp": {},
    "stddev_pop": {},
    "first": {},
    "last": {},
    "first_n": {"n": _N},
    "last_n": {"n": _N},
    "count_distinct": {},
    "top_k": {"n": _N},
    "approx_count_distinct": {"precision": Parameter(4, 16, default=12)},
    "approx_percentile": {"p": Parameter(0, 1, is_whole=False), "precision": Parameter(1, 20, default=7)},
}

#: Other names of the same functions.
ALIASES: Mapping[str, str] = {
    "avg": "mean",
    "var": "var_samp",
    "variance": "var_samp",
    "std": "stddev_samp",
    "stddev": "stddev_samp",
    "std_samp": "stddev_samp",
    "std_pop": "stddev_pop",
    "nunique": "count_distinct",
}


@dataclass(frozen=True)
class Aggregation:
    """One number, or list, from the facts of a key in a window of time.

    The window at ``t`` holds the facts with ``t - time_window < event time <= t``, at any ``t``, exactly.

    Args:
        column: the column of the source, under the name that ``field_mapping`` gives it; ``"*"`` counts facts.
        function: what is computed, such as ``sum``; null values are left out.
        time_window: how far back the window goes; everything when left out.
        slide_interval: rounds the old edge down to a multiple of it since 1970; the window then needs less when it
            is served.
        name: of the feature; ``{function}_{column}_{seconds}s`` when left out.
        filter: only facts for which this expression over columns of the source is true count, such as
            ``"status = 'ok' AND amount > 10"``.
        offset: how long before ``t`` the window ends.
        params: parameters of the function.
        n: how many values ``first_n``, ``last_n`` and ``top_k`` give; the same as in ``params``.
        p: which percentile ``approx_percentile`` gives, as a part of 1: 0.5 for the median.
        precision: how exact an estimate is: ``approx_count_distinct`` has ``2**precision`` registers (4 to 16, 12 when
            left out), ``approx_percentile`` a relative error of at most ``2**-(precision + 1)`` (1 to 20, 7 when left
            out).
        location: ``file:line`` of the declaration; not part of its value.

    Raises:
        DefinitionError: with the file and line of the declaration.

    >>> Aggregation("amount", "sum", timedelta(hours=1)).resolved_name()
    'sum_amount_3600s'
    """

    column: str = ""
    function: str = ""
    time_window: timedelta | None = None
    slide_interval: timedelta | None = None
    name: str = ""
    filter: str | None = None
    offset: timedelta | None = None
    params: Mapping[str, Any] | None = None
    n: int | None = None
    p: float | None = None
    precision: int | None = None
    location: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.location:
            self._set("location", caller())
        for argument, default in (("column", ""), ("function", ""), ("name", "")):
            self._set(argument, getattr(self, argument) or default)
            self._check_type(argument, getattr(self, argument), str)
        if not self.column:
            raise self.error(f"{self.subject} has no column", hint='pass column=, or column="*" to count facts')
        self._check_function()
        self._check_params()
        self._check_times()
        if self.filter is not None:
            self._check_type("filter", self.filter, str)
            self._set("filter", self.filter.strip() or None)

    def __hash__(self) -> int:
        return hash((self.column, self.function, self.time_window, self.name))

    def __str__(self) -> str:
        """The definition as people read it."""
        params = "".join(f", {key}={value}" for key, value in (self.params or {}).items())
        words = [f"{self.function}({self.column}{params}) over {format_duration(self.time_window)}"]
        if self.slide_interval is not None:
            words.append(f"from a multiple of {format_duration(self.slide_interval)}")
        if self.offset is not None:
            words.append(f"until {format_duration(self.offset)} before")
        if self.filter is not None:
            words.append(f"where {self.filter}")
        return ", ".join(words)

    @property
    def subject(self) -> str:
        """How messages call this object."""
        return f"aggregation {self.name or f'{self.function} of {self.column}'}"

    @property
    def canonical_function(self) -> str:
        """The function under its own name: ``std`` is ``stddev_samp``."""
        return ALIASES.get(self.function, self.function)

    @property
    def window_us(self) -> int | None:
        """The length of the window in microseconds; ``None`` for everything."""
        return None if self.time_window is None else duration_us(self.time_window)

    @property
    def slide_us(self) -> int | None:
        """What the old edge is a multiple of, in microseconds; ``None`` where it is exact."""
        return None if self.slide_interval is None else duration_us(self.slide_interval)

    @property
    def offset_us(self) -> int:
        """How long before ``t`` the window ends, in microseconds."""
        return 0 if self.offset is None else duration_us(self.offset)

    def resolved_name(self, time_window: timedelta | None = None) -> str:
        """The name of the feature.

        Args:
            time_window: of another window than its own.
        """
        if self.name:
            return self.name
        base = f"{self.function}_{'all' if self.column == ALL_FACTS else self.column}"
        window = self.time_window if time_window is None else time_window
        if window is None:
            return base
        seconds, rest = divmod(duration_us(window), 1_000_000)
        return f"{base}_{duration_us(window)}us" if rest else f"{base}_{seconds}s"

    def error(self, message: str, *, hint: str = "") -> DefinitionError:
        """An error about this object, with its place in the user's file."""
        return DefinitionError(message, subject=self.subject, location=self.location, hint=hint)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data; what is not given is left out."""
        spec: dict[str, Any] = {"name": self.resolved_name(), "column": self.column, "function": self.function}
        for argument, value in (("window_us", self.window_us), ("slide_us", self.slide_us), ("filter", self.filter)):
            if value is not None:
                spec[argument] = value
        if self.offset_us:
            spec["offset_us"] = self.offset_us
        if self.params:
            spec["params"] = dict(self.params)
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], location: str = "") -> Aggregation:
        """Build it again from ``to_spec``'s data."""
        plain = cls(
            column=spec["column"],
            function=spec["function"],
            time_window=_duration(spec.get("window_us")),
            slide_interval=_duration(spec.get("slide_us")),
            filter=spec.get("filter"),
            offset=_duration(spec.get("offset_us")),
            params=spec.get("params"),
            location=location or "registry",
        )
        return plain if plain.resolved_name() == spec["name"] else replace(plain, name=spec["name"])

    def _set(self, attribute: str, value: object) -> None:
        object.__setattr__(self, attribute, value)

    def _check_type(self, argument: str, value: object, *allowed: type) -> None:
        if isinstance(value, allowed) and not isinstance(value, bool):
            return
        names = " or ".join(t.__name__ for t in allowed)
        raise DefinitionTypeError(
            f"{self.subject}: argument {argument} is {value!r} ({type(value).__name__}), where {names} is expected",
            subject=self.subject,
            location=self.location,
        )

    def _check_function(self) -> None:
        if not self.function:
            raise self.error(f"{self.subject} has no function", hint=f"functions are {', '.join(FUNCTIONS)}")
        self._set("function", self.function.lower())
        if self.canonical_function not in FUNCTIONS:
            hint = nearest(self.function, [*FUNCTIONS, *ALIASES])
            raise self.error(f"{self.subject}: there is no function {self.function!r}", hint=hint)
        if self.column == ALL_FACTS and self.canonical_function != "count":
            hint = "only count takes every fact; name a column"
            raise self.error(f"{self.subject}: {self.function} of {ALL_FACTS!r} has no meaning", hint=hint)

    def _check_params(self) -> None:
        """Gather the parameters in ``params``, exactly those that the function has; defaults are written out.

        So they are part of the definition, and another default some day changes no view that there is (DEF-4).
        """
        given: Any = {} if self.params is None else self.params
        self._check_type("params", given, Mapping)
        params = dict(given)
        for key in ("n", "p", "precision"):
            value = getattr(self, key)
            if value is None:
                continue
            if key in params and params[key] != value:
                raise self.error(f"{self.subject}: {key} is {value!r} and, in params, {params[key]!r}")
            params[key] = value
        wanted = FUNCTIONS[self.canonical_function]
        for key in params:
            if key not in wanted:
                hint = f"it takes {', '.join(wanted)}" if wanted else "it takes no parameters"
                raise self.error(f"{self.subject}: {self.function} has no parameter {key!r}", hint=hint)
        for key, parameter in wanted.items():
            value = params.get(key)
            value = parameter.default if value is None else value
            if value is None or not parameter.accepts(value):
                found = "is missing" if value is None else f"is {value!r}"
                raise self.error(f"{self.subject}: parameter {key} {found}", hint=f"pass {key}=, {parameter}")
            params[key] = value if parameter.is_whole else float(value)
        self._set("params", params)
        for key in ("n", "p", "precision"):
            self._set(key, params.get(key))

    def _check_times(self) -> None:
        for argument in ("time_window", "slide_interval", "offset"):
            value = getattr(self, argument)
            if value is None:
                continue
            self._check_type(argument, value, timedelta)
            if duration_us(value) < 0 or (not value and argument == "time_window"):
                what = "negative" if value else "zero"
                hint = "leave it out for all facts" if argument == "time_window" else "pass a duration that is not"
                raise self.error(f"{self.subject} has {argument} {format_duration(value)}, which is {what}", hint=hint)
        self._set("slide_interval", self.slide_interval or None)
        self._set("offset", self.offset or None)
        if self.slide_interval is None:
            return
        if self.time_window is None:
            hint = "leave slide_interval out, or pass time_window="
            raise self.error(f"{self.subject} has a slide_interval and no time_window", hint=hint)
        if self.time_window < self.slide_interval:
            raise self.error(
                f"{self.subject}: the time_window {format_duration(self.time_window)} is shorter than the "
                f"slide_interval {format_duration(self.slide_interval)}",
                hint="a window is at least as long as what its edge is rounded to",
            )


def check_aggregations(owner: Definition, value: object) -> tuple[Aggregation, ...]:
    """The aggregations of a view, checked: distinct names, none of them a join key's."""
    owner.check_type("aggregations", value, list, tuple)
    assert isinstance(value, list | tuple)
    seen: dict[str, Aggregation] = {}
    for index, item in enumerate(value):
        owner.check_type(f"aggregations[{index}]", item, Aggregation)
        name = item.resolved_name()
        if name in seen:
            hint = f"pass name= to the one at {item.location}"
            raise owner.error(f"{owner.subject} has two aggregations called {name!r}", hint=hint)
        seen[name] = item
    return tuple(value)


def _duration(us: int | None) -> timedelta | None:
    return None if us is None else timedelta(microseconds=us)
