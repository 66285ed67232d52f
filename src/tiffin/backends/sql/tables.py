"""The tables of a SQL registry.

A snapshot is a list of digests; each digest stands for one document, which is written once and never changed. A commit
is the insertion of one row under the unique key (project, version), so two writers can never both succeed.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Float, Integer, MetaData, String, Table, Text, TypeDecorator

#: Rises when the tables or documents change so that older versions of tiffin cannot read them.
FORMAT_VERSION = 1

metadata = MetaData()


class LongText(TypeDecorator[str]):
    """Text of any length; MySQL's plain TEXT ends at 64 KB."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The type of the database at hand."""
        if dialect.name not in ("mysql", "mariadb"):
            return dialect.type_descriptor(Text())
        from sqlalchemy.dialects.mysql import LONGTEXT

        return dialect.type_descriptor(LONGTEXT())


#: Facts about the registry itself: ``format_version``.
META = Table(
    "tiffin_meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(255), nullable=False),
)

#: The version that a project had when it was forgotten; it goes on from there, so that no version number and no table
#: name is ever used twice.
FORGOTTEN = Table(
    "tiffin_forgotten",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("version", Integer, nullable=False),
)

DOCUMENTS = Table(
    "tiffin_documents",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("digest", String(32), primary_key=True),
    Column("document", LongText, nullable=False),
)

SNAPSHOTS = Table(
    "tiffin_snapshots",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(32), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("author", String(255), nullable=False),
    Column("message", Text, nullable=False),
    #: The digests of the documents, in order, separated by spaces.
    Column("documents", LongText, nullable=False),
)

RUNS = Table(
    "tiffin_runs",
    metadata,
    # SQLite numbers rows by itself only where the column's type is exactly INTEGER.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("project", String(255), nullable=False, index=True),
    Column("view", String(255), nullable=False),
    Column("view_version", Integer, nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("written", BigInteger, nullable=False),
    Column("stale", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
)
