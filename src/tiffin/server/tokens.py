"""Tokens of an OpenID provider: JWTs that are signed with one of its keys.

The signature is checked first, by an algorithm that the configuration allows and never by one that only the token
names; then issuer, audience and expiry, all of which a token must have.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tiffin.definitions import User
from tiffin.errors import AuthenticationError, BackendNotFoundError, ConfigError

#: Keys are public, so only these may be used: with HS256 anybody who has the public key could sign.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_FETCH_SECONDS = 5.0
#: Tokens with keys that nobody knows make the server look for new keys no more often than this.
_REFETCH_SECONDS = 30.0
_MOST_BYTES = 1 << 20


class UnknownKeyError(AuthenticationError):
    """A token is signed with a key that is not known yet; the provider may have new ones."""


class Tokens:
    """Checks tokens.

    Args:
        issuer: who must have made them.
        audience: for whom they must be.
        keys: the provider's keys: a file, or a URL.
        algorithms: how they may be signed.
        claims: the paths of ``roles``, ``groups`` and ``namespaces`` in a token, with dots.
        leeway_seconds: by how much clocks may differ.

    Raises:
        ConfigError: an option is wrong, or the keys cannot be read.
        BackendNotFoundError: PyJWT is not installed.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        keys: str,
        algorithms: Sequence[str] = ("RS256",),
        claims: Mapping[str, Sequence[str]] | None = None,
        leeway_seconds: float = 30.0,
    ) -> None:
        try:
            import jwt
        except ImportError as error:
            hint = "install what it needs: pip install 'tiffin[server]'"
            raise BackendNotFoundError("auth.type oidc needs PyJWT", hint=hint) from error
        wrong = [name for name in algorithms if name not in ALGORITHMS]
        if wrong or not algorithms:
            raise ConfigError(f"auth.algorithms has {wrong}", hint=f"use some of {', '.join(ALGORITHMS)}")
        self._jwt = jwt
        self._issuer, self._audience, self._source = issuer, audience, keys
        self._algorithms = list(algorithms)
        self._claims = dict(claims or {})
        self._leeway = leeway_seconds
        self._lock = threading.Lock()
        self._fetched = time.monotonic()
        self._keys = self._load()

    def user(self, token: str) -> User:
        """Whose token it is.

        Raises:
            UnknownKeyError: its key is not known; ``refresh`` may help.
            AuthenticationError: it is not valid.
        """
        jwt = self._jwt
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(header.get("kid"), header.get("alg"))
            claims = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "aud", "iss"]},
            )
        except jwt.ExpiredSignatureError:
            raise AuthenticationError("the token has expired", hint="get a new one") from None
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            # What exactly is wrong helps who forges more than who asks.
            raise AuthenticationError("the token is not valid", hint="get a new one from the provider") from error
        return self._user(claims)

    def refresh(self) -> None:
        """Read the keys again, unless that was done a moment ago.

        Raises:
            ConfigError: they cannot be read; those that are known stay.
        """
        with self._lock:
            if time.monotonic() - self._fetched < _REFETCH_SECONDS:
                return
            self._fetched = time.monotonic()
            self._keys = self._load()

    def _key(self, key_id: Any, algorithm: Any) -> Any:
        if algorithm not in self._algorithms:
            raise AuthenticationError("the token is not valid", hint="get a new one from the provider")
        found = self._keys.get(key_id) if isinstance(key_id, str) else None
        if found is None and key_id is None and len(self._keys) == 1:
            found = next(iter(self._keys.values()))
        if found is None:
            raise UnknownKeyError("the token is signed with an unknown key", hint="get a new one from the provider")
        return found

    def _load(self) -> dict[str, Any]:
        data = read_json(self._source)
        try:
            keys = self._jwt.PyJWKSet.from_dict(data).keys
        except (self._jwt.PyJWTError, AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"{self._source} has no keys of a provider: {error}") from error
        signing = [key for key in keys if key.public_key_use in (None, "sig") and key.key_type != "oct"]
        return {key.key_id or "": key for key in signing}

    def _user(self, claims: Mapping[str, Any]) -> User:
        name = claims.get("preferred_username") or claims.get("sub")
        if not isinstance(name, str):
            raise AuthenticationError("the token does not say whose it is", hint="it needs `sub`")
        parts = {
            part: tuple(dict.fromkeys(item for path in paths for item in _texts(claims, path)))
            for part, paths in self._claims.items()
        }
        return User(name, **parts)


def read_json(source: str) -> Any:
    """What a file, or a URL of the configuration, holds.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        if source.startswith(("https://", "http://")):
            with urllib.request.urlopen(source, timeout=_FETCH_SECONDS) as answer:
                return json.loads(answer.read(_MOST_BYTES))
        return json.loads(Path(source).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{source} cannot be read: {error}", hint="check auth in feature_store.yaml") from error


def _texts(claims: Mapping[str, Any], path: str) -> list[str]:
    """The texts at a path with dots; none where there is nothing."""
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []
