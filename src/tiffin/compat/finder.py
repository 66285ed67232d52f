"""Let ``import feast`` and every module below it mean tiffin."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tiffin.compat.names import DECORATORS, EXPORTED, LATER, OTHER_NAME, SAME_NAME, target_of
from tiffin.errors import TiffinError, UnsupportedError, nearest

_ROOT = "feast"
#: A module of great_expectations before 1.0, which repositories import that validate training sets by it.
_FORMER = "great_expectations.dataset"


class FeastModule(ModuleType):
    """A module of Feast's; its names are looked up when they are used."""

    __path__: list[str]

    def __getattr__(self, name: str) -> Any:
        if name == "__all__" and self.__name__ == _ROOT:
            return EXPORTED
        if name.startswith("__") and name not in SAME_NAME:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        path = f"{self.__name__}.{name}"
        target = None if path in DECORATORS else target_of(name)
        value: Any
        if target is not None:
            value = getattr(_module(target[0]), target[1])
        elif name.islower() and name not in LATER:
            # A module, as in ``from feast import types``; or a function, which is refused when it is called.
            value = _module(path)
        elif self.__name__.endswith(".errors") and name[0].isupper():
            value = type(
                name, (TiffinError,), {"__doc__": "An error of Feast's: it can be caught, and is never raised."}
            )
        else:
            value = Missing(path)
        setattr(self, name, value)
        return value

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the decorator that has the module's own name."""
        if self.__name__ == _ROOT:
            raise TypeError(f"module {self.__name__!r} cannot be called")
        if self.__name__ not in DECORATORS:
            raise _unsupported(self.__name__)
        return getattr(self, self.__name__.rpartition(".")[2])(*arguments, **named)


class Missing:
    """What Feast has and tiffin does not, yet. It can be imported; using it says what it is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name}, not supported by tiffin>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _unsupported(self._name)

    def __instancecheck__(self, instance: object) -> bool:
        return False

    def __subclasscheck__(self, cls: type) -> bool:
        return False

    def __or__(self, other: object) -> Any:
        """``Missing | None`` in an annotation is no use of it."""
        return Any

    __ror__ = __or__

    def _refuse(self, *_: object, **__: object) -> Any:
        raise _unsupported(self._name)

    # Called, taken as a base class, and, where it stands for a list, unpacked or added to another.
    __call__ = __mro_entries__ = __iter__ = __add__ = __radd__ = _refuse


def _unsupported(path: str) -> UnsupportedError:
    name = path.rpartition(".")[2]
    near = "" if name in LATER else nearest(name, [*SAME_NAME, *OTHER_NAME], list_known=False)
    return UnsupportedError(f"{path} is not supported yet", subject=path, hint=near)


class FeastFinder(MetaPathFinder, Loader):
    """Finds ``feast`` and whatever is below it, and the module that great_expectations has no longer."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module for every path that starts with ``feast``."""
        if not _is_ours(fullname):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module that knows where to look."""
        return FeastModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: names are looked up when they are used."""


_FINDER = FeastFinder()


def install() -> None:
    """Make ``import feast`` mean tiffin, from now on in this process."""
    if _FINDER not in sys.meta_path:
        _take_feast_out()
        sys.meta_path.insert(0, _FINDER)


@contextmanager
def feast_means_tiffin() -> Iterator[None]:
    """Within, ``import feast`` means tiffin; afterwards it means what it did before."""
    if _FINDER in sys.meta_path:
        yield
        return
    before = _take_feast_out()
    sys.meta_path.insert(0, _FINDER)
    try:
        yield
    finally:
        sys.meta_path.remove(_FINDER)
        _take_feast_out()
        sys.modules.update(before)


def _take_feast_out() -> dict[str, ModuleType]:
    found = {name: module for name, module in sys.modules.items() if _is_ours(name)}
    for name in found:
        del sys.modules[name]
    return found


def _is_ours(name: str) -> bool:
    return name == _FORMER or name.partition(".")[0] == _ROOT


def _module(name: str) -> ModuleType:
    return importlib.import_module(name)
