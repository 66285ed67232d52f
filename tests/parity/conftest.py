"""Every online store that many processes could use, for tests of what goes through all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers import PATIENT, moto_server, need_module, postgres_server, redis_server

SERVERS = [
    pytest.param(kind, marks=[pytest.mark.service, pytest.mark.xdist_group(f"parity on {kind}")])
    for kind in ("redis", "postgres", "dynamodb")
]


@pytest.fixture(params=["sqlite", "lmdb", *SERVERS])
def section(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """The `online_store` section of a store."""
    if request.param == "redis":
        with redis_server() as server:
            yield {"type": "redis", "connection_string": f"127.0.0.1:{server.port}", **PATIENT}
    elif request.param == "postgres":
        with postgres_server() as postgres:
            yield {"type": "postgres", "connection_string": postgres.url, **PATIENT}
    elif request.param == "dynamodb":
        need_module("aiobotocore", "dynamodb")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-tests")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with moto_server() as server:
            yield {
                "type": "dynamodb",
                "region": "eu-west-1",
                "endpoint_url": f"http://127.0.0.1:{server.port}",
                **PATIENT,
            }
    else:
        need_module(request.param, request.param) if request.param == "lmdb" else None
        yield {"type": request.param, "path": "online"}
