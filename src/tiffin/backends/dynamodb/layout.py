"""How tables and rows are called in DynamoDB."""

from __future__ import annotations

import re
from hashlib import sha256

#: The table of the store's own: names of tables, and cursors. No other table is called so: what stands between dashes
#: in a name is hexadecimal.
META = "-meta-"

_PLAIN = re.compile(r"[^a-zA-Z0-9_.]")
_MOST_CHARACTERS = 255
#: Partition keys have 1 to 2048 bytes; a longer entity key is kept under its digest.
_MOST_BYTES = 2000
_KEY, _DIGEST = b"k", b"h"


def table_name(template: str, project: str, table: str) -> str:
    """The name of a table in DynamoDB, which takes letters, digits, ``_``, ``.`` and ``-``, 255 at most.

    Anything else, and the dash, is written as its number between dashes, so that no two tables meet.
    """
    own = f"{project}."
    rest = _escaped(table.removeprefix(own)) if table.startswith(own) else "-0-" + _escaped(table)
    name = template.format(project=_escaped(project), table_name=rest)
    if len(name) <= _MOST_CHARACTERS:
        return name
    digest = sha256(table.encode()).hexdigest()
    return template.format(project=_escaped(project)[:100], table_name=f"-1-{digest}")


def meta_name(template: str, project: str) -> str:
    """The name of the store's own table."""
    return template.format(project=_escaped(project), table_name=META)


def row_key(key: bytes) -> bytes:
    """The partition key of a row."""
    return _KEY + key if len(key) <= _MOST_BYTES else _DIGEST + sha256(key).digest()


def is_digest(row_key: bytes) -> bool:
    """Whether a row is kept under a digest; its key is then an attribute of its own."""
    return row_key[:1] == _DIGEST


def _escaped(text: str) -> str:
    return _PLAIN.sub(lambda found: f"-{ord(found[0]):x}-", text)
