"""Who may use the PostgreSQL store, and whom it trusts: TLS and passwords."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="psycopg is not installed; pip install 'tiffin[postgres]' provides it")

from certificates import Certificate, authority, certificate
from servers import Postgres, postgres_server, wait_until
from tiffin.backends.postgres.online import PostgresOnlineStore
from tiffin.contracts.online import OnlineLocation, ReadRequest, WriteBatch
from tiffin.errors import StoreError, StoreUnavailableError
from tiffin.testing.online import TABLE, key, read, row

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("postgres")]


@dataclass(frozen=True)
class Guarded:
    """A server with TLS and a user ``guarded``, who has a password; the authority of its certificate and another."""

    server: Postgres
    ours: Certificate
    other: Certificate

    def opened(self, **options: object) -> PostgresOnlineStore:
        user = {"user": "guarded", "password": "good-secret", "database": "postgres", "db_schema": "guarded"}
        where = {"host": "127.0.0.1", "port": self.server.port, "deadline_seconds": 5.0}
        return PostgresOnlineStore.from_config({**user, **where, **options}, OnlineLocation("p"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("certificates")
    ours, other = authority(folder, "ours"), authority(folder, "other")
    with postgres_server() as server:
        guard(server, certificate(folder, "server", ours))
        yield Guarded(server, ours, other)


def guard(server: Postgres, own: Certificate) -> None:
    """Give the server a certificate, and a user who has to show a password and to come by TLS."""
    import psycopg

    data = server.home / "data"
    for name, source in (("server.crt", own.file), ("server.key", own.key)):
        (data / name).write_bytes(source.read_bytes())
        (data / name).chmod(0o600)
        os.chown(data / name, data.stat().st_uid, -1)
    rules = data / "pg_hba.conf"
    mine = "hostssl all guarded 127.0.0.1/32 scram-sha-256\nhost all guarded 127.0.0.1/32 reject\n"
    rules.write_text(mine + rules.read_text())
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'good-secret'")
        connection.execute("GRANT CREATE ON DATABASE postgres TO guarded")
        connection.execute("ALTER SYSTEM SET ssl = on")
        connection.execute("SELECT pg_reload_conf()")

    def speaks_tls() -> bool:
        with psycopg.connect(server.url) as connection:
            return connection.execute("SHOW ssl").fetchone() == ("on",)

    wait_until(speaks_tls, "TLS")


async def check_works(store: PostgresOnlineStore) -> None:
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, [key(1)], [row(1, bytes(100_000))]))
    assert read(store, key(1)) == row(1, bytes(100_000))
    assert await store.read_async([ReadRequest(TABLE, [key(1)])]) == [[row(1, bytes(100_000))]]
    store.close()


async def check_refused(store: PostgresOnlineStore, words: str) -> None:
    """An error that is no matter of time names the store, and no secret."""
    for is_async in (False, True):
        with pytest.raises(StoreError, match=rf"online store postgres guarded@127\.0\.0\.1:\d+/.*{words}") as caught:
            await store.read_async([ReadRequest(TABLE, [key(1)])]) if is_async else read(store, key(1))
        assert not isinstance(caught.value, StoreUnavailableError)
        assert "secret" not in str(caught.value) + repr(store._options) + repr(store)
    store.close()


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_certificate_of_a_trusted_authority_is_taken(guarded: Guarded, mode: str) -> None:
    await check_works(guarded.opened(sslmode=mode, sslrootcert_path=str(guarded.ours.file)))


async def test_certificate_of_another_authority_is_refused(guarded: Guarded) -> None:
    store = guarded.opened(sslmode="verify-full", sslrootcert_path=str(guarded.other.file))
    await check_refused(store, "certificate verify failed")


async def test_authority_whose_file_is_missing_is_named(guarded: Guarded, tmp_path: Path) -> None:
    store = guarded.opened(sslmode="verify-full", sslrootcert_path=str(tmp_path / "nowhere.crt"))
    await check_refused(store, r"nowhere\.crt")


async def test_certificate_of_another_host_is_refused(guarded: Guarded) -> None:
    # libpq goes to hostaddr and looks for host in the certificate.
    where = f"hostaddr=127.0.0.1 host=elsewhere.example port={guarded.server.port} user=guarded dbname=postgres"
    trust = f"sslmode=verify-full sslrootcert={guarded.ours.file}"
    options = {"connection_string": f"{where} password=good-secret {trust}", "deadline_seconds": 5.0}
    store = PostgresOnlineStore.from_config(options, OnlineLocation("p"))
    with pytest.raises(StoreError, match=r"elsewhere\.example") as caught:
        read(store, key(1))
    assert not isinstance(caught.value, StoreUnavailableError)
    assert "secret" not in str(caught.value)
    store.close()


async def test_wrong_password_is_refused(guarded: Guarded) -> None:
    await check_refused(guarded.opened(password="bad-secret"), "refuses this user")
    await check_refused(guarded.opened(password=""), "refuses this user")


async def test_connection_without_tls_is_refused_where_the_server_wants_it(guarded: Guarded) -> None:
    await check_refused(guarded.opened(sslmode="disable"), "refuses this user")


async def test_server_without_tls_is_refused_where_the_user_wants_it() -> None:
    with postgres_server() as server:
        options = {"host": "127.0.0.1", "port": server.port, "user": "guarded", "password": "a-secret"}
        store = PostgresOnlineStore.from_config({**options, "sslmode": "require"}, OnlineLocation("p"))
        await check_refused(store, "does not support SSL")
