"""Stores over a network for tests that spoil it: how each is opened, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from servers import moto_server, postgres_server, redis_server
from tiffin.contracts.online import OnlineLocation, OnlineStore, ReadRequest, WriteBatch

TABLE = "faults.t.1"
ROWS = {b"key%04d" % n: n.to_bytes(8, "big") + bytes([n]) * (200 + 2 * n) for n in range(200)}


@dataclass(frozen=True)
class Kind:
    """A type of store.

    Attributes:
        deadline_seconds: in which it can read all rows, whatever else the machine does.
        short_seconds: in which it mostly can; for calls of which some may fail.
        tries: how often a test that goes by chance tries.
    """

    name: str
    deadline_seconds: float = 1.0
    short_seconds: float = 0.3
    tries: int = 40

    def open(self, port: int, **options: Any) -> OnlineStore:
        """The store at a port of the loopback."""
        where: dict[str, Any]
        if self.name == "redis":
            from tiffin.backends.redis.online import RedisOnlineStore as Store

            where = {"connection_string": f"127.0.0.1:{port}"}
        elif self.name == "postgres":
            from tiffin.backends.postgres.online import PostgresOnlineStore as Store  # type: ignore[assignment]

            where = {"connection_string": f"postgresql://tests@127.0.0.1:{port}/postgres?sslmode=disable"}
        else:
            from tiffin.backends.dynamodb.online import DynamoDBOnlineStore as Store  # type: ignore[assignment]

            where = {"region": "eu-west-1", "endpoint_url": f"http://127.0.0.1:{port}"}
        reads, writes = self.deadline_seconds, 3 * self.deadline_seconds
        calls = {"deadline_seconds": reads, "write_deadline_seconds": writes, "breaker_failures": 0}
        return Store.from_config({**where, **calls, **options}, OnlineLocation("faults"))


REDIS, POSTGRES = Kind("redis"), Kind("postgres")
#: moto answers some hundred calls a second.
DYNAMODB = Kind("dynamodb", deadline_seconds=5.0, short_seconds=1.5, tries=6)


@contextmanager
def server_of(kind: Kind) -> Iterator[int]:
    """The port of a server."""
    if kind.name == "redis":
        with redis_server() as redis:
            yield redis.port
    elif kind.name == "postgres":
        with postgres_server() as postgres:
            yield postgres.port
    else:
        with moto_server() as moto, pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", "tests")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            patch.delenv("AWS_PROFILE", raising=False)
            yield moto.port


def fill(kind: Kind, port: int) -> None:
    """Put the rows there."""
    store = kind.open(port, deadline_seconds=30.0, write_deadline_seconds=30.0)
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, list(ROWS), list(ROWS.values())))
    assert read(store, *ROWS) == list(ROWS.values())
    store.close()


def read(store: OnlineStore, *keys: bytes) -> list[bytes | None]:
    """The rows of some keys."""
    return store.read([ReadRequest(TABLE, keys)])[0]
