"""API keys: a name and a long random secret, of which the server knows only the hash.

A key is ``tiffin_<name>_<secret>``. The secret has 256 random bits, so that one round of SHA-256 keeps it: nobody can
try them out, as they could with passwords.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from tiffin.definitions import User
from tiffin.errors import AuthenticationError, ConfigError, TiffinError
from tiffin.time import Clock, to_us

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_HASH = re.compile(r"[0-9a-f]{64}")
_PREFIX = "tiffin_"
_FIELDS = ("name", "hash", "roles", "groups", "namespaces", "expires")
#: What a key is compared with whose name nobody has, so that this takes as long as any other.
_NOBODY = hashlib.sha256(b"").hexdigest()


def new_key(name: str) -> tuple[str, str]:
    """A new key, and the hash that the configuration is to have.

    Raises:
        ConfigError: the name is not of small letters, digits and ``-``.
    """
    _check_name(name)
    key = f"{_PREFIX}{name}_{secrets.token_urlsafe(32)}"
    return key, _hash(key)


class ApiKeys:
    """The keys that a server knows.

    Args:
        entries: of ``auth.api_keys``: ``name``, ``hash``, and maybe ``roles``, ``groups``, ``namespaces``, ``expires``.
        clock: tells whether a key has expired.

    Raises:
        ConfigError: an entry is wrong, or a name is there twice.
    """

    def __init__(self, entries: Sequence[Any], clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[str, User, int | None]] = {}
        for entry in entries:
            name, known = _entry(entry)
            if name in self._known:
                raise ConfigError(f"auth.api_keys has two keys called {name!r}", hint="give one another name")
            self._known[name] = known

    @staticmethod
    def is_one(token: str) -> bool:
        """Whether a token looks like a key."""
        return token.startswith(_PREFIX)

    def user(self, key: str) -> User:
        """Whose key it is.

        Raises:
            AuthenticationError: nobody's, or it has expired; which of both is not told.
        """
        name = key.removeprefix(_PREFIX).partition("_")[0]
        wanted, user, expires_us = self._known.get(name, (_NOBODY, None, None))
        is_right = hmac.compare_digest(wanted, _hash(key))
        if user is None or not is_right or (expires_us is not None and self._clock.now_us() >= expires_us):
            raise AuthenticationError("the API key is not known, or has expired", hint="ask for a new one")
        return user


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"an API key cannot be called {name!r}", hint="use small letters, digits and '-'")
    return name


def _entry(entry: Any) -> tuple[str, tuple[str, User, int | None]]:
    if not isinstance(entry, Mapping) or not set(entry) <= set(_FIELDS):
        raise ConfigError("an entry of auth.api_keys is wrong", hint=f"it has {', '.join(_FIELDS)}")
    name = _check_name(entry.get("name"))
    if not isinstance(entry.get("hash"), str) or not _HASH.fullmatch(entry["hash"]):
        raise ConfigError(f"auth.api_keys: the hash of {name} is wrong", hint="make a key with `tiffin new-api-key`")
    parts = {}
    for part in ("roles", "groups", "namespaces"):
        parts[part] = tuple(entry.get(part) or ())
        if isinstance(entry.get(part), str) or not all(isinstance(item, str) for item in parts[part]):
            raise ConfigError(f"auth.api_keys: {part} of {name} is no list of texts")
    try:
        expires_us = None if entry.get("expires") is None else to_us(entry["expires"])
    except TiffinError as error:
        raise ConfigError(f"auth.api_keys: `expires` of {name} is no time") from error
    return name, (entry["hash"], User(name, **parts), expires_us)
