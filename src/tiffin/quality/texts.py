"""The most frequent texts of a column, counted in bounded room.

Source: J. Misra, D. Gries, "Finding repeated elements", 1982, merged as in P. Agarwal and others, "Mergeable
summaries", 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

#: Different texts that are kept of a column.
_MOST_TEXTS = 1000


@dataclass(frozen=True)
class Texts:
    """How often texts occur.

    Attributes:
        counts: text to how often it occurs, most frequent first; too low by at most ``lost``.
        total: how many texts there were, those that are not kept too.
        lost: 0 where every text is kept and every count is right; at most ``total / 1001``.
    """

    counts: tuple[tuple[str, int], ...] = ()
    total: int = 0
    lost: int = 0

    @property
    def rest(self) -> int:
        """How many occurrences are not among the counts."""
        return self.total - sum(count for _, count in self.counts)

    def top(self, most: int = 10) -> tuple[tuple[str, int], ...]:
        """The most frequent ones."""
        return self.counts[:most]

    def with_counts(self, values: pa.Array, counts: pa.Array) -> Texts:
        """With more texts, each once, and how often each occurs."""
        import pyarrow as pa
        import pyarrow.compute as pc

        total = self.total + (pc.sum(counts).as_py() or 0)
        here = pa.table({"value": values, "count": counts})
        if self.counts:
            held = pa.table({"value": [v for v, _ in self.counts], "count": [c for _, c in self.counts]})
            here = pa.concat_tables([held, here], promote_options="permissive")
            here = here.group_by("value").aggregate([("count", "sum")]).rename_columns(["value", "count"])
        order = [("count", "descending"), ("value", "ascending")]
        first = here.take(pc.select_k_unstable(here, _MOST_TEXTS + 1, sort_keys=order))
        pairs = list(zip(first["value"].to_pylist(), first["count"].to_pylist(), strict=True))
        if len(pairs) <= _MOST_TEXTS:
            return Texts(tuple(pairs), total, self.lost)
        # Every count is lowered by the first that has no place; those at least as frequent are there for certain.
        least = pairs.pop()[1]
        return Texts(tuple((value, count - least) for value, count in pairs if count > least), total, self.lost + least)
