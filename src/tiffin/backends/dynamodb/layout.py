"""How tables and rows are called in DynamoDB."""

from __future__ import annotations

import re
from hashlib import sha256

#: The table of the store's own: names of tables, and cursors. No other table is called so: what stands between dashes
#: in a name is hexadecimal.
META = "-meta-"

_PLAIN = re.compile(r"[^a-zA-Z0-9_.]")
_TEMPLATE = re.compile(
    r"[\w.-]*(\{project\}(?P<between>[\w.-]*)\{table_name\})[\w.-]*"
    r"|[\w.-]*(\{table_name\}(?P<after>[\w.-]*)\{project\})[\w.-]*",
    re.ASCII,
)
_MOST_CHARACTERS = 255
#: Partition keys have 1 to 2048 bytes; a longer entity key is kept under its digest.
_MOST_BYTES = 2000
_KEY, _DIGEST = b"k", b"h"


def separator(template: str) -> str:
    """What keeps project and table apart in a template's names: ``.`` or ``_``, or nothing if it is no good."""
    found = _TEMPLATE.fullmatch(template)
    between = "" if found is None else found["between"] or found["after"] or ""
    return next((sign for sign in "._" if sign in between), "")


def table_name(template: str, project: str, table: str) -> str:
    """The name of a table in DynamoDB, which takes letters, digits, ``_``, ``.`` and ``-``, 255 at most.

    Anything else, and the dash, is written as its number between dashes; so is, in the project, the sign that stands
    between project and table. So no two tables meet, whatever their projects and views are called.
    """
    own = f"{project}."
    rest = _escaped(table.removeprefix(own)) if table.startswith(own) else "-0-" + _escaped(table)
    name = _formatted(template, project, rest)
    if len(name) <= _MOST_CHARACTERS:
        return name
    digest = sha256(f"{project}\0{table}".encode()).hexdigest()
    return _formatted(template, "", f"-1-{digest}")


def meta_name(template: str, project: str) -> str:
    """The name of the store's own table."""
    return _formatted(template, project, META)


def _formatted(template: str, project: str, table_name: str) -> str:
    sign = separator(template)
    return template.format(project=_escaped(project).replace(sign, f"-{ord(sign):x}-"), table_name=table_name)


def row_key(key: bytes) -> bytes:
    """The partition key of a row."""
    return _KEY + key if len(key) <= _MOST_BYTES else _DIGEST + sha256(key).digest()


def is_digest(row_key: bytes) -> bool:
    """Whether a row is kept under a digest; its key is then an attribute of its own."""
    return row_key[:1] == _DIGEST


def _escaped(text: str) -> str:
    return _PLAIN.sub(lambda found: f"-{ord(found[0]):x}-", text)
