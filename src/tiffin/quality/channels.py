"""The ways by which people are told: a webhook, Slack, mail, a command, the log.

A channel sends one notice, with a deadline, and tries again inside it where that may help. Messages of its errors name
the channel and its host, and nothing of its address or of what it logs in with.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import smtplib
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from tiffin.contracts.options import options_from
from tiffin.errors import AlertError, AlertUnavailableError, ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.config import AlertConfig
    from tiffin.quality.notices import Notice

log = logging.getLogger("tiffin.alerts")

#: About how long before the second try; doubled for each further one.
_FIRST_PAUSE_SECONDS = 0.2
_BUSY = 429
_FAULT = 500
_LOCAL = ("localhost", "127.0.0.1", "::1")
_HINT = "what was not sent is sent by the next run"
#: As much of what a command says is passed on.
_MOST_SAID = 300


@dataclass(frozen=True)
class ChannelOptions:
    """Options that every channel has.

    Attributes:
        name: how messages call it, and how it is known which alerts it was told; its type when empty.
        deadline_seconds: how long sending may take, further tries included.
    """

    name: str = ""
    deadline_seconds: float = 10.0


@dataclass(frozen=True)
class WebhookOptions(ChannelOptions):
    """Options of ``webhook``, which is sent JSON.

    Attributes:
        url: where to.
        headers: sent with it, such as ``Authorization``.
    """

    url: str = field(default="", repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class EmailOptions(ChannelOptions):
    """Options of ``email``.

    Attributes:
        host, port: the SMTP server.
        tls: ``starttls``, ``tls`` from the first byte, or ``none``.
        username, password: who logs in; nobody when empty.
        sender: the address that it comes from.
        to: the addresses that it goes to.
    """

    host: str = ""
    port: int = 587
    tls: str = "starttls"
    username: str = ""
    password: str = field(default="", repr=False)
    sender: str = ""
    to: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CommandOptions(ChannelOptions):
    """Options of ``command``, which gets JSON on its standard input.

    Attributes:
        command: the program and its arguments; no shell looks at them.
    """

    command: list[str] = field(default_factory=list)


class Channel(ABC):
    """One way by which people are told."""

    options_type: ClassVar[type[ChannelOptions]] = ChannelOptions

    def __init__(self, name: str, options: Any) -> None:
        self.name = name
        self._deadline = options.deadline_seconds

    @abstractmethod
    def send(self, notice: Notice) -> None:
        """Send a notice.

        Raises:
            AlertError: it is refused, and trying again will not help.
            AlertUnavailableError: it could not be sent within the deadline.
        """

    def _insist(self, attempt: Callable[[float], None]) -> None:
        """Make attempts, each with the seconds that are left, until one is through or there is no time for another."""
        until, pause = time.monotonic() + self._deadline, _FIRST_PAUSE_SECONDS
        while True:
            try:
                attempt(until - time.monotonic())
            except AlertUnavailableError:
                wait = pause * random.uniform(0.5, 1.5)
                if time.monotonic() + wait >= until:
                    raise
                time.sleep(wait)
                pause *= 2
            else:
                return


class _KeepMethod(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the message would be lost, because it is followed without what was posted."""

    def redirect_request(self, *_: Any) -> None:
        return None


class WebhookChannel(Channel):
    """Posts JSON to an address."""

    options_type = WebhookOptions

    def __init__(self, name: str, options: WebhookOptions) -> None:
        super().__init__(name, options)
        parts = urlsplit(options.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or any(sign <= " " for sign in options.url):
            raise ConfigError(f"the url of the alerts' channel {name} is no address", hint="it begins with http(s)://")
        for header, value in options.headers.items():
            if not isinstance(value, str) or any(sign < " " for sign in header + value):
                raise ConfigError(f"the header {header!r} of the alerts' channel {name} is not one line of text")
        self._options = options
        self._host = parts.hostname
        self._opener = urllib.request.build_opener(_KeepMethod)

    def send(self, notice: Notice) -> None:
        """Post it; 200 to 299 means that it has arrived."""
        data = json.dumps(self.body(notice), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "tiffin", **self._options.headers}
        self._insist(lambda left: self._post(data, headers, left))

    def body(self, notice: Notice) -> dict[str, Any]:
        """What is posted."""
        return notice.to_dict()

    def _post(self, data: bytes, headers: Mapping[str, str], seconds: float) -> None:
        request = urllib.request.Request(self._options.url, data, dict(headers), method="POST")
        try:
            self._opener.open(request, timeout=seconds).close()
        except urllib.error.HTTPError as error:
            error.close()
            kind = AlertUnavailableError if error.code == _BUSY or error.code >= _FAULT else AlertError
            raise kind(f"{self._subject} answered {error.code}", subject=self._subject, hint=_HINT) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or str(error)
            raise AlertUnavailableError(
                f"{self._subject} cannot be reached: {reason}", subject=self._subject, hint=_HINT
            ) from None

    @property
    def _subject(self) -> str:
        return f"alerts' channel {self.name} ({self._host})"


class SlackChannel(WebhookChannel):
    """Posts what Slack's incoming webhooks take, and those of Mattermost and others who speak like it."""

    def body(self, notice: Notice) -> dict[str, Any]:
        """Text in Slack's markup; its three signs are escaped.

        Source: https://docs.slack.dev/messaging/formatting-message-text
        """
        title, *lines = (
            text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            for text in (notice.title, *notice.lines)
        )
        return {"text": "\n".join([f"*{title}*", *(f"• {line}" for line in lines)])}


class EmailChannel(Channel):
    """Sends mail by an SMTP server."""

    options_type = EmailOptions

    def __init__(self, name: str, options: EmailOptions) -> None:
        super().__init__(name, options)
        missing = [key for key in ("host", "sender", "to") if not getattr(options, key)]
        if missing:
            raise ConfigError(f"the alerts' channel {name} has no {missing[0]}", hint="it is needed for mail")
        if options.tls not in ("starttls", "tls", "none"):
            raise ConfigError(f"tls of the alerts' channel {name} is {options.tls!r}", hint="starttls, tls or none")
        if options.username and options.tls == "none" and options.host not in _LOCAL:
            hint = "set tls: starttls"
            raise ConfigError(f"the alerts' channel {name} would send its password for all to read", hint=hint)
        self._options = options

    def send(self, notice: Notice) -> None:
        """Send one mail to all."""
        message = EmailMessage()
        message["Subject"] = " ".join(f"[tiffin] {notice.title}".split())
        message["From"] = self._options.sender
        message["To"] = ", ".join(self._options.to)
        message.set_content("\n".join(notice.lines) + "\n")
        self._insist(lambda left: self._mail(message, left))

    def _mail(self, message: EmailMessage, seconds: float) -> None:
        subject = f"alerts' channel {self.name} ({self._options.host})"
        try:
            with self._connected(seconds) as server:
                refused = server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            raise AlertError(f"{subject} refuses all of its addresses", subject=subject, hint=_HINT) from error
        except smtplib.SMTPResponseException as error:
            # The answer may hold what was sent, so only its code is told.
            kind = AlertUnavailableError if error.smtp_code < _FAULT else AlertError
            raise kind(f"{subject} answered {error.smtp_code}", subject=subject, hint=_HINT) from None
        except (smtplib.SMTPNotSupportedError, ssl.SSLCertVerificationError) as error:
            raise AlertError(f"{subject} cannot be used: {error}", subject=subject, hint=_HINT) from error
        except (OSError, smtplib.SMTPException) as error:
            raise AlertUnavailableError(f"{subject} cannot be reached: {error}", subject=subject, hint=_HINT) from error
        if refused:
            log.warning("%s refuses %d of its addresses", subject, len(refused))

    @contextmanager
    def _connected(self, seconds: float) -> Iterator[smtplib.SMTP]:
        options = self._options
        if options.tls == "tls":
            context = ssl.create_default_context()
            server: smtplib.SMTP = smtplib.SMTP_SSL(options.host, options.port, timeout=seconds, context=context)
        else:
            server = smtplib.SMTP(options.host, options.port, timeout=seconds)
        with server:
            if options.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if options.username:
                server.login(options.username, options.password)
            yield server


class CommandChannel(Channel):
    """Runs a program, which gets the notice as JSON. It is run once: what it does twice is not known here."""

    options_type = CommandOptions

    def __init__(self, name: str, options: CommandOptions) -> None:
        super().__init__(name, options)
        if not options.command or not all(isinstance(word, str) for word in options.command):
            hint = "command: [program, argument, ...]"
            raise ConfigError(f"the alerts' channel {name} has no command", hint=hint)
        self._command = options.command

    def send(self, notice: Notice) -> None:
        """Run it; an exit code of 0 means that it has arrived."""
        subject = f"alerts' channel {self.name} ({self._command[0]})"
        data = json.dumps(notice.to_dict(), ensure_ascii=False).encode()
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            # Files and not pipes: what the program leaves running in the background would hold a pipe open.
            given.write(data)
            given.seek(0)
            try:
                process = subprocess.Popen(
                    self._command, stdin=given, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
                )
            except OSError as error:
                raise AlertError(f"{subject} cannot be run: {error.strerror}", subject=subject, hint=_HINT) from error
            try:
                code = process.wait(self._deadline)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise AlertUnavailableError(
                    f"{subject} was not done within {self._deadline:g} s", subject=subject, hint=_HINT
                ) from None
            if code:
                said.seek(0)
                words = said.read(_MOST_SAID).decode(errors="replace").strip()
                raise AlertError(f"{subject} ended with {code}: {words}", subject=subject, hint=_HINT)


class LogChannel(Channel):
    """Writes to the log of the process, ``tiffin.alerts``."""

    def send(self, notice: Notice) -> None:
        """Write a line for each finding."""
        for line in notice.lines:
            log.warning("%s: %s", notice.project, line)


CHANNELS: Mapping[str, type[Channel]] = {
    "webhook": WebhookChannel,
    "slack": SlackChannel,
    "email": EmailChannel,
    "command": CommandChannel,
    "log": LogChannel,
}


def open_channel(config: AlertConfig) -> Channel:
    """A channel by its settings; nothing is sent.

    Raises:
        ConfigError: the type or an option is unknown or wrong.
    """
    kind = CHANNELS.get(config.type)
    if kind is None:
        raise ConfigError(f"quality.alerts has no type {config.type!r}", hint=nearest(config.type, CHANNELS))
    options = options_from(kind.options_type, "quality.alerts", config.options)
    if not options.deadline_seconds > 0:
        raise ConfigError(
            f"quality.alerts.deadline_seconds is {options.deadline_seconds!r}", hint="give seconds above 0"
        )
    return kind(options.name or config.type, options)
