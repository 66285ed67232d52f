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
  --good: #1b7f4b; --bad: #b3261e; --then: #c3c8d2; --c0: #3b73c4; --c1: #c05a12; --c2: #2a8757; --c3: #8a4fbf;
  --c4: #8a7400 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e7ea; --soft: #99a; --line: #3a3d44; --bar: #6c9be0;
  --back: #17181b; --good: #5fc08c; --bad: #f2857c; --then: #565b66; --c0: #6c9be0; --c1: #e8935a; --c2: #5fc08c;
  --c3: #b98be6; --c4: #cdb84a } }
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
svg text.soft { fill: var(--soft) } svg text.small { font-size: 10px; fill: var(--soft) }
svg .axis { stroke: var(--line) } svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
svg line.limit { stroke: var(--bad); stroke-dasharray: 5 4 } svg text.limit { fill: var(--bad) }
svg text { paint-order: stroke; stroke: var(--back); stroke-width: 3px; stroke-linejoin: round }
.short { white-space: nowrap }
svg .then { fill: var(--then) } svg .now { fill: var(--bar); fill-opacity: .55; stroke: var(--bar); stroke-width: .8 }
.c0 { stroke: var(--c0); background: var(--c0) } .c1 { stroke: var(--c1); background: var(--c1) }
.c2 { stroke: var(--c2); background: var(--c2) } .c3 { stroke: var(--c3); background: var(--c3) }
.c4 { stroke: var(--c4); background: var(--c4) } i.then { background: var(--then) } i.now { background: var(--bar) }
svg { width: 100%; height: auto; display: block } figure { margin: 0 } figure svg text { font-size: 11px }
figcaption { margin-bottom: .3rem } .grid { display: grid; gap: 1.5rem 2rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)) }
.grid.wide { grid-template-columns: repeat(auto-fill, minmax(28rem, 1fr)) }
.tag { margin-left: .5rem; padding: 0 .45rem; border: 1px solid var(--bad); border-radius: .6rem; color: var(--bad);
  font-size: .8rem; white-space: nowrap } .keys { display: block } .key { margin-right: 1rem; font-size: .85rem }
.key i { display: inline-block; width: .8rem; height: .6rem; margin-right: .35rem }
summary { cursor: pointer; color: var(--soft) } h3 { margin: 2rem 0 0 }
"""

#: A word in a table that is no longer stays on one line.
_SHORT = 32


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
        words = ", ".join(f"{text} {shown_cell(value)}" for text, value in zip(self.labels, self.values, strict=True))
        return svg(label + width + 110, height * len(self.values) + 4, drawn, words)


@dataclass(frozen=True)
class Details:
    """Parts that are shown when somebody asks for them."""

    title: str
    parts: Sequence[Part]

    def html(self) -> str:
        """The part as HTML."""
        return (
            f"<details><summary>{escape(self.title)}</summary>{''.join(part.html() for part in self.parts)}</details>"
        )


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it; ``level`` 2 or 3."""

    title: str
    parts: Sequence[Part]
    level: int = 2

    def html(self) -> str:
        """The part as HTML."""
        heading = f"<h{self.level}>{escape(self.title)}</h{self.level}>"
        return f"<section>{heading}{''.join(part.html() for part in self.parts)}</section>"


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
    text = shown_cell(value)
    is_short = not to_right and " " not in text and 0 < len(text) <= _SHORT
    kind = ' class="number"' if to_right else ' class="short"' if is_short else ""
    scope = ' scope="col"' if tag == "th" else ""
    return f"<{tag}{kind}{scope}>{escape(text)}</{tag}>"


def svg(width: float, height: float, drawn: Sequence[str], words: str) -> str:
    """A drawing that is as wide as there is room, up to a little more than its own size.

    Args:
        width: its own, in pixels, as the drawn parts have it.
        height: the same.
        drawn: elements of SVG.
        words: what it shows, for those who do not see it.
    """
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{1.3 * width:.0f}px" role="img" '
        f'aria-label="{escape(words)}">{"".join(drawn)}</svg>'
    )
