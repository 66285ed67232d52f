"""The schemas of a registry by their numbers, as Confluent's and the registries that speak like it give them."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from tiffin.contracts.options import options_from
from tiffin.errors import RequestError, StreamError, StreamUnavailableError

_NOT_FOUND, _FORBIDDEN, _FAULT = 404, (401, 403), 500


@dataclass(frozen=True)
class SchemaRegistryOptions:
    """The options in the section ``streams.schema_registry``.

    Attributes:
        username, password: who asks.
        timeout_seconds: how long an answer may take.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    timeout_seconds: float = 10.0


class SchemaRegistry:
    """A schema registry at an address."""

    def __init__(self, address: str, options: SchemaRegistryOptions) -> None:
        if not address.startswith(("http://", "https://")):
            raise RequestError(f"the address of the schema registry is {address!r}", hint="it begins with http(s)://")
        self._address = address.rstrip("/")
        self._options = options

    @classmethod
    def from_config(cls, address: str, options: Mapping[str, object]) -> Self:
        """Build it from an address and the options of its section.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """
        return cls(address, options_from(SchemaRegistryOptions, "streams.schema_registry", options))

    def schema(self, number: int) -> str:
        """The schema of a number.

        Raises:
            KeyError: there is none.
            StreamError: the registry refuses.
            StreamUnavailableError: it cannot be reached.
        """
        request = urllib.request.Request(f"{self._address}/schemas/ids/{number}")
        if self._options.username:
            pair = f"{self._options.username}:{self._options.password}".encode()
            request.add_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=self._options.timeout_seconds) as answer:
                schema: str = json.load(answer)["schema"]
                return schema
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == _NOT_FOUND:
                raise KeyError(number) from None
            kind = StreamUnavailableError if error.code >= _FAULT else StreamError
            hint = "check streams.schema_registry.username and password" if error.code in _FORBIDDEN else ""
            raise kind(f"the schema registry {self._address} answers {error.code}", hint=hint) from error
        except OSError as error:
            raise StreamUnavailableError(
                f"the schema registry {self._address} cannot be reached: {error}",
                subject=self._address,
                hint="check that it runs and can be reached; reading goes on where it stopped",
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StreamError(f"the schema registry {self._address} answers without a schema") from error
