"""A report as one HTML file: headings, figures, tables and plots, that needs no network and no script.

Parts are values that know their HTML; whatever text goes in is escaped.

>>> page = Page("Report", [Section("Counts", [Table(["feature", "cells"], [["a < b", 3]])])])
>>> "a &lt; b" in page.html()
True
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Protocol

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #667; --line: #d8dae0; --bar: #3b73c4; --back: #fff;
  --good: #1b7f4b; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e7ea; --soft: #99a; --line: #3a3d44; --bar: #6c9be0;
  --back: #17181b; --good: #5fc08c; --bad: #f2857c } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem } .soft { color: var(--soft) }
.good { color: var(--good) } .bad { color: var(--bad) }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { font-weight: 600 } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.figures { display: flex; flex-wrap: wrap; gap: 2.5rem; margin: 1rem 0 }
.figures div { font-size: 1.6rem } .figures span { display: block; font-size: .85rem; color: var(--soft) }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif } svg .bar { fill: var(--bar) }
svg .axis { stroke: var(--line) } svg .line { stroke: var(--bar); fill: none; stroke-width: 1.5 }
"""


class Part(Protocol):
    """What a page is made of."""

    def html(self) -> str:
        """The part as HTML."""
        ...


@dataclass(frozen=True)
class Text:
    """A paragraph. ``tone`` is ``""``, ``soft``, ``good`` or ``bad``."""

    text: str
    tone: str = ""

    def html(self) -> str:
        """The part as HTML."""
        return f'<p class="{escape(self.tone)}">{escape(self.text)}</p>'


@dataclass(frozen=True)
class Figures:
    """A few numbers that matter, each with its name: ``[("rows", 12)]``."""

    items: Sequence[tuple[str, Any]]

    def html(self) -> str:
        """The part as HTML."""
        shown = "".join(
            f"<div>{escape(shown_cell(value))}<span>{escape(name)}</span></div>" for name, value in self.items
        )
        return f'<div class="figures">{shown}</div>'


@dataclass(frozen=True)
class Table:
    """Rows under column names; columns of numbers stand to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def html(self) -> str:
        """The part as HTML."""
        numeric = [all(_is_number(row[at]) for row in self.rows) for at in range(len(self.columns))]
        head = "".join(_cell("th", name, right) for name, right in zip(self.columns, numeric, strict=True))
        body = "".join(
            f"<tr>{''.join(_cell('td', value, right) for value, right in zip(row, numeric, strict=True))}</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True)
class Bars:
    """Horizontal bars, one below the other, each with its label and number; numbers are not negative."""

    labels: Sequence[str]
    values: Sequence[float]

    def html(self) -> str:
        """The part as HTML."""
        label, width, height = 8 * max((len(text) for text in self.labels), default=0) + 8, 360, 20
        greatest = max(self.values, default=0) or 1
        drawn = []
        for number, (text, value) in enumerate(zip(self.labels, self.values, strict=True)):
            middle, length = number * height + 14, width * value / greatest
            drawn.append(
                f'<text x="{label - 8}" y="{middle}" text-anchor="end">{escape(text)}</text>'
                f'<rect class="bar" x="{label}" y="{number * height + 3}" width="{length:.1f}" height="14"/>'
                f'<text x="{label + length + 6:.1f}" y="{middle}">{escape(shown_cell(value))}</text>'
            )
        return _svg(label + width + 110, height * len(self.values) + 4, drawn)


@dataclass(frozen=True)
class Line:
    """A curve through points whose x rises, with the ends of both axes written beside it.

    Attributes:
        points: (x, y) each.
        ends: what is written below the first and the last point.
    """

    points: Sequence[tuple[float, float]]
    ends: tuple[str, str] = ("", "")

    def html(self) -> str:
        """The part as HTML."""
        if not self.points:
            return ""
        width, height, left = 640, 140, 70
        xs, ys = ([point[axis] for point in self.points] for axis in (0, 1))
        across, up = (max(xs) - min(xs)) or 1, (max(ys) - min(ys)) or 1
        path = " ".join(
            f"{left + width * (x - min(xs)) / across:.1f},{10 + height * (max(ys) - y) / up:.1f}"
            for x, y in self.points
        )
        bottom = height + 10
        drawn = [
            f'<line class="axis" x1="{left}" y1="{bottom}" x2="{left + width}" y2="{bottom}"/>',
            f'<polyline class="line" points="{path}"/>',
            f'<text x="{left - 6}" y="14" text-anchor="end">{escape(shown_cell(float(max(ys))))}</text>',
            f'<text x="{left - 6}" y="{bottom}" text-anchor="end">{escape(shown_cell(float(min(ys))))}</text>',
            f'<text x="{left}" y="{bottom + 16}">{escape(self.ends[0])}</text>',
            f'<text x="{left + width}" y="{bottom + 16}" text-anchor="end">{escape(self.ends[1])}</text>',
        ]
        return _svg(left + width + 10, height + 32, drawn)


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: Sequence[Part]

    def html(self) -> str:
        """The part as HTML."""
        return f"<section><h2>{escape(self.title)}</h2>{''.join(part.html() for part in self.parts)}</section>"


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    parts: Sequence[Part]
    subtitle: str = ""

    def html(self) -> str:
        """The document."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head><body>"
            f'<h1>{escape(self.title)}</h1><p class="soft">{escape(self.subtitle)}</p>'
            f"{''.join(part.html() for part in self.parts)}</body></html>\n"
        )

    def write(self, path: str | Path) -> None:
        """Write the document to a file, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        file = Path(path)
        unfinished = file.with_name(f"{file.name}.unfinished")
        unfinished.write_text(self.html(), encoding="utf-8")
        os.replace(unfinished, file)


def shown_cell(value: Any) -> str:
    """A value as people read it: digits grouped, no more of them than matter.

    >>> shown_cell(1234567), shown_cell(0.000123456), shown_cell(None)
    ('1,234,567', '0.000123456', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(tag: str, value: Any, to_right: bool) -> str:
    kind = ' class="number"' if to_right else ""
    return f"<{tag}{kind}>{escape(shown_cell(value))}</{tag}>"


def _svg(width: float, height: float, drawn: Sequence[str]) -> str:
    return f'<svg width="{width:.0f}" height="{height:.0f}" role="img">{"".join(drawn)}</svg>'
