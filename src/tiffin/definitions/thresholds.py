"""From where on a column has drifted: what people set, in code and in ``feature_store.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, ClassVar

from tiffin.errors import RequestError

#: What these measure is at most 1.
_SHARES = frozenset({"jensen_shannon", "kolmogorov_smirnov", "chi_square", "null_share"})


@dataclass(frozen=True)
class Thresholds:
    """From where on a column has drifted; ``None`` for distances that are shown and not judged.

    The psi is judged by default, since one limit suits columns of every unit, and the share of nulls, since none of the
    distances sees nulls.

    Attributes:
        psi: the population stability index.
        jensen_shannon: the distance, from 0 to 1.
        kolmogorov_smirnov: the statistic, from 0 to 1; of numbers.
        wasserstein: in standard deviations of the reference; of numbers.
        chi_square: the p-value, of which a smaller one counts.
        null_share: the difference of the shares of nulls, from 0 to 1.
    """

    #: An unknown name in a settings file is an error.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    psi: float | None = 0.2
    jensen_shannon: float | None = None
    kolmogorov_smirnov: float | None = None
    wasserstein: float | None = None
    chi_square: float | None = None
    null_share: float | None = 0.05

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None:
                continue
            most = 1.0 if each.name in _SHARES else float("inf")
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not isfinite(value) or not 0 <= value <= most:
                allowed = "from 0 to 1" if most == 1 else "that is not negative"
                hint = f"pass a number {allowed}, or None to show it only"
                raise RequestError(f"the threshold {each.name} is {value!r}", hint=hint)

    def of(self, distance: str) -> float | None:
        """The threshold of a distance."""
        found: float | None = getattr(self, distance)
        return found
