"""Whether a table meets the expectations that a function makes of another one, by great_expectations.

That is optional and large, and is imported when something is held to such expectations. Its context is one in memory,
apart from any that the process has; nothing is kept, asked for or shown by it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tiffin.errors import BackendNotFoundError, FunctionError, InputError, TiffinError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from tiffin.definitions import ValidationReference


@dataclass(frozen=True)
class UnmetExpectation:
    """An expectation that a table does not meet, in Feast's words.

    Attributes:
        check_name: what is expected, such as ``expect_column_mean_to_be_between``.
        column_name: of which column; empty for one of the table.
        check_config: what it allows.
        observed_value: what was found; or why nothing could be.
        unexpected_count, unexpected_percent: how many values are not as expected, where values are looked at.
        missing_count, missing_percent: how many are null, where values are looked at.
    """

    check_name: str
    column_name: str
    check_config: dict[str, Any]
    observed_value: Any = None
    unexpected_count: int | None = None
    unexpected_percent: float | None = None
    missing_count: int | None = None
    missing_percent: float | None = None

    def __str__(self) -> str:
        allowed = ", ".join(f"{name}={value}" for name, value in self.check_config.items())
        found = f"{self.unexpected_count} value(s) are not"
        if self.unexpected_count is None:
            found = f"found: {self.observed_value}"
        column = f"{self.column_name}: " if self.column_name else ""
        return f"{column}{self.check_name}({allowed}), {found}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def unmet_expectations(
    table: pd.DataFrame, dataset: pd.DataFrame, reference: ValidationReference, function: Callable[[Any], Any]
) -> list[UnmetExpectation]:
    """The expectations that a function makes of a dataset and a table does not meet.

    Args:
        table: the table.
        dataset: what the function gets, as a ``PandasDataset``.
        reference: whose function it is, for messages.
        function: gives an ``ExpectationSuite``.

    Raises:
        FunctionError: it fails, or gives something else.
        BackendNotFoundError: great_expectations is not installed, or too old.
    """
    great = great_expectations()
    from tiffin.transforms.pandas_dataset import PandasDataset

    with _own_context():
        try:
            suite = function(PandasDataset(dataset))
        except TiffinError:
            raise
        except Exception as error:
            raise _failed(reference, f"fails: {type(error).__name__}: {error}") from error
        if not isinstance(suite, great.ExpectationSuite):
            raise _failed(reference, f"gives a {type(suite).__name__}, where an ExpectationSuite is expected")
        results = validated(table, suite).results
    return [_unmet(result) for result in results if not result.success]


def validated(table: pd.DataFrame, expected: Any) -> Any:
    """What great_expectations finds when it holds a table to an expectation, or to a suite."""
    with _own_context() as context:
        return context.data_sources.pandas_default.read_dataframe(table).validate(expected)


def expectation(name: str, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
    """An expectation by the name of its method, ``expect_column_mean_to_be_between``, and that method's arguments.

    Raises:
        InputError: there is none of that name, or it has other arguments.
    """
    known = {each.lower(): each for each in dir(great_expectations().expectations) if each.startswith("Expect")}
    found = known.get(name.replace("_", ""))
    if found is None:
        raise InputError(f"great_expectations has no {name}", hint=nearest(name.replace("_", ""), list(known)))
    kind = getattr(great_expectations().expectations, found)
    order = getattr(kind, "args_keys", None) or ("column", *kind.success_keys)
    if len(arguments) > len(order) or not named.keys().isdisjoint(order[: len(arguments)]):
        raise InputError(f"{name} gets too many arguments", hint=f"it takes {', '.join(order)}")
    # How much a result tells changes nothing of what is expected.
    told = {"include_config", "result_format", "catch_exceptions"}
    given = dict(zip(order, arguments, strict=False)) | {n: v for n, v in named.items() if n not in told}
    plain = {key: value.item() if hasattr(value, "item") else value for key, value in given.items()}
    try:
        return kind(**plain)
    except ValueError as error:
        raise InputError(f"{name}({', '.join(plain)}): {error}", hint=f"it takes {', '.join(order)}") from error


@cache
def great_expectations() -> ModuleType:
    """The package.

    Raises:
        BackendNotFoundError: it is not installed, or older than 1.0.
    """
    hint = "pip install 'tiffin[ge]'; or give the reference a TableProfiler, which needs nothing"
    try:
        # It imports all that it works with and that is installed, which warns of all kinds of things.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import great_expectations
            import great_expectations.expectations
    except ImportError as error:
        raise BackendNotFoundError(f"great_expectations cannot be imported: {error}", hint=hint) from error
    if not hasattr(great_expectations.expectations, "ExpectColumnMeanToBeBetween"):
        raise BackendNotFoundError(f"great_expectations {great_expectations.__version__} is too old", hint=hint)
    found: ModuleType = great_expectations
    return found


@contextmanager
def _own_context() -> Iterator[Any]:
    """Within, great_expectations works in a context of ours; afterwards in that in which it did before."""
    from great_expectations.data_context.data_context.context_factory import project_manager
    from great_expectations.exceptions import DataContextError

    try:
        before = project_manager.get_current_project()
    except DataContextError:
        before = None
    project_manager.set_project(_context())
    try:
        yield _context()
    finally:
        project_manager.set_project(before)


@cache
def _context() -> Any:
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    config = DataContextConfig(store_backend_defaults=stores, progress_bars=ProgressBarsConfig(globally=False))
    return EphemeralDataContext(project_config=config)


def _unmet(result: Any) -> UnmetExpectation:
    config = {name: value for name, value in result.expectation_config.kwargs.items() if name != "batch_id"}
    column = config.pop("column", "")
    counts = ("unexpected_count", "unexpected_percent", "missing_count", "missing_percent")
    observed = result.result.get("observed_value")
    return UnmetExpectation(
        check_name=result.expectation_config.type,
        column_name=column,
        check_config=config,
        observed_value=observed.item() if hasattr(observed, "item") else observed if result.result else _why(result),
        **{name: result.result.get(name) for name in counts},
    )


def _why(result: Any) -> str:
    """Why an expectation could not be looked at: it tells by metric, or for all at once."""
    told = result.exception_info or {}
    parts = [told, *(part for part in told.values() if isinstance(part, dict))]
    found = (str(part["exception_message"]) for part in parts if part.get("exception_message"))
    return next(found, "nothing")


def _failed(reference: ValidationReference, problem: str) -> FunctionError:
    name = reference.function.name if reference.function is not None else ""
    return FunctionError(
        f"{reference.subject}: {name} {problem}",
        subject=reference.subject,
        location=reference.location,
        hint="it gets the reference dataset, and returns dataset.get_expectation_suite() or an ExpectationSuite",
    )
