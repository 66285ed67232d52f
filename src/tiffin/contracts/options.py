"""Check the options of a backend's section in ``feature_store.yaml``, the same way for every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from tiffin.errors import ConfigError, nearest

T = TypeVar("T")


def options_from(cls: type[T], section: str, options: Mapping[str, object]) -> T:
    """Build a dataclass of options from a section.

    Args:
        cls: a dataclass whose defaults have the types that its options may have.
        section: the section's name, for messages.
        options: the section without ``type``.

    Raises:
        ConfigError: an option is unknown, or its value has another type than the default.
    """
    known: dict[str, Any] = {f.name: f.default for f in fields(cls)}  # type: ignore[arg-type]
    for name, value in options.items():
        if name not in known:
            raise ConfigError(f"{section} has no option {name!r}", hint=nearest(name, known))
        wanted = type(known[name])
        allowed = (int, float) if wanted is float else (wanted,)
        if not isinstance(value, allowed) or (isinstance(value, bool) and wanted is not bool):
            raise ConfigError(f"{section}.{name} is {value!r}, where {wanted.__name__} is expected")
    return cls(**dict(options))
