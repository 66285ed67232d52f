"""Channels against a real HTTP server and a real mail server on this machine: what arrives, and what goes wrong."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from servers import free_port
from tiffin.config import AlertConfig, RepoConfig
from tiffin.errors import AlertError, AlertUnavailableError, ConfigError
from tiffin.quality import channels
from tiffin.quality.channels import open_channel
from tiffin.quality.checks import Finding
from tiffin.quality.notices import Alert, Notice
from tiffin.time import to_us

NOW_US = to_us("2024-06-01T12:00:00Z")
SECRET = "s3cr3t"


def alert(subject: str = "feature view stats", message: str = "its newest fact is 3h old") -> Alert:
    return Alert(Finding("freshness", subject, message, "load it"), NOW_US - 1_000_000)


NOTICE = Notice("shop", NOW_US, (alert(),), (alert("feature view trips"),))


class Server:
    """Answers with the codes that it is given, one after the other, then with 200; code 0 is no answer."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.bodies: list[Any] = []
        self.headers: list[Any] = []
        self.hangs = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                outer.headers.append(self.headers)
                code = outer.codes.pop(0) if outer.codes else 200
                if not code:
                    outer.hangs.wait(30)
                    return
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/{SECRET}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.hangs.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "_FIRST_PAUSE_SECONDS", 0.001)


def send(**settings: Any) -> None:
    open_channel(AlertConfig(**settings)).send(NOTICE)


# --- Webhooks


def test_webhook_gets_what_is_new_and_what_is_over(server: Server) -> None:
    send(type="webhook", url=server.url, headers={"Authorization": f"Bearer {SECRET}"})
    (body,) = server.bodies
    assert body["project"] == "shop"
    assert body["raised"] == [
        {
            "check": "freshness",
            "subject": "feature view stats",
            "message": "its newest fact is 3h old",
            "hint": "load it",
            "since": "2024-06-01T11:59:59Z",
        }
    ]
    assert [each["subject"] for each in body["resolved"]] == ["feature view trips"]
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert server.headers[0]["Content-Type"] == "application/json"


def test_slack_gets_text_in_its_markup(server: Server) -> None:
    notice = Notice("shop", NOW_US, (alert(message="a < b & c > d"),), ())
    open_channel(AlertConfig(type="slack", url=server.url)).send(notice)
    (body,) = server.bodies
    assert body == {
        "text": "*shop: freshness: feature view stats*\n• feature view stats: a &lt; b &amp; c &gt; d",
    }


def test_message_for_people_does_not_grow_without_end(server: Server) -> None:
    many = tuple(alert(f"feature view v{number}") for number in range(500))
    open_channel(AlertConfig(type="slack", url=server.url)).send(Notice("shop", NOW_US, many, ()))
    lines = server.bodies[0]["text"].splitlines()
    assert len(lines) == 42
    assert lines[-1] == "• ... and 460 more"


@pytest.mark.parametrize("code", [500, 503, 429])
def test_server_that_fails_for_a_moment_is_tried_again(server: Server, code: int) -> None:
    server.codes = [code, code]
    send(type="webhook", url=server.url)
    assert len(server.bodies) == 3
    assert server.bodies[0] == server.bodies[2]


@pytest.mark.parametrize("code", [302, 400, 401, 404, 410])
def test_refusal_is_not_tried_again(server: Server, code: int) -> None:
    server.codes = [code]
    with pytest.raises(AlertError, match=rf"alerts' channel webhook \(127.0.0.1\) answered {code}") as caught:
        send(type="webhook", url=server.url)
    assert len(server.bodies) == 1
    assert not caught.value.retryable
    assert SECRET not in str(caught.value)


def test_server_that_fails_for_good_ends_with_the_deadline(server: Server) -> None:
    server.codes = [500] * 100_000
    # The last try may be cut off by the deadline.
    with pytest.raises(AlertUnavailableError, match=r"answered 500|timed out"):
        send(type="webhook", url=server.url, deadline_seconds=2)
    assert len(server.bodies) > 1


def test_server_that_hangs_ends_with_the_deadline(server: Server) -> None:
    server.codes = [0] * 100
    with pytest.raises(AlertUnavailableError, match="cannot be reached: timed out"):
        send(type="webhook", url=server.url, deadline_seconds=0.2)


def test_server_that_is_not_there(server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/{SECRET}"
    with pytest.raises(AlertUnavailableError, match="Connection refused") as caught:
        send(type="webhook", url=url, deadline_seconds=0.2)
    assert SECRET not in str(caught.value)


# --- Mail


class Mails:
    """Keeps mails; refuses what its ``refuses`` is in."""

    def __init__(self) -> None:
        self.received: list[tuple[list[str], str]] = []
        self.answer = "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answer == "250 OK":
            self.received.append((envelope.rcpt_tos, envelope.content.decode()))
        answer, self.answer = self.answer, "250 OK"
        return answer

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"


@pytest.fixture
def mails() -> Iterator[tuple[Mails, int]]:
    mails = Mails()

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == SECRET.encode(), handled=False)

    controller = Controller(mails, "127.0.0.1", free_port(), authenticator=authenticate, auth_require_tls=False)
    controller.start()
    yield mails, controller.port
    controller.stop()


def mail(port: int, **settings: Any) -> None:
    send(
        **{
            "type": "email",
            "host": "127.0.0.1",
            "port": port,
            "tls": "none",
            "sender": "tiffin@example.com",
            "to": ["a@example.com", "b@example.com"],
            **settings,
        }
    )


def test_mail_arrives_at_all(mails: tuple[Mails, int]) -> None:
    mail(mails[1])
    ((to, text),) = mails[0].received
    assert to == ["a@example.com", "b@example.com"]
    assert "Subject: [tiffin] shop: freshness: feature view stats, 1 resolved" in text
    assert "feature view stats: its newest fact is 3h old" in text
    assert "resolved: feature view trips (freshness)" in text


def test_subject_of_a_mail_is_one_line(mails: tuple[Mails, int]) -> None:
    channel = AlertConfig(
        type="email", host="127.0.0.1", port=mails[1], tls="none", sender="a@example.com", to=["b@example.com"]
    )
    open_channel(channel).send(Notice("shop", NOW_US, (alert("x\r\nBcc: c@example.com"),), ()))
    ((to, _),) = mails[0].received
    assert to == ["b@example.com"]


def test_mail_logs_in(mails: tuple[Mails, int]) -> None:
    mail(mails[1], username="me", password=SECRET)
    assert len(mails[0].received) == 1
    with pytest.raises(AlertError, match="answered 535") as caught:
        mail(mails[1], username="me", password="wrong-pass")
    assert "wrong-pass" not in str(caught.value)
    assert not caught.value.retryable


def test_mail_server_that_is_busy_is_tried_again(mails: tuple[Mails, int]) -> None:
    mails[0].answer = "451 later"
    mail(mails[1])
    assert len(mails[0].received) == 1


def test_mail_that_is_refused_is_not_tried_again(mails: tuple[Mails, int]) -> None:
    mails[0].answer = "554 spam"
    with pytest.raises(AlertError, match="answered 554"):
        mail(mails[1])
    with pytest.raises(AlertError, match="refuses all of its addresses"):
        mail(mails[1], to=["nobody@example.com"])
    assert mails[0].received == []


def test_address_that_is_refused_does_not_hold_up_the_others(
    mails: tuple[Mails, int], caplog: pytest.LogCaptureFixture
) -> None:
    mail(mails[1], to=["nobody@example.com", "a@example.com"])
    assert [to for to, _ in mails[0].received] == [["a@example.com"]]
    assert "refuses 1 of its addresses" in caplog.text


def test_mail_server_without_tls_is_not_trusted(mails: tuple[Mails, int]) -> None:
    with pytest.raises(AlertError, match="STARTTLS"):
        mail(mails[1], tls="starttls")


def test_mail_server_that_hangs_or_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(AlertUnavailableError, match="timed out"):
            mail(port, deadline_seconds=0.2)
    with pytest.raises(AlertUnavailableError, match="refused"):
        mail(port, deadline_seconds=0.2)


# --- Commands and the log


def test_command_gets_json(tmp_path: Path) -> None:
    program = f"import shutil, sys; shutil.copyfileobj(sys.stdin, open({str(tmp_path / 'got')!r}, 'w'))"
    send(type="command", command=[sys.executable, "-c", program])
    assert json.loads((tmp_path / "got").read_text()) == NOTICE.to_dict()


def test_command_that_fails_says_why() -> None:
    with pytest.raises(AlertError, match="ended with 3: no pager"):
        send(
            type="command",
            command=[sys.executable, "-c", "import sys; print('no pager', file=sys.stderr); sys.exit(3)"],
        )


def test_command_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(AlertUnavailableError, match="not done within 2 s"):
        send(type="command", command=["sh", "-c", f"sleep 300 & echo $! > {pid}; wait"], deadline_seconds=2)
    with contextlib.suppress(ProcessLookupError):
        left_behind = os.pidfd_open(int(pid.read_text()))
        ended, _, _ = select.select([left_behind], [], [], 100)
        os.close(left_behind)
        assert ended


def test_command_that_is_not_there() -> None:
    with pytest.raises(AlertError, match="cannot be run: No such file"):
        send(type="command", command=["/no/such/program"])


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tiffin.alerts"):
        send(type="log")
    assert "shop: feature view stats: its newest fact is 3h old" in caplog.text


# --- Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "pager"}, "no type 'pager'"),
        ({"type": "webhook"}, "is no address"),
        ({"type": "webhook", "url": "file:///etc/passwd"}, "is no address"),
        ({"type": "webhook", "url": "http://host/a b"}, "is no address"),
        ({"type": "webhook", "url": "http://host/", "headers": {"A": "b\nC: d"}}, "header 'A'"),
        ({"type": "webhook", "url": "http://host/", "urll": ""}, "no option 'urll'"),
        ({"type": "slack", "url": "http://host/", "deadline_seconds": 0}, "deadline_seconds is 0"),
        ({"type": "email", "host": "h", "to": ["a@b"]}, "has no sender"),
        ({"type": "email", "host": "h", "sender": "a@b"}, "has no to"),
        ({"type": "email", "host": "h", "sender": "a@b", "to": ["a@b"], "tls": "yes"}, "tls"),
        (
            {"type": "email", "host": "h", "sender": "a@b", "to": ["a@b"], "tls": "none", "username": "u"},
            "for all to read",
        ),
        ({"type": "command"}, "has no command"),
        ({"type": "command", "command": "rm -rf /"}, "where list is expected"),
        ({"type": "command", "command": ["a", 1]}, "has no command"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_channel(AlertConfig(**settings))


def test_settings_are_shown_without_secrets() -> None:
    hook = {"type": "webhook", "url": f"https://host/{SECRET}", "headers": {"Authorization": SECRET}}
    mail = {"type": "email", "host": "host", "password": SECRET}
    config = RepoConfig(project="shop", quality={"alerts": [hook, mail]})
    assert SECRET not in repr(config)
    assert SECRET not in repr(channels.WebhookOptions(url=SECRET, headers={"a": SECRET}))
    assert SECRET not in repr(channels.EmailOptions(password=SECRET))
