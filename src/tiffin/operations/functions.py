"""Find the function of a view: in this process, or by importing the file that the registry names (DEF-6).

Nothing from the registry is run. The module is that of the feature repository or of an installed package, and its
function is taken only when its source has the hash that was applied.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tiffin.definitions import (
    BaseFeatureView,
    FunctionCode,
    OnDemandFeatureView,
    TransformedFeatureView,
    ValidationReference,
)
from tiffin.errors import FunctionError, TiffinError
from tiffin.operations.repository import import_file

if TYPE_CHECKING:
    from tiffin.operations.context import Context


#: Definitions that have a function.
WithFunction = OnDemandFeatureView | TransformedFeatureView | ValidationReference


def find_row_functions(ctx: Context, views: Iterable[BaseFeatureView]) -> None:
    """Find the functions that the rows of some views go through; from then on ``view.function.known`` has them.

    Raises:
        FunctionError: one is not found, or it is another one than was applied; says what to do.
    """
    for view in views:
        if isinstance(view, TransformedFeatureView) and view.function is not None:
            find_function(ctx, view)


def find_function(ctx: Context, view: WithFunction) -> Callable[..., Any]:
    """The function of a view, or of a validation reference.

    Raises:
        FunctionError: it is not found, or it is another one than was applied; says what to do.
    """
    code = view.function
    assert code is not None
    if code.known is not None:
        return code.known
    if code.module == "__main__" or "<" in code.name:
        raise _error(
            view,
            f"{code.name} was defined in a script or notebook, which this process cannot import",
            "move it into a file of the feature repository and run `tiffin apply`",
        )
    module = _import(ctx, view, code)
    found: Any = module
    for name in code.name.split("."):
        found = getattr(found, name, None)
    found = getattr(found, "udf", found)
    if found is None:
        hint = "run `tiffin apply`, or bring the file to the version that was applied"
        raise _error(view, f"module {code.module} has no {code.name}", hint)
    if not callable(found) or FunctionCode.of(found).digest != code.digest:
        hint = "run `tiffin apply` to use this one, or bring the file to the version that was applied"
        raise _error(view, f"{code.module}.{code.name} is another function than was applied", hint)
    function: Callable[..., Any] = found
    code.remember(function)
    return function


def _import(ctx: Context, view: WithFunction, code: FunctionCode) -> Any:
    """The module of a function: a file of the feature repository first, else an installed package."""
    file = ctx.config.repo_path.joinpath(*code.module.split(".")).with_suffix(".py")
    try:
        if file.is_file():
            return import_file(file, ctx.config.repo_path)
        if _is_installed(code.module):
            return importlib.import_module(code.module)
    except TiffinError:
        raise
    except Exception as error:
        raise _error(view, f"module {code.module} cannot be imported: {error}", "correct the module") from error
    hint = f"put {code.module.replace('.', '/')}.py into {ctx.config.repo_path}, or install the package that has it"
    raise _error(view, f"module {code.module} is not found", hint)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _error(view: WithFunction, message: str, hint: str) -> FunctionError:
    return FunctionError(f"{view.subject}: {message}", subject=view.subject, location=view.location, hint=hint)
