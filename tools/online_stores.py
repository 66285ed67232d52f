"""Writes the table of docs/online-stores.md from what the stores say of themselves: `python tools/online_stores.py`."""

from __future__ import annotations

import re
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "online-stores.md"
_BEGIN, _END = "<!-- capabilities: begin -->", "<!-- capabilities: end -->"


def capabilities() -> list[Any]:
    """The records of the stores that come with tiffin, by name; all extras must be installed."""
    points = entry_points(group="tiffin.backends.online")
    own = sorted(point.name for point in points if point.value.startswith("tiffin.backends."))
    return [points[name].load().capabilities for name in own]


def render() -> str:
    """The table."""
    flags_of = "durable", "several processes", "native async", "expiry"
    heads = "type", "read by", "rows compared by", *flags_of, "largest row"
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for each in capabilities():
        largest = "memory" if each.max_row_bytes is None else f"{each.max_row_bytes:,} bytes"
        compared = f"[{each.compared_by}]({each.link})" if each.link else each.compared_by
        flags = (each.durable, each.multi_process, each.native_async, each.expires)
        words = ["yes" if flag else "no" for flag in flags]
        lines.append(f"| `{each.name}` | {each.read_by} | {compared} | {' | '.join(words)} | {largest} |")
    return "\n".join(lines)


def page() -> str:
    """The page as it should be."""
    pattern = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{_BEGIN}\n{render()}\n{_END}", PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} is written", file=sys.stderr)
