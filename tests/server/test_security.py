"""Who may do what: keys, tokens, permissions, the audit log, and where the server listens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from server.apps import add, drivers, rows, served
from tiffin.config import RepoConfig
from tiffin.definitions import AuthzedAction, FeatureService, FeatureView, Permission, Policy, User
from tiffin.errors import AccessError, ConfigError, DefinitionError, StoreError
from tiffin.governance.audit import AuditLog, verify_audit_log
from tiffin.operations.repository import load_repository
from tiffin.server.auth import Authentication
from tiffin.server.keys import ApiKeys, new_key
from tiffin.server.routes_about import ROUTES
from tiffin.server.run import check_host
from tiffin.time import ManualClock, SystemClock

READ = {"features": ["stats:trips"], "rows": rows(1)}
ELEVEN = "2024-06-01T11:00:00Z"
FACTS = {"driver_id": [7], "trips": [5], "rating": [1.5], "ts": [ELEVEN], "created": [ELEVEN]}
ISSUER, AUDIENCE = "https://login.example", "tiffin"
READER, WRITER = new_key("reader"), new_key("writer")
KEYS = [
    {"name": "reader", "hash": READER[1], "roles": ["reader"]},
    {"name": "writer", "hash": WRITER[1], "roles": ["writer"]},
]
API_KEYS = {"type": "api_key", "api_keys": KEYS}
READS = Permission(
    name="reads",
    types=[FeatureView],
    name_patterns=["stats"],
    actions=[AuthzedAction.READ_ONLINE, AuthzedAction.DESCRIBE],
    policy=Policy(roles=["reader"]),
)
WRITES = Permission(
    name="writes", types=FeatureView, actions=AuthzedAction.WRITE_ONLINE, policy=Policy(roles=["writer"])
)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


# --- Routes ----------------------------------------------------------------------------------------------------------


def test_every_route_declares_what_it_needs() -> None:
    """A route that is added without a line here fails: whoever adds it has to think of who may use it."""
    assert {f"{route.method} {route.path}": route.needs for route in ROUTES} == {
        "POST /v1/features": AuthzedAction.READ_ONLINE,
        "POST /v1/push": AuthzedAction.WRITE_ONLINE,
        "POST /v1/write": AuthzedAction.WRITE_ONLINE,
        "POST /v1/materialize": AuthzedAction.WRITE_ONLINE,
        "GET /v1/definitions": AuthzedAction.DESCRIBE,
        "POST /get-online-features": AuthzedAction.READ_ONLINE,
        "POST /push": AuthzedAction.WRITE_ONLINE,
        "POST /write-to-online-store": AuthzedAction.WRITE_ONLINE,
        "POST /materialize": AuthzedAction.WRITE_ONLINE,
        "POST /materialize-incremental": AuthzedAction.WRITE_ONLINE,
        "POST /retrieve-online-documents": "identity",
        "POST /search": "identity",
        "GET /health": "nothing",
        "GET /health/live": "nothing",
        "GET /health/ready": "nothing",
        "GET /metrics": "identity",
        "GET /openapi.json": "nothing",
        "GET /docs": "nothing",
    }


@pytest.mark.parametrize("route", [route for route in ROUTES if route.needs != "nothing"], ids=lambda route: route.path)
async def test_nobody_gets_in_without_saying_who_it_is(tmp_path: Path, route: Any) -> None:
    async with served(drivers(tmp_path, READS, WRITES, auth=API_KEYS)) as server:
        for headers in (
            {},
            {"authorization": "Basic eA=="},
            {"x-api-key": "x"},
            bearer("tiffin_reader_x"),
            bearer("a.b.c"),
        ):
            response = await server.client.request(route.method, route.path, headers=headers, content=b"{}")
            assert response.status_code == 401, response.text
            assert response.headers["www-authenticate"] == "Bearer"


async def test_a_handler_that_asks_nobody_answers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiffin.server.serving import Serving

    monkeypatch.setattr(Serving, "allow_read", lambda *_: None)
    async with served(drivers(tmp_path)) as server:
        response = await server.post("/v1/features", READ)
        assert response.status_code == 500
        assert "trips" not in response.text


# --- Permissions -----------------------------------------------------------------------------------------------------


async def test_permissions_decide_by_view_feature_and_action(tmp_path: Path) -> None:
    one = Permission(
        name="one", name_patterns=["weather:sky"], actions=AuthzedAction.READ_ONLINE, policy=Policy(roles=["writer"])
    )
    async with served(drivers(tmp_path, READS, WRITES, one, auth=API_KEYS)) as server:

        async def status(key: str, path: str, body: Any) -> int:
            return (await server.client.post(path, json=body, headers=bearer(key))).status_code

        feast = {"features": ["stats:trips"], "entities": {"driver_id": [1]}}
        weather = {"features": ["weather:sky"], "rows": [{"city": "Oslo"}]}
        push = {"push_source_name": "stats_push", "df": FACTS}
        assert await status(READER[0], "/v1/features", READ) == 200
        assert await status(READER[0], "/get-online-features", feast) == 200
        assert await status(READER[0], "/v1/features", READ | {"explain": True}) == 200
        assert await status(READER[0], "/v1/features", weather) == 403
        assert await status(READER[0], "/push", push) == 403
        assert await status(READER[0], "/materialize-incremental", {"end_ts": ELEVEN}) == 403
        assert await status(WRITER[0], "/v1/features", READ) == 403
        assert await status(WRITER[0], "/v1/features", READ | {"explain": True}) == 403
        assert await status(WRITER[0], "/get-online-features", feast) == 403
        assert await status(WRITER[0], "/v1/features", weather) == 200
        assert await status(WRITER[0], "/v1/features", weather | {"features": ["weather"]}) == 403
        assert await status(WRITER[0], "/push", push) == 200
        assert await status(WRITER[0], "/push", push | {"to": "online_and_offline"}) == 403
        assert await status(WRITER[0], "/write-to-online-store", {"feature_view_name": "stats", "df": FACTS}) == 200
        seen = (await server.client.get("/v1/definitions", headers=bearer(READER[0]))).json()
        assert [each["name"] for each in seen["feature_views"]] == ["stats"]
        assert "entities" not in seen


async def test_without_permissions_everything_is_denied(tmp_path: Path) -> None:
    async with served(drivers(tmp_path, auth=API_KEYS)) as server:
        response = await server.client.post("/v1/features", json=READ, headers=bearer(READER[0]))
        assert (response.status_code, response.json()["code"]) == (403, "access")


async def test_a_service_may_be_read_by_who_may_read_it_or_all_of_it(tmp_path: Path) -> None:
    model = FeatureService(name="model", features=["stats", "weather"])
    only = Permission(
        name="only", types=FeatureService, actions=AuthzedAction.READ_ONLINE, policy=Policy(roles=["writer"])
    )
    body = {"service": "model", "rows": [{"driver_id": 1, "city": "Oslo"}]}
    async with served(drivers(tmp_path, READS, only, model, auth=API_KEYS)) as server:
        assert (await server.client.post("/v1/features", json=body, headers=bearer(WRITER[0]))).status_code == 200
        assert (await server.client.post("/v1/features", json=body, headers=bearer(READER[0]))).status_code == 403


def test_policies() -> None:
    both = Policy(groups=["a"], namespaces=["b"])
    assert both.is_for(User("x", groups=["a", "c"], namespaces=["b"]))
    assert not both.is_for(User("x", groups=["a"]))
    assert Policy().is_for(User("x"))


def test_permissions_are_applied_like_other_definitions(tmp_path: Path) -> None:
    repository = drivers(tmp_path, READS, WRITES)
    version = repository.snapshot().version
    assert repository.snapshot().permissions == {"reads": READS, "writes": WRITES}
    add(repository, READS)
    assert repository.snapshot().version == version
    add(repository, replace(READS, actions=[AuthzedAction.DESCRIBE]))
    assert repository.snapshot().permissions["reads"].actions == (AuthzedAction.DESCRIBE,)


def test_a_file_of_a_repository_may_declare_permissions(tmp_path: Path) -> None:
    lines = (
        "from feast.permissions.action import READ",
        "from feast.permissions.permission import Permission",
        "from feast.permissions.policy import RoleBasedPolicy",
        "from feast.feast_object import ALL_FEATURE_VIEW_TYPES",
        "p = Permission(name='p', types=ALL_FEATURE_VIEW_TYPES, actions=READ, policy=RoleBasedPolicy(roles=['r']))",
    )
    (tmp_path / "permissions.py").write_text("\n".join(lines))
    (found,) = load_repository(tmp_path).objects
    assert isinstance(found, Permission)
    assert found.types == ("FeatureView", "OnDemandFeatureView")
    assert found.policy == Policy(roles=["r"])


def test_a_permission_is_kept_as_data() -> None:
    permission = Permission(
        name="p", types=[[FeatureView]], name_patterns="a.*", required_tags={"team": "x"}, policy=Policy(groups=["g"])
    )
    assert Permission.from_spec(permission.to_spec()) == permission
    with pytest.raises(DefinitionError, match="name pattern"):
        Permission(name="p", name_patterns="(")


# --- API keys --------------------------------------------------------------------------------------------------------


def test_only_the_right_key_is_believed() -> None:
    clock = ManualClock("2024-06-01T12:00:00Z")
    key, digest = new_key("model-a")
    keys = ApiKeys([{"name": "model-a", "hash": digest, "roles": ["r"], "expires": "2024-06-02"}], clock)
    assert keys.user(key) == User("model-a", ("r",))
    for wrong in (key[:-1], key + "x", key.replace("model-a", "model-b"), "tiffin_", "tiffin_model-a_", digest):
        with pytest.raises(Exception, match="not known, or has expired"):
            keys.user(wrong)
    clock.advance(timedelta(days=1))
    with pytest.raises(Exception, match="not known, or has expired"):
        keys.user(key)


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "A", "hash": READER[1]},
        {"name": "a", "hash": "x"},
        {"name": "a", "hash": READER[1], "role": "x"},
        {"name": "a", "hash": READER[1], "roles": "x"},
        {"name": "a", "hash": READER[1], "expires": "soon"},
        "a",
    ],
)
def test_wrong_entries_are_refused(entry: Any) -> None:
    with pytest.raises(ConfigError):
        ApiKeys([entry], SystemClock())


def test_secrets_are_not_shown() -> None:
    config = RepoConfig(project="p", auth={"type": "api_key", "api_keys": KEYS, "client_secret": "hidden"})
    assert "hidden" not in repr(config)
    assert READER[1] not in repr(config)


# --- Tokens ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signer() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def jwks(signer: rsa.RSAPrivateKey, tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    write_keys(path, signer, "one")
    return path


def write_keys(path: Path, key: rsa.RSAPrivateKey, key_id: str) -> None:
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    path.write_text(json.dumps({"keys": [public | {"kid": key_id, "use": "sig", "alg": "RS256"}]}))


def claims(**changes: Any) -> dict[str, Any]:
    base = {"iss": ISSUER, "aud": AUDIENCE, "sub": "model-a", "exp": int(time.time()) + 600, "roles": ["reader"]}
    return {name: value for name, value in (base | changes).items() if value is not None}


def signed(key: Any, algorithm: str = "RS256", key_id: str | None = "one", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": key_id} if key_id else None)


def unsigned(header: dict[str, Any]) -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims()).encode(), b""]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def signed_with_the_public_key(pem: bytes) -> str:
    """What somebody makes who hopes that the key of RS256 is taken for the secret of HS256."""
    told = unsigned({"alg": "HS256", "kid": "one", "typ": "JWT"}).rpartition(".")[0]
    signature = hmac.new(pem, told.encode(), hashlib.sha256).digest()
    return f"{told}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def oidc(jwks: Path, **more: Any) -> dict[str, Any]:
    return {"type": "oidc", "issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(jwks), **more}


async def test_tokens_that_are_believed_and_tokens_that_are_not(
    tmp_path: Path, jwks: Path, signer: rsa.RSAPrivateKey
) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = signer.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    now = int(time.time())
    by_public_key = base64.urlsafe_b64encode(b"x" * 32).decode().rstrip("=")
    attacks = {
        "no algorithm": unsigned({"alg": "none", "kid": "one"}),
        "no algorithm, in capitals": unsigned({"alg": "NONE", "kid": "one"}),
        "signed with the public key": signed_with_the_public_key(public),
        "signed with the public key, stripped": signed_with_the_public_key(public.strip()),
        "signed with nothing": signed_with_the_public_key(b""),
        "another algorithm": signed(signer, "RS512"),
        "another key": signed(other),
        "an unknown key": signed(signer, key_id="two"),
        "a key that the token brings along": jwt.encode(
            claims(), other, "RS256", headers={"jwk": {"kty": "RSA", "n": by_public_key, "e": "AQAB"}, "kid": "one"}
        ),
        "another audience": signed(signer, aud="somebody"),
        "no audience": signed(signer, aud=None),
        "another issuer": signed(signer, iss="https://evil.example"),
        "no issuer": signed(signer, iss=None),
        "expired": signed(signer, exp=now - 3600),
        "no expiry": signed(signer, exp=None),
        "not valid yet": signed(signer, nbf=now + 3600),
        "nobody's": signed(signer, sub=None),
        "a changed payload": ".".join([(parts := signed(signer).split("."))[0], unsigned({}).split(".")[1], parts[2]]),
        "no token": "a.b.c",
        "an empty one": "..",
    }
    async with served(drivers(tmp_path, READS, auth=oidc(jwks))) as server:
        for name, token in attacks.items():
            response = await server.client.post("/v1/features", json=READ, headers=bearer(token))
            assert response.status_code == 401, name
        for token in (signed(signer), signed(signer, key_id=None), signed(signer, aud=["x", AUDIENCE])):
            response = await server.client.post("/v1/features", json=READ, headers=bearer(token))
            assert response.status_code == 200, response.text
        for roles in ([], ["writer"], "writer", {"reader": True}, [["reader"]]):
            response = await server.client.post("/v1/features", json=READ, headers=bearer(signed(signer, roles=roles)))
            assert response.status_code == 403, roles


async def test_roles_of_a_client_and_api_keys_beside_tokens(
    tmp_path: Path, jwks: Path, signer: rsa.RSAPrivateKey
) -> None:
    auth = oidc(jwks, client_id="app", api_keys=KEYS)
    async with served(drivers(tmp_path, READS, auth=auth)) as server:
        nested = {"app": {"roles": ["reader"]}}
        for token in (signed(signer, roles=None, resource_access=nested), READER[0]):
            assert (await server.client.post("/v1/features", json=READ, headers=bearer(token))).status_code == 200


async def test_new_keys_of_the_provider_are_found(
    tmp_path: Path, jwks: Path, signer: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(drivers(tmp_path, READS, auth=oidc(jwks))) as server:
        newer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        write_keys(jwks, newer, "two")
        token = bearer(signed(newer, key_id="two"))
        assert (await server.client.post("/v1/features", json=READ, headers=token)).status_code == 401
        monkeypatch.setattr("tiffin.server.tokens._REFETCH_SECONDS", 0.0)
        assert (await server.client.post("/v1/features", json=READ, headers=token)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audience": ""}, "audience"),
        ({"issuer": ""}, "issuer"),
        ({"jwks_file": ""}, "jwks_url"),
        ({"jwks_file": "nowhere.json"}, "nowhere.json"),
        ({"algorithms": ["HS256"]}, "HS256"),
        ({"algorithms": ["none"]}, "none"),
        ({"algorithms": []}, "algorithms"),
        ({"type": "kubernetes"}, "kubernetes"),
        ({"type": "api_key"}, "api_keys"),
        ({"audiences": "x"}, "audience"),
    ],
)
def test_a_wrong_section_is_refused(jwks: Path, changes: dict[str, Any], words: str) -> None:
    config = RepoConfig(project="p", repo_path=jwks.parent, auth=oidc(jwks) | changes)
    with pytest.raises(ConfigError, match=words):
        Authentication(config, SystemClock())


# --- Where it listens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.0.1"])
def test_it_listens_on_this_machine(host: str) -> None:
    check_host(RepoConfig(project="p"), host, is_insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "features.example"])
def test_it_listens_to_others_only_when_they_have_to_say_who_they_are(host: str) -> None:
    with pytest.raises(ConfigError, match="everybody who reaches it"):
        check_host(RepoConfig(project="p"), host, is_insecure=False)
    check_host(RepoConfig(project="p"), host, is_insecure=True)
    check_host(RepoConfig(project="p", auth=API_KEYS), host, is_insecure=False)


# --- The audit log ---------------------------------------------------------------------------------------------------


async def test_writes_and_refusals_are_written_down(tmp_path: Path) -> None:
    repository = drivers(tmp_path, READS, WRITES, auth=API_KEYS)
    async with served(repository, audit_log="audit.jsonl") as server:
        push = {"push_source_name": "stats_push", "df": FACTS}
        for key, path, body in (
            (WRITER[0], "/push", push),
            (READER[0], "/push", push),
            ("x", "/push", push),
            (READER[0], "/v1/features", READ),
            (WRITER[0], "/push", push | {"df": FACTS | {"trips": ["x"]}}),
        ):
            await server.client.post(path, json=body, headers=bearer(key) | {"x-request-id": "id-1"})
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(line["event"], line["user"], line["path"]) for line in lines] == [
        ("push", "writer", "/push"),
        ("denied", "reader", "/push"),
        ("denied", "anybody", "/push"),
        ("push", "writer", "/push"),
        ("push_failed", "writer", "/push"),
    ]
    assert {line["request_id"] for line in lines} == {"id-1"}
    assert verify_audit_log(tmp_path / "audit.jsonl") == 5


async def test_what_cannot_be_written_down_is_not_done(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_text("{no line")
    async with served(drivers(tmp_path), audit_log="audit.jsonl") as server:
        facts = {"view": "stats", "columns": FACTS}
        assert (await server.post("/v1/write", facts)).status_code == 500
        answer = await server.post("/v1/features", READ | {"rows": rows(7), "details": True})
        assert answer.json()["statuses"] == [{"trips": "NOT_FOUND"}]


def test_a_changed_audit_log_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, ManualClock("2024-06-01T12:00:00Z"))
    hashes = [log.append({"event": "push", "number": number}) for number in range(5)]
    assert verify_audit_log(path, hashes[-1]) == 5
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    whole = path.read_text().splitlines(keepends=True)
    changes = {
        "a changed line": [*whole[:2], whole[2].replace('"number":2', '"number":9'), *whole[3:]],
        "a missing line": [*whole[:2], *whole[3:]],
        "lines turned round": [whole[1], whole[0], *whole[2:]],
        "a missing first line": whole[1:],
        "no line": ["x\n", *whole],
        "a list": ["[]\n", *whole],
    }
    for lines in changes.values():
        path.write_text("".join(lines))
        with pytest.raises(StoreError, match="was changed"):
            verify_audit_log(path)
    path.write_text("".join(whole[:-1]))
    assert verify_audit_log(path) == 4
    with pytest.raises(StoreError, match="line 5"):
        verify_audit_log(path, hashes[-1])


def test_access_errors_are_permission_errors() -> None:
    assert issubclass(AccessError, PermissionError)
    assert str(AccessError("no", hint="ask")) == "no\n  hint: ask"
