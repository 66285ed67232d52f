"""Who asks: the ``auth`` section of ``feature_store.yaml``, and what it makes of the headers of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiffin.contracts.options import options_from
from tiffin.errors import AuthenticationError, ConfigError
from tiffin.governance.access import ANYBODY, Principal
from tiffin.server.keys import ApiKeys
from tiffin.server.tokens import Tokens, UnknownKeyError, read_json

if TYPE_CHECKING:
    from tiffin.config import RepoConfig
    from tiffin.server.pool import Pool
    from tiffin.time import Clock

TYPES = ("no_auth", "api_key", "oidc")


@dataclass(frozen=True)
class AuthOptions:
    """Options of the ``auth`` section.

    Attributes:
        api_keys: keys that ``tiffin new-api-key`` made; with ``type: oidc`` they are accepted besides tokens.
        auth_discovery_url: where the provider describes itself; tells ``issuer`` and ``jwks_url``.
        issuer: who must have made a token.
        audience: for whom a token must be.
        jwks_url, jwks_file: where the provider's keys are.
        algorithms: how tokens may be signed.
        client_id: whose roles count, in ``resource_access.<client_id>.roles``.
        roles_claim, groups_claim, namespaces_claim: where a token says these, with dots.
        leeway_seconds: by how much the clocks may differ.
        username, password, client_secret, token, token_env_var, verify_ssl, ca_cert_path, ui_client_id: those of
            clients; not used by the server.
    """

    api_keys: list[Any] = field(default_factory=list)
    auth_discovery_url: str = ""
    issuer: str = ""
    audience: str = ""
    jwks_url: str = ""
    jwks_file: str = ""
    algorithms: list[str] = field(default_factory=lambda: ["RS256"])
    client_id: str = ""
    roles_claim: str = "roles"
    groups_claim: str = "groups"
    namespaces_claim: str = "namespaces"
    leeway_seconds: float = 30.0
    username: str = ""
    password: str = field(default="", repr=False)
    client_secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    token_env_var: str = ""
    verify_ssl: bool = True
    ca_cert_path: str = ""
    ui_client_id: str = ""


class Authentication:
    """Tells who asks.

    Args:
        config: of the repository.
        clock: tells whether a key has expired.

    Raises:
        ConfigError: the section is wrong, or the keys of the provider cannot be read.
    """

    def __init__(self, config: RepoConfig, clock: Clock) -> None:
        kind = config.auth.type
        if kind not in TYPES:
            hint = f"the server knows {', '.join(TYPES)}"
            raise ConfigError(f"auth.type is {kind!r}", hint=hint)
        options = options_from(AuthOptions, "auth", config.auth.options)
        if kind == "api_key" and not options.api_keys:
            raise ConfigError("auth.type is api_key, and there are no api_keys", hint="run `tiffin new-api-key NAME`")
        self.is_on = kind != "no_auth"
        self._keys = ApiKeys(options.api_keys, clock)
        self._tokens = _tokens(options, config.repo_path) if kind == "oidc" else None

    async def principal(self, headers: Mapping[bytes, bytes], pool: Pool) -> Principal:
        """Who asks.

        Args:
            headers: of the request.
            pool: where new keys of the provider are fetched.

        Raises:
            AuthenticationError: they do not say, or not credibly.
        """
        if not self.is_on:
            return ANYBODY
        token = _token(headers)
        if ApiKeys.is_one(token):
            return Principal(self._keys.user(token))
        if self._tokens is None:
            raise AuthenticationError("the API key is not known, or has expired", hint="ask for a new one")
        try:
            return Principal(self._tokens.user(token))
        except UnknownKeyError:
            await pool.run(self._tokens.refresh)
            return Principal(self._tokens.user(token))


def _token(headers: Mapping[bytes, bytes]) -> str:
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    token = headers.get(b"x-api-key", b"").decode("latin-1")
    if not token:
        raise AuthenticationError(
            "the request does not say who asks", hint="send Authorization: Bearer, with an API key or a token"
        )
    return token


def _tokens(options: AuthOptions, folder: Path) -> Tokens:
    issuer, keys = options.issuer, options.jwks_url
    if options.auth_discovery_url:
        found = read_json(options.auth_discovery_url)
        found = found if isinstance(found, Mapping) else {}
        issuer, keys = issuer or str(found.get("issuer", "")), keys or str(found.get("jwks_uri", ""))
    if options.jwks_file:
        keys = str(folder / options.jwks_file)
    for name, value in (("issuer", issuer), ("audience", options.audience), ("jwks_url", keys)):
        if not value:
            hint = "a token is believed only with all of: issuer, audience, and jwks_url or jwks_file"
            raise ConfigError(f"auth.{name} is missing", hint=hint)
    roles = [options.roles_claim, "realm_access.roles"]
    if options.client_id:
        roles.append(f"resource_access.{options.client_id}.roles")
    claims = {"roles": roles, "groups": [options.groups_claim], "namespaces": [options.namespaces_claim]}
    return Tokens(
        issuer=issuer,
        audience=options.audience,
        keys=keys,
        algorithms=options.algorithms,
        claims=claims,
        leeway_seconds=options.leeway_seconds,
    )
