"""The raw limits of Redis, LMDB and PostgreSQL: their fastest clients over blobs that are packed and unpacked by hand.

The rows are those of `raw_online`: a stamp and a fixed block of numbers, without nulls, statuses, schema versions and
ages. Each side starts a server of its own before the clock runs.
"""

from __future__ import annotations

import struct
from abc import abstractmethod
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import data_path, feature_names, features_of, work_folder
from benchmarks.keys import asked_keys, sampled_keys
from benchmarks.sides.raw_online import pack_rows, row_type
from benchmarks.work import Work

_STAMP = 2


class Raw:
    """A store as its client gives it: keys and blobs."""

    def __init__(self) -> None:
        self.open = ExitStack()

    @abstractmethod
    def write(self, view: int, keys: list[int], rows: list[bytes]) -> None:
        """Writes rows; durable, as far as the store is."""

    @abstractmethod
    def read(self, views: int, keys: list[int]) -> list[list[bytes]]:
        """For each view the rows of some keys, in one round trip."""


class RawRedis(Raw):
    """One string a view and key; MSET in pipelines, one MGET."""

    def __init__(self) -> None:
        import redis
        from tests.servers import redis_server

        super().__init__()
        server = self.open.enter_context(redis_server())
        self.client = redis.Redis(port=server.port)

    def write(self, view: int, keys: list[int], rows: list[bytes]) -> None:
        """Pipelines of MSET, which ask nobody whether a newer row is there."""
        for start in range(0, len(keys), 10_000):
            part = slice(start, start + 10_000)
            self.client.mset({b"%d:%d" % (view, key): row for key, row in zip(keys[part], rows[part], strict=True)})

    def read(self, views: int, keys: list[int]) -> list[list[bytes]]:
        """One MGET."""
        found = self.client.mget([b"%d:%d" % (view, key) for view in range(views) for key in keys])
        return [found[view * len(keys) : (view + 1) * len(keys)] for view in range(views)]


class RawLmdb(Raw):
    """One key a view and key; sorted puts in one transaction, gets in one read transaction."""

    def __init__(self) -> None:
        import lmdb

        super().__init__()
        self.environment = lmdb.open(str(work_folder() / "raw.lmdb"), map_size=1 << 34)

    def write(self, view: int, keys: list[int], rows: list[bytes]) -> None:
        """One cursor, one transaction, one sync."""
        pairs = [(struct.pack(">BQ", view, key), row) for key, row in zip(keys, rows, strict=True)]
        with self.environment.begin(write=True) as transaction:
            transaction.cursor().putmulti(pairs)

    def read(self, views: int, keys: list[int]) -> list[list[bytes]]:
        """Gets in one read transaction."""
        with self.environment.begin() as transaction:
            get = transaction.get
            return [[get(struct.pack(">BQ", view, key)) for key in keys] for view in range(views)]


class RawPostgres(Raw):
    """One table a view, with keys of eight bytes; binary COPY, a prepared `= ANY`, binary."""

    def __init__(self) -> None:
        import psycopg
        from tests.servers import postgres_server

        super().__init__()
        server = self.open.enter_context(postgres_server())
        self.connection = self.open.enter_context(psycopg.connect(server.url, autocommit=True))
        self.connection.prepare_threshold = 0
        self.tables: set[int] = set()

    def write(self, view: int, keys: list[int], rows: list[bytes]) -> None:
        """COPY straight into the table, which has its index."""
        with self.connection.transaction():
            self.connection.execute(f"CREATE TABLE rows{view} (key bytea PRIMARY KEY, row bytea NOT NULL)")
            copy = f"COPY rows{view} FROM STDIN (FORMAT BINARY)"
            with self.connection.cursor() as cursor, cursor.copy(copy) as stream:
                head = struct.pack(">hi", 2, 8)
                parts = [b"PGCOPY\n\xff\r\n\0" + bytes(8)]
                for key, row in zip(keys, rows, strict=True):
                    parts += (head, struct.pack(">q", key), struct.pack(">i", len(row)), row)
                parts.append(b"\xff\xff")
                stream.write(b"".join(parts))
        self.connection.execute(f"ANALYZE rows{view}")

    def read(self, views: int, keys: list[int]) -> list[list[bytes]]:
        """One prepared statement a view."""
        wanted = [struct.pack(">q", key) for key in keys]
        found = []
        for view in range(views):
            query = f"SELECT key, row FROM rows{view} WHERE key = ANY(%b)"
            with self.connection.cursor(binary=True) as cursor:
                by_key = dict(cursor.execute(query, [wanted], prepare=True).fetchall())
            found.append([by_key[key] for key in wanted])
        return found


RAW = {"redis": RawRedis, "lmdb": RawLmdb, "postgres": RawPostgres}


class RawReads(Work):
    """Reads the features of some keys into a dict of lists."""

    def __init__(self, kind: str, facts: list[str], keys: int) -> None:
        self._raw = RAW[kind]()
        self._names = [features_of(name, view) for view, name in enumerate(facts)]
        self._layout = row_type(len(self._names[0]))
        self._unpack = struct.Struct("<qq" + "dq" * (len(self._names[0]) // 2)).unpack
        for view, name in enumerate(facts):
            table = pq.read_table(data_path(name)).sort_by("key")
            self._raw.write(view, table["key"].to_pylist(), pack_rows(table, self._names[view]))
        self._keys = asked_keys(facts[0], keys)

    def run(self, index: int) -> dict[str, list[Any]]:
        """Fetches the blobs and decodes them."""
        keys = self._keys[index]
        answer: dict[str, list[Any]] = {"key": keys}
        for names, rows in zip(self._names, self._raw.read(len(self._names), keys), strict=True):
            if len(rows) == 1:
                answer.update(zip(names, ([value] for value in self._unpack(rows[0])[_STAMP:]), strict=True))
                continue
            block = np.frombuffer(b"".join(rows), self._layout)
            for number, name in enumerate(names):
                answer[name] = block[f"f{number}"].tolist()
        return answer

    def answer(self, last: Any) -> pa.Table:
        """The answer to the first question."""
        return pa.table(self.run(0))

    def close(self) -> None:
        """Stops the server."""
        self._raw.open.close()


class RawWrites(Work):
    """Writes blobs that were packed beforehand into an empty store, in the order of their keys."""

    def __init__(self, kind: str, facts: str) -> None:
        self._raw = RAW[kind]()
        table = pq.read_table(data_path(facts)).sort_by("key")
        self._facts, self._keys, self._rows = facts, table["key"].to_pylist(), pack_rows(table, feature_names(0))

    def run(self, index: int) -> int:
        """Fills the store."""
        self._raw.write(0, self._keys, self._rows)
        return len(self._rows)

    def answer(self, last: Any) -> pa.Table:
        """The rows of some keys, read back."""
        keys = sampled_keys(self._facts)
        unpack = struct.Struct("<qq" + "dq" * 5).unpack
        columns = zip(*[unpack(row)[_STAMP:] for row in self._raw.read(1, keys)[0]], strict=True)
        return pa.table({"key": keys, **dict(zip(feature_names(0), map(list, columns), strict=True))})

    def close(self) -> None:
        """Stops the server."""
        self._raw.open.close()


def reads(**arguments: Any) -> Work:
    """A filled store, ready to be read."""
    return RawReads(**arguments)


def writes(**arguments: Any) -> Work:
    """An empty store, ready to be filled."""
    return RawWrites(**arguments)
