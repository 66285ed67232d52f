"""Plots as SVG inside a page: two distributions over each other, and curves over time.

They scale with the page, follow its colours in light and dark, and say in words what they show to those who do not see
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tiffin.quality.histograms import Distribution, Side
from tiffin.quality.page import Part, svg
from tiffin.quality.scales import nice_step, nice_time_step, short_number, short_time, ticks
from tiffin.time import DAY_US

Point = tuple[float, float]

#: Points of a curve that are drawn; of more, the highest of each stretch, so that no peak is lost.
_MOST_POINTS = 240
#: Curves have so many colours.
COLOURS = 5
#: Letters of a text that are written beside its bar.
_LETTERS = 18


@dataclass(frozen=True)
class Grid:
    """Parts side by side, as many as the page is wide."""

    parts: Sequence[Part]
    is_wide: bool = False

    def html(self) -> str:
        """The part as HTML."""
        kind = "grid wide" if self.is_wide else "grid"
        return f'<div class="{kind}">{"".join(part.html() for part in self.parts)}</div>'


@dataclass(frozen=True)
class Captioned:
    """A part with a title of its own."""

    title: str
    part: Part

    def html(self) -> str:
        """The part as HTML."""
        return _figure(self.title, self.part.html())


@dataclass(frozen=True)
class Key:
    """What the colours of plots mean: pairs of ``then`` or ``now`` and words."""

    items: Sequence[tuple[str, str]]

    def html(self) -> str:
        """The part as HTML."""
        return f'<p class="soft">{_keys(self.items)}</p>'


@dataclass(frozen=True)
class ThenAndNow:
    """How the values of a column were spread, in grey, and are now, in blue, as shares of the rows.

    Attributes:
        title: what is shown.
        shown: the two sides.
        tags: what is wrong with it.
    """

    title: str
    shown: Distribution
    tags: Sequence[str] = ()

    def html(self) -> str:
        """The part as HTML."""
        drawn, height = _text_bars(self.shown) if self.shown.kind == "text" else _histogram(self.shown)
        words = f"{self.title}: share of rows by value, in the reference and now"
        return _figure(self.title, svg(340, height, drawn, "; ".join([words, *self.tags])), self.tags)


@dataclass(frozen=True)
class Curves:
    """Curves over time, with labelled axes.

    Attributes:
        title: what is shown.
        curves: by name, (moment in microseconds, value) each, in the order of time; values are not negative.
        limit: a value that is marked, and what it is.
        unit: written after values.
    """

    title: str
    curves: Mapping[str, Sequence[Point]]
    limit: tuple[float, str] | None = None
    unit: str = ""

    def html(self) -> str:
        """The part as HTML; nothing where there are no points."""
        curves = {name: _thinned(points) for name, points in self.curves.items() if points}
        if not curves:
            return ""
        left, top, width, height, below = 52, 10, 440, 130, 24
        xs = [x for points in curves.values() for x, _ in points]
        ys = [y for points in curves.values() for _, y in points]
        highest = max([*ys, self.limit[0] if self.limit else 0.0]) * 1.05 or 1.0
        across, up = _scale(min(xs), max(xs), left, left + width), _scale(0, highest, top + height, top)
        drawn = _grid(ticks(0, highest, 4), up, left, left + width, lambda y: f"{short_number(y)}{self.unit}")
        drawn += _time_axis(min(xs), max(xs), across, top + height)
        if self.limit is not None:
            y, words = self.limit
            drawn.append(f'<line class="limit" x1="{left}" x2="{left + width}" y1="{up(y):.1f}" y2="{up(y):.1f}"/>')
            drawn.append(_label(left + 4, up(y) - 4, words, "start", "limit"))
        for number, points in enumerate(curves.values()):
            path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
            colour = f"c{number % COLOURS}"
            drawn.append(f'<polyline class="line {colour}" points="{path}"/>')
            if len(points) == 1:
                drawn.append(
                    f'<circle class="dot {colour}" cx="{across(xs[0]):.1f}" cy="{up(points[0][1]):.1f}" r="3"/>'
                )
        words = f"{self.title} over time; newest: " + ", ".join(
            f"{name} {short_number(points[-1][1])}{self.unit}" for name, points in curves.items()
        )
        return _figure(
            self.title, svg(left + width + 12, top + height + below, drawn, words), legend=_legend(list(curves))
        )


def _figure(title: str, drawing: str, tags: Sequence[str] = (), legend: str = "") -> str:
    shown = "".join(f'<span class="tag">{escape(tag)}</span>' for tag in tags)
    return f"<figure><figcaption><b>{escape(title)}</b>{shown}{legend}</figcaption>{drawing}</figure>"


def _legend(names: Sequence[str]) -> str:
    """Which colour is what; one curve needs none."""
    return _keys([(f"c{number % COLOURS}", name) for number, name in enumerate(names)]) if len(names) > 1 else ""


def _keys(items: Sequence[tuple[str, str]]) -> str:
    shown = "".join(f'<span class="key"><i class="{kind}"></i>{escape(words)}</span>' for kind, words in items)
    return f'<span class="keys">{shown}</span>'


def _histogram(shown: Distribution) -> tuple[list[str], float]:
    """Bins from left to right, and bars beside them for what is in none."""
    left, top, width, height = 40, 8, 292, 120
    beside = list(shown.reference.beside)
    bins = len(shown.edges) - 1 if len(shown.edges) > 1 else 0
    # What is in no bin has as much room for each name as it needs to be read.
    room = 40 * len(beside)
    right = left + width - room - (8 if room and bins else 0)
    sides = (shown.reference, "then"), (shown.current, "now")
    highest = max(_highest(side) for side, _ in sides) or 1.0
    up = _scale(0, highest, top + height, top)
    drawn = _grid(ticks(0, highest, 3), up, left, left + width, lambda y: f"{100 * y:.3g}%")
    for side, kind in sides:
        if bins:
            across = _scale(0, bins, left, right)
            drawn += [
                _bar(kind, across(at) + 0.5, across(at + 1) - 0.5, side, count, up)
                for at, count in enumerate(side.counts)
                if count
            ]
        for at, name in enumerate(beside):
            x = left + width - room + 40 * at + (4 if kind == "then" else 18)
            drawn.append(_bar(kind, x, x + 14, side, side.beside[name], up))
    for at, name in enumerate(beside):
        drawn.append(_label(left + width - room + 40 * at + 18, top + height + 14, name, "middle"))
    if bins:
        drawn += _bin_labels(shown, _scale(shown.edges[0], shown.edges[-1], left, right), right - left, top + height)
    return drawn, top + height + 22


def _bar(kind: str, x: float, end: float, side: Side, count: int, up: Callable[[float], float]) -> str:
    """An upright bar."""
    high = up(side.share(count))
    return _rectangle(kind, x, high, max(0.5, end - x), up(0) - high, side, count)


def _rectangle(kind: str, x: float, y: float, width: float, height: float, side: Side, count: int) -> str:
    """A bar that says its number when somebody points at it."""
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
        f"<title>{kind}: {count:,} of {side.rows:,} rows</title></rect>"
    )


def _bin_labels(shown: Distribution, across: Callable[[float], float], room: float, bottom: float) -> list[str]:
    is_time = shown.kind == "time"
    if len(shown.edges) == 2:
        middle = (shown.edges[0] + shown.edges[1]) / 2
        return [_label(across(middle), bottom + 14, short_time(middle) if is_time else short_number(middle), "middle")]
    # Bins that stand around whole numbers are not labelled at their ends.
    is_around = shown.edges[0] % 1 == 0.5 and shown.edges[1] - shown.edges[0] == 1
    step_of = nice_time_step if is_time else (lambda least: nice_step(max(1.0, least))) if is_around else nice_step
    marks = ticks(shown.edges[0], shown.edges[-1], max(1, int(room // (75 if is_time else 45))), step_of)
    step = marks[1] - marks[0] if len(marks) > 1 else shown.edges[-1] - shown.edges[0]
    return [
        _label(across(mark), bottom + 14, short_time(mark, step) if is_time else short_number(mark), "middle")
        for mark in marks
    ]


def _highest(side: Side) -> float:
    return max((side.share(count) for count in (*side.counts, *side.beside.values())), default=0.0)


def _text_bars(shown: Distribution) -> tuple[list[str], float]:
    """A pair of bars for each text, below one another."""
    left, width, row = 128, 160, 24
    sides = (shown.reference, "then"), (shown.current, "now")
    highest = max(_highest(side) for side, _ in sides) or 1.0
    names = [(text, "") for text in shown.texts] + [(name, "soft") for name in shown.reference.beside]
    drawn = []
    for at, (name, tone) in enumerate(names):
        top = 4 + row * at
        short = name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"
        drawn.append(_label(left - 8, top + 13, short or '""', "end", tone, name))
        for number, (side, kind) in enumerate(sides):
            count = [*side.counts, *side.beside.values()][at]
            length = width * side.share(count) / highest
            y = top + 1 + 9 * number
            drawn.append(_rectangle(kind, left, y, length, 8, side, count))
            drawn.append(_label(left + length + 4, y + 7, f"{100 * side.share(count):.3g}%", "start", "small"))
    return drawn, 4 + row * len(names)


def _grid(
    marks: Sequence[float], up: Callable[[float], float], left: float, right: float, words: Callable[[float], str]
) -> list[str]:
    """Lines across, with their values on the left."""
    drawn = []
    for mark in marks:
        drawn.append(f'<line class="axis" x1="{left}" x2="{right}" y1="{up(mark):.1f}" y2="{up(mark):.1f}"/>')
        drawn.append(_label(left - 5, up(mark) + 4, words(mark), "end"))
    return drawn


def _time_axis(first: float, last: float, across: Callable[[float], float], bottom: float) -> list[str]:
    """Moments below an axis; the first one with its year."""
    marks = ticks(first, last, 6, nice_time_step)
    step = marks[1] - marks[0] if len(marks) > 1 else last - first
    words = [short_time(mark, step) for mark in marks]
    if DAY_US <= step < 90 * DAY_US:
        words = [*words[:1], *(each[len("2024-") :] for each in words[1:])]
    return [_label(across(mark), bottom + 16, each, "middle") for mark, each in zip(marks, words, strict=True)]


def _label(x: float, y: float, words: str, anchor: str, tone: str = "", whole: str = "") -> str:
    title = f"<title>{escape(whole)}</title>" if whole and whole != words else ""
    kind = f' class="{tone}"' if tone else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}{title}</text>'


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From values between two to places between two; the middle where there is one value only."""
    if not low < high:
        return lambda _: (start + end) / 2
    return lambda value: start + (end - start) * (value - low) / (high - low)


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Few points, the highest of each stretch, and the last one."""
    size = -(-len(points) // _MOST_POINTS)
    if size <= 1:
        return list(points)
    parts = (points[start : start + size] for start in range(0, len(points) - 1, size))
    return [*(max(part, key=lambda point: point[1]) for part in parts), points[-1]]
