"""Comparing answers: exact, of the same type, with NaN equal to NaN and apart from null."""

from __future__ import annotations

from collections.abc import Iterable


def exactly(rows: Iterable[Iterable[object]]) -> list[list[tuple[str, str]]]:
    """Rows in a form in which `==` tells 1 from 1.0, 0.0 from -0.0 and NaN from None, and finds NaN equal to NaN."""
    return [[(type(value).__name__, repr(value)) for value in row] for row in rows]
