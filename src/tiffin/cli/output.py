"""Words, tables and JSON on the standard output: with colours and lines on a terminal, plain when it is piped."""

from __future__ import annotations

import base64
import itertools
import json
import math
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from tiffin.time import format_us, to_us


def is_terminal() -> bool:
    """Whether a person reads the standard output."""
    return sys.stdout.isatty()


def say(text: str = "", **style: Any) -> None:
    """Print a line; the style is dropped when the output is piped."""
    click.echo(click.style(text, **style) if style else text)


def print_json(data: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False))


def print_yaml(data: Any) -> None:
    """Print data for people to read, keys in their order."""
    import yaml

    click.echo(yaml.safe_dump(plain(data), sort_keys=False, allow_unicode=True, width=120).rstrip())


def plain(value: Any) -> Any:
    """The value with nothing in it but what JSON has.

    Times become ISO 8601 in UTC, bytes base64, floats that JSON lacks their names, and what is left (decimals, dates,
    UUIDs) text.

    >>> plain({"a": (float("nan"), b"x")})
    {'a': ['NaN', 'eA==']}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return format_us(to_us(value))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value if value is None or isinstance(value, str | int | float) else str(value)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "", thousands: bool = False
) -> None:
    """Print rows under column names.

    Args:
        columns: their names; numbers below them are set to the right.
        rows: cells in the order of the columns.
        empty: said on the error stream instead of a table without rows.
        thousands: group the digits of whole numbers; for counts, not for ids.
    """
    body = [list(row) for row in rows]
    if not body and empty:
        click.echo(empty, err=True)
        return
    right = [bool(body) and all(_is_number(row[at]) for row in body) for at in range(len(columns))]
    cells = [[cell(item, thousands=thousands) for item in row] for row in body]
    if is_terminal():
        _print_rich(columns, cells, right)
    else:
        _print_plain(columns, cells, right)


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows of data; on a terminal that is too narrow for them, turned round: a line per column.

    Args:
        columns: their names.
        rows: cells in the order of the columns.
    """
    texts = [list(columns), *([cell(item) for item in row] for row in rows)]
    needed = sum(max(len(row[at]) for row in texts) + 3 for at in range(len(columns)))
    if not is_terminal() or needed <= shutil.get_terminal_size().columns:
        print_table(columns, rows)
        return
    widths = itertools.accumulate(max(len(text) for text in row) + 3 for row in texts)
    fitting = max(2, sum(width <= shutil.get_terminal_size().columns for width in widths))
    names = ["", *(f"row {number}" for number in range(1, fitting))]
    print_table(names[: len(texts)], zip(*texts[:fitting], strict=True))


def cell(value: Any, *, thousands: bool = False) -> str:
    """A value as the text of one cell.

    >>> cell(12345), cell(12345, thousands=True), cell(None), cell(["a", "b"])
    ('12345', '12,345', '', 'a, b')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}" if thousands else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    value = plain(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _print_plain(columns: Sequence[str], cells: list[list[str]], right: list[bool]) -> None:
    widths = [max(len(name), *(len(row[at]) for row in cells), 0) for at, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        parts = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        ]
        click.echo("  ".join(parts).rstrip())


def _print_rich(columns: Sequence[str], cells: list[list[str]], right: list[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name, to_right in zip(columns, right, strict=True):
        table.add_column(name, justify="right" if to_right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(text) for text in row))
    Console().print(table)
