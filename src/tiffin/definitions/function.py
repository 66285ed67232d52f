"""A user's function as the registry keeps it: where it is found and what its source says, never run from it (DEF-6)."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CellType, CodeType
from typing import Any

#: Functions of this process, by what the registry knows of them: those work at once, wherever they were written.
_KNOWN: dict[FunctionCode, Callable[..., Any]] = {}

#: Calls that read the clock, by the last two words of how they are written.
_CLOCKS = {
    *(f"{owner}.{name}" for owner in ("datetime", "date", "Timestamp") for name in ("now", "utcnow", "today")),
    *(f"time.{name}" for name in ("time", "time_ns", "gmtime", "localtime")),
}


@dataclass(frozen=True)
class FunctionCode:
    """Where a function is found, and the hash by which it is recognized.

    Attributes:
        module: the module that has it; for a file of a feature repository its path within, with dots.
        name: its qualified name in the module.
        digest: the hash of its source without decorators, comments and layout, and of what it captures.
        source: that source, for people; empty where there is none, as at a prompt.
    """

    module: str
    name: str
    digest: str
    source: str = field(default="", compare=False, repr=False)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> FunctionCode:
        """Describe a function, and remember it for ``known``."""
        source = _source(function)
        content = source
        if not source or function.__name__ == "<lambda>":
            # Several of them may stand in one line, and a line is all that can be had of their source.
            content = repr(_code_parts(function.__code__))
        content += repr([_captured(cell) for cell in function.__closure__ or ()])
        digest = hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
        code = cls(function.__module__ or "", function.__qualname__, digest, source)
        code.remember(function)
        return code

    @property
    def known(self) -> Callable[..., Any] | None:
        """The function, when it was defined in this process."""
        return _KNOWN.get(self)

    def remember(self, function: Callable[..., Any]) -> None:
        """Keep a function that was found to be this one, for ``known``."""
        _KNOWN[self] = function

    @property
    def clock_call(self) -> str:
        """The first call in it that reads the machine's clock, as it is written; empty when there is none."""
        tree = ast.parse(self.source) if self.source else ast.Module([], [])
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                written = ast.unparse(node.func)
                if ".".join(written.split(".")[-2:]) in _CLOCKS:
                    return f"{written}()"
        return ""

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"module": self.module, "name": self.name, "digest": self.digest, "source": self.source}


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The parameters of a function; from the code, because this is asked for each time that one runs."""
    code = function.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _source(function: Callable[..., Any]) -> str:
    """The source as Python itself would write it, without decorators; empty where it cannot be had."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function.__name__:
            node.decorator_list = []
            return ast.unparse(node)
        if isinstance(node, ast.Lambda) and function.__name__ == "<lambda>":
            return ast.unparse(node)
    return ""


def _captured(cell: CellType) -> str:
    """What a function captured, as text; nothing where it is not there yet, as in a function that calls itself."""
    try:
        return repr(cell.cell_contents)
    except ValueError:
        return ""


def _code_parts(code: CodeType) -> tuple[Any, ...]:
    """What tells two functions without source apart."""
    constants = tuple(_code_parts(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts)
    return code.co_code, constants, code.co_names
