"""Who may use the Redis store, and whom it trusts: TLS and users with rights of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("redis", reason="redis is not installed; pip install 'tiffin[redis]' provides it")

from certificates import Certificate, authority, certificate
from servers import Server, redis_server
from tiffin.backends.redis.online import RedisOnlineStore
from tiffin.contracts.online import OnlineLocation, ReadRequest, WriteBatch
from tiffin.errors import StoreError, StoreUnavailableError
from tiffin.testing.online import TABLE, key, read, row

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("redis")]
UNTRUSTED = "has a certificate that is not trusted"


def opened(where: str, **options: Any) -> RedisOnlineStore:
    options = {"connection_string": where, "deadline_seconds": 5.0, **options}
    return RedisOnlineStore.from_config(options, OnlineLocation("p"))


async def check_works(store: RedisOnlineStore) -> None:
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, [key(1)], [row(1, bytes(100_000))]))
    assert read(store, key(1)) == row(1, bytes(100_000))
    assert await store.read_async([ReadRequest(TABLE, [key(1)])]) == [[row(1, bytes(100_000))]]
    await store.close_async()
    store.close()


async def check_refused(store: RedisOnlineStore, words: str) -> None:
    """An error that is no matter of time names the store, and no secret."""
    for is_async in (False, True):
        with pytest.raises(StoreError, match=rf"online store redis 127\.0\.0\.1:\d+ {words}") as caught:
            await store.read_async([ReadRequest(TABLE, [key(1)])]) if is_async else read(store, key(1))
        assert not isinstance(caught.value, StoreUnavailableError)
        assert "secret" not in str(caught.value) + repr(store._options) + repr(store)
    await store.close_async()
    store.close()


@dataclass(frozen=True)
class Guarded:
    """A server that speaks TLS only, the authority of its certificate and another one."""

    server: Server
    ours: Certificate
    other: Certificate


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("certificates")
    ours, other = authority(folder, "ours"), authority(folder, "other")
    with tls_server(certificate(folder, "server", ours), ours) as server:
        yield Guarded(server, ours, other)


def tls_server(own: Certificate, signer: Certificate, clients: str = "no") -> Any:
    files = ["--tls-cert-file", own.file, "--tls-key-file", own.key, "--tls-ca-cert-file", signer.file]
    return redis_server(*map(str, files), "--tls-auth-clients", clients, is_tls=True)


@pytest.mark.parametrize("text", ["rediss://127.0.0.1:{port}", "127.0.0.1:{port},ssl=true"])
async def test_certificate_of_a_trusted_authority_is_taken(guarded: Guarded, text: str) -> None:
    where = text.format(port=guarded.server.port)
    await check_works(opened(where, ssl_ca_certs=str(guarded.ours.file)))


async def test_certificate_of_another_authority_is_refused(guarded: Guarded) -> None:
    where = f"rediss://:my-secret@127.0.0.1:{guarded.server.port}"
    await check_refused(opened(where, ssl_ca_certs=str(guarded.other.file)), UNTRUSTED)
    await check_refused(opened(where), UNTRUSTED)


async def test_certificate_of_another_host_is_refused(guarded: Guarded, tmp_path: Path) -> None:
    elsewhere = certificate(tmp_path, "elsewhere", guarded.ours, "DNS:elsewhere.example")
    with tls_server(elsewhere, guarded.ours) as server:
        store = opened(f"rediss://127.0.0.1:{server.port}", ssl_ca_certs=str(guarded.ours.file))
        await check_refused(store, rf"{UNTRUSTED}: IP address mismatch")


async def test_any_certificate_is_taken_when_told_to(guarded: Guarded) -> None:
    await check_works(opened(f"rediss://127.0.0.1:{guarded.server.port}", ssl_verify=False))


async def test_client_shows_a_certificate_where_the_server_wants_one(guarded: Guarded, tmp_path: Path) -> None:
    own, client = (certificate(tmp_path, name, guarded.ours) for name in ("server", "client"))
    trust = {"ssl_ca_certs": str(guarded.ours.file)}
    with tls_server(own, guarded.ours, clients="yes") as server:
        where = f"rediss://127.0.0.1:{server.port}"
        await check_works(opened(where, ssl_certfile=str(client.file), ssl_keyfile=str(client.key), **trust))
        stranger = opened(where, deadline_seconds=0.5, **trust)
        with pytest.raises(StoreUnavailableError, match=rf"online store redis 127\.0\.0\.1:{server.port}"):
            read(stranger, key(1))
        stranger.close()


def test_server_without_tls_is_unavailable_and_named(tmp_path: Path) -> None:
    with redis_server() as server:
        store = opened(f"rediss://:my-secret@127.0.0.1:{server.port}", deadline_seconds=0.5)
        with pytest.raises(StoreUnavailableError, match=rf"online store redis 127\.0\.0\.1:{server.port}") as caught:
            read(store, key(1))
        assert "secret" not in str(caught.value)
        store.close()


async def test_user_with_rights_of_his_own() -> None:
    users = "--user default off --user tiffin on >good-secret ~* +@all --user other on >x ~none +@all"
    with redis_server(*users.split()) as server:
        host = f"127.0.0.1:{server.port}"
        await check_works(opened(f"redis://tiffin:good-secret@{host}"))
        await check_works(opened(f"{host},username=tiffin,password=good-secret"))
        for user in ("tiffin:bad-secret@", "nobody:good-secret@", ":good-secret@", "", "other:x@"):
            await check_refused(opened(f"redis://{user}{host}"), "refuses this user")
