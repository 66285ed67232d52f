"""Check the options of a backend's section in ``feature_store.yaml``, the same way for every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from tiffin.errors import ConfigError, nearest

T = TypeVar("T")


def options_from(cls: type[T], section: str, options: Mapping[str, object]) -> T:
    """Build a dataclass of options from a section.

    Args:
        cls: a dataclass whose defaults have the types that its options may have. Where it says ``null_is_default``,
            null stands for an option that is left out.
        section: the section's name, for messages.
        options: the section without ``type``.

    Raises:
        ConfigError: an option is unknown, or its value has another type than the default.
    """
    known: dict[str, Any] = {f.name: _default(f) for f in fields(cls)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            raise ConfigError(f"{section} has no option {name!r}", hint=nearest(name, known))
        if value is None and getattr(cls, "null_is_default", False):
            continue
        wanted = type(known[name])
        allowed = (int, float) if wanted is float else (wanted,)
        if not isinstance(value, allowed) or (isinstance(value, bool) and wanted is not bool):
            raise ConfigError(f"{section}.{name} is {value!r}, where {wanted.__name__} is expected")
        given[name] = value
    return cls(**given)


def _default(option: Field[Any]) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()
