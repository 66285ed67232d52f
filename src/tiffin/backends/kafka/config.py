"""Options of Kafka in the section ``streams.kafka``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiffin.errors import ConfigError


@dataclass(frozen=True)
class KafkaOptions:
    """How the brokers are reached; for all sources in Kafka.

    Attributes:
        security_protocol: ``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``.
        sasl_mechanism: ``PLAIN``, ``SCRAM-SHA-256``, ``SCRAM-SHA-512`` or another one that librdkafka knows.
        sasl_username, sasl_password: who asks.
        ssl_ca_location: the file of the authorities to trust; the system's when empty.
        ssl_certificate_location, ssl_key_location, ssl_key_password: the client's certificate and key.
        ssl_verify: refuse brokers whose certificate is not trusted.
        session_timeout_seconds: a worker that is not heard of so long has lost its partitions to the others.
        timeout_seconds: how long an answer of the brokers may take, before the first message and for positions.
        properties: further settings of librdkafka by their own names.
    """

    security_protocol: str = ""
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    ssl_ca_location: str = ""
    ssl_certificate_location: str = ""
    ssl_key_location: str = ""
    ssl_key_password: str = field(default="", repr=False)
    ssl_verify: bool = True
    session_timeout_seconds: float = 10.0
    timeout_seconds: float = 10.0
    properties: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in ("session_timeout_seconds", "timeout_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"streams.kafka.{name} is {getattr(self, name)!r}", hint="give seconds above 0")
        taken = _OWN & self.properties.keys()
        if taken:
            raise ConfigError(f"streams.kafka.properties: {min(taken)!r} is set by tiffin", hint="leave it out")

    def client(self) -> dict[str, Any]:
        """The settings of any client of librdkafka."""
        plain = {
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password,
            "ssl.ca.location": self.ssl_ca_location,
            "ssl.certificate.location": self.ssl_certificate_location,
            "ssl.key.location": self.ssl_key_location,
            "ssl.key.password": self.ssl_key_password,
        }
        found: dict[str, Any] = {name: value for name, value in plain.items() if value}
        if not self.ssl_verify:
            found["enable.ssl.certificate.verification"] = False
        return found | self.properties

    def java_client(self) -> dict[str, str]:
        """The same as settings of Kafka's client for Java; certificates and keys as text, so that no file is needed.

        Raises:
            ConfigError: that client has no such setting, or a file cannot be read.
        """
        if not self.ssl_verify:
            hint = "name the authority of the brokers in ssl_ca_location"
            raise ConfigError("streams.kafka.ssl_verify: Kafka's client for Java always checks certificates", hint=hint)
        plain = {
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.jaas.config": self._login(),
            "ssl.truststore.certificates": _text_of("ssl_ca_location", self.ssl_ca_location),
            "ssl.keystore.certificate.chain": _text_of("ssl_certificate_location", self.ssl_certificate_location),
            "ssl.keystore.key": _text_of("ssl_key_location", self.ssl_key_location),
            "ssl.key.password": self.ssl_key_password,
        }
        found = {name: value for name, value in plain.items() if value}
        for kind, given in (("truststore", self.ssl_ca_location), ("keystore", self.ssl_certificate_location)):
            if given:
                found[f"ssl.{kind}.type"] = "PEM"
        return found | {name: str(value) for name, value in self.properties.items()}

    def _login(self) -> str:
        """User and password, as Java's login modules want them; empty for mechanisms that have others."""
        module = "plain.Plain" if self.sasl_mechanism == "PLAIN" else "scram.Scram"
        if not self.sasl_username or not self.sasl_mechanism.startswith(("PLAIN", "SCRAM-")):
            return ""
        name = f"org.apache.kafka.common.security.{module}LoginModule"
        return f"{name} required username={_quoted(self.sasl_username)} password={_quoted(self.sasl_password)};"


def _quoted(text: str) -> str:
    """Text as Java's files of logins have it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text_of(option: str, path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"streams.kafka.{option}: {path} cannot be read: {error}") from error


#: What the reader relies on.
_OWN = frozenset(
    {"bootstrap.servers", "group.id", "enable.auto.commit", "auto.offset.reset", "partition.assignment.strategy"}
)
