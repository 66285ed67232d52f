"""Checks, and who is told of what they find: once, and once when it is over, whatever fails in between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from quality.projects import open_store, view, write_source
from tiffin.errors import AlertError, AlertUnavailableError, ConfigError, RequestError, SourceError, StoreError
from tiffin.operations.context import Context
from tiffin.quality import monitor as monitor_module
from tiffin.quality.alerts import AlertBook
from tiffin.quality.channels import CHANNELS, Channel
from tiffin.quality.checks import Check, Finding
from tiffin.quality.freshness_history import FreshnessHistory, Look
from tiffin.quality.monitor import MonitorReport, monitor, watch
from tiffin.quality.notices import Notice
from tiffin.quality.report import project_report
from tiffin.store import FeatureStore
from tiffin.time import HOUR_US


@dataclass
class Fake(Channel):
    """Keeps what it is sent; fails while it is told to."""

    name: str = "fake"
    fails: bool = False
    sent: list[tuple[list[str], list[str]]] = field(default_factory=list)

    def send(self, notice: Notice) -> None:
        if self.fails:
            raise AlertUnavailableError("nobody answers")
        self.sent.append(([a.finding.subject for a in notice.raised], [a.finding.subject for a in notice.resolved]))


class Book:
    """A book of alerts that is opened anew for every run, as a scheduler does."""

    def __init__(self, path: Path, repeat_hours: float = 24) -> None:
        self.path, self.repeat_hours, self.now_us = path, repeat_hours, 0

    def run(self, channels: list[Fake], *subjects: str, checks: tuple[str, ...] = ("c",), hours: float = 1) -> None:
        self.now_us += int(hours * HOUR_US)
        book = AlertBook(self.path, self.repeat_hours)
        book.update([Finding("c", subject, f"at {self.now_us}") for subject in subjects], checks, self.now_us)
        book.tell(channels, "shop", self.now_us)

    @property
    def open(self) -> list[str]:
        return [alert.finding.subject for alert in AlertBook(self.path, 0).open]


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "quality" / "alerts.json")


def test_everybody_is_told_once_and_once_when_it_is_over(book: Book) -> None:
    one, two = Fake("one"), Fake("two")
    for found in (["a"], ["a"], ["a", "b"], ["b"], ["b"], [], []):
        book.run([one, two], *found)
    expected = [(["a"], []), (["b"], []), ([], ["a"]), ([], ["b"])]
    assert one.sent == two.sent == expected
    assert json.loads(book.path.read_text()) == {}


def test_what_still_holds_is_told_again_after_a_while(book: Book) -> None:
    channel = Fake()
    for _ in range(50):
        book.run([channel], "a")
    assert [raised for raised, _ in channel.sent] == [["a"]] * 3
    assert book.open == ["a"]


def test_nothing_is_told_again_when_that_is_turned_off(tmp_path: Path) -> None:
    book, channel = Book(tmp_path / "alerts.json", repeat_hours=0), Fake()
    for _ in range(50):
        book.run([channel], "a", hours=100)
    assert channel.sent == [(["a"], [])]


def test_channel_that_failed_is_told_later_and_the_others_not_again(book: Book) -> None:
    well, ill = Fake("well"), Fake("ill", fails=True)
    book.run([ill, well], "a")
    book.run([ill, well], "a")
    ill.fails = False
    book.run([ill, well], "a")
    assert well.sent == ill.sent == [(["a"], [])]
    ill.fails = True
    book.run([ill, well])
    ill.fails = False
    book.run([ill, well])
    assert well.sent == ill.sent == [(["a"], []), ([], ["a"])]


def test_what_comes_and_goes_untold_is_told_to_nobody(book: Book) -> None:
    ill = Fake(fails=True)
    book.run([ill], "a")
    book.run([ill])
    ill.fails = False
    book.run([ill])
    assert ill.sent == []


def test_what_comes_back_is_told_again_to_those_who_took_it_for_over(book: Book) -> None:
    well, ill = Fake("well"), Fake("ill")
    book.run([ill, well], "a")
    ill.fails = True
    book.run([ill, well])
    ill.fails = False
    book.run([ill, well], "a")
    assert well.sent == [(["a"], []), ([], ["a"]), (["a"], [])]
    assert ill.sent == [(["a"], [])]


def test_check_that_did_not_look_ends_nothing(book: Book) -> None:
    channel = Fake()
    book.run([channel], "a")
    book.run([channel], checks=("d",))
    assert book.open == ["a"]
    assert channel.sent == [(["a"], [])]


def test_channel_that_is_new_is_told_what_is_open_and_one_that_is_gone_is_forgotten(book: Book) -> None:
    old, new = Fake("old"), Fake("new")
    book.run([old], "a")
    book.run([new], "a")
    book.run([new])
    assert new.sent == [(["a"], []), ([], ["a"])]
    assert json.loads(book.path.read_text()) == {}


@pytest.mark.parametrize("content", [b"", b"{", b'{"x": 1}', b"\xff"])
def test_broken_book_tells_again_rather_than_nothing(
    book: Book, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    channel = Fake()
    book.run([channel], "a")
    book.path.write_bytes(content)
    book.run([channel], "a")
    assert channel.sent == [(["a"], [])] * 2
    assert "is not what was written" in caplog.text


def test_book_that_cannot_be_reached_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be read"):
        Book(tmp_path / "file" / "alerts.json").run([Fake()], "a")


# --- Runs


class Fails(Check):
    """A check that cannot look."""

    name: ClassVar[str] = "fails"
    works: ClassVar[bool] = False

    def run(self, ctx: Context) -> list[Finding]:
        if not self.works:
            raise SourceError("the disk is gone")
        return []


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureStore]:
    write_source(tmp_path, [90])
    monkeypatch.setitem(CHANNELS, "fake", Sent)  # type: ignore[arg-type]
    monkeypatch.setattr(Sent, "sent", [])
    late = view(online=False, freshness=timedelta(hours=1))
    with open_store(tmp_path, late, quality={"alerts": [{"type": "fake"}]}) as store:
        yield store


class Sent(Channel):
    """Keeps what all of its kind were sent."""

    sent: ClassVar[list[Notice]] = []

    def send(self, notice: Notice) -> None:
        self.sent.append(notice)


def test_run_finds_tells_and_ends(store: FeatureStore, tmp_path: Path) -> None:
    report = store.monitor()
    assert [finding.subject for finding in report.findings] == ["feature view stats"]
    assert (report.sent, report.checks, report.is_well) == (1, tuple(monitor_module.CHECKS), False)
    assert store.monitor().sent == 0
    write_source(tmp_path, [5])
    assert store.monitor().is_well
    assert [(len(notice.raised), len(notice.resolved)) for notice in Sent.sent] == [(1, 0), (0, 1)]


def test_run_without_alerts_keeps_and_tells_nothing(store: FeatureStore) -> None:
    report = store.monitor(tell=False)
    assert len(report.findings) == 1
    assert Sent.sent == []
    assert store.monitor().sent == 1


def test_check_that_cannot_look_is_told_and_hides_no_other(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "CHECKS", {"fails": Fails, **monitor_module.CHECKS})
    report = store.monitor()
    assert list(report.failed) == ["fails"]
    assert len(report.findings) == 1
    assert [alert.finding.message for alert in Sent.sent[0].raised] == [
        report.findings[0].message,
        "it could not look: the disk is gone",
    ]
    monkeypatch.setattr(Fails, "works", True)
    store.monitor()
    assert [alert.finding.subject for alert in Sent.sent[1].resolved] == ["check fails"]


def test_unknown_check_and_channels_of_one_name_are_errors(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no check 'fresh'"):
        store.monitor(["fresh"])
    two = {"alerts": [{"type": "log"}, {"type": "log"}]}
    with open_store(tmp_path, view(), quality=two) as other, pytest.raises(ConfigError, match="several channels"):
        other.monitor()


def test_channel_that_fails_is_in_the_report(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Channel, notice: Notice) -> None:
        raise AlertError("not you")

    monkeypatch.setattr(Sent, "send", refuse)
    report = store.monitor()
    assert [error.message for error in report.unsent] == ["not you"]
    assert report.to_dict()["unsent"][0]["code"] == "alert"


def test_watch_goes_on_until_it_is_stopped(store: FeatureStore) -> None:
    stop, seen = threading.Event(), []

    def look(report: MonitorReport) -> None:
        seen.append(report)
        if len(seen) == 3:
            stop.set()

    watch(store.context, 0.001, stop, look)
    assert len(seen) == 3
    assert len(Sent.sent) == 1


def test_watch_outlives_a_store_that_fails(
    store: FeatureStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").mkdir(exist_ok=True)
    blocked = tmp_path / "data" / "quality"
    blocked.write_text("")
    stop, logged = threading.Event(), caplog

    def mend(seconds: float) -> bool:
        if blocked.is_file():
            blocked.unlink()
        return False

    stop.wait = mend  # type: ignore[method-assign,assignment]
    watch(store.context, 1, stop, lambda report: stop.set() if report.sent else None)
    assert "cannot be written" in logged.text
    assert len(Sent.sent) == 1


# --- History and report


def test_history_thins_out_and_keeps_the_newest(tmp_path: Path, store: FeatureStore) -> None:
    history = FreshnessHistory(tmp_path / "history.jsonl", most_bytes=2000)
    report = store.freshness()
    for _ in range(200):
        history.keep(report)
    assert (tmp_path / "history.jsonl").stat().st_size <= 2200
    assert 10 < len(history.looks()) < 100
    assert history.looks()[-1] == Look(report.now_us, {"stats": report.views[0].newest_us})


def test_torn_line_of_the_history_is_passed_over(tmp_path: Path, store: FeatureStore) -> None:
    history = FreshnessHistory(tmp_path / "history.jsonl")
    history.keep(store.freshness())
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'{"now_us": 12\n')
    history.keep(store.freshness())
    assert len(history.looks()) == 2


def test_report_has_what_is_and_what_was(store: FeatureStore) -> None:
    monitor(store.context)
    store.context.clock.advance(timedelta(minutes=30))  # type: ignore[attr-defined]
    monitor(store.context)
    report = project_report(store.context)
    found = report.to_dict()
    assert [each["age_seconds"] for each in found["history"]["stats"]] == [5400, 7200]
    assert [alert["subject"] for alert in found["alerts"]] == ["feature view stats"]
    html = report.page().html()
    assert "<polyline" in html
    assert "feature view stats" in html
    for outside in ("http:", "https:", "<script", "<link", "@import"):
        assert outside not in html


def test_report_on_a_project_that_nobody_looked_at(store: FeatureStore) -> None:
    html = project_report(store.context).page().html()
    assert "two runs make a plot" in html


def test_report_escapes_what_it_shows(tmp_path: Path) -> None:
    write_source(tmp_path, [90])
    with open_store(tmp_path, view("<b>x</b>", online=False, freshness=timedelta(hours=1))) as store:
        store.monitor()
        html = project_report(store.context).page().html()
    assert "<b>x" not in html
    assert "&lt;b&gt;x" in html


# --- The command line


SETTINGS = """
project: shop
registry: registry.db
quality:
  alerts:
    - type: command
      command: [sh, -c, cat >> told]
"""
DEFINITIONS = """
from datetime import timedelta
from tiffin import Entity, FeatureView, Field, FileSource
from tiffin.types import Int64

driver = Entity(name="driver", join_keys=["driver"])
stats = FeatureView(
    name="stats",
    entities=[driver],
    source=FileSource(name="stats", path="stats.parquet", timestamp_field="ts"),
    schema=[Field(name="driver", dtype=Int64), Field(name="x", dtype=Int64)],
    freshness=timedelta(hours=1),
)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_source(tmp_path, [90])
    (tmp_path / "feature_store.yaml").write_text(SETTINGS)
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    assert tiffin(tmp_path, "apply").returncode == 0
    return tmp_path


def tiffin(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tiffin.cli", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)


def test_commands_say_what_is_late(repository: Path) -> None:
    shown = tiffin(repository, "monitor", "freshness")
    assert shown.returncode == 1
    assert "stats: nothing was written online yet" in shown.stdout
    assert tiffin(repository, "materialize", "2000-01-01", "2100-01-01").returncode == 0
    data = tiffin(repository, "monitor", "freshness", "--json")
    assert data.returncode == 1
    (found,) = json.loads(data.stdout)["views"]
    assert found["status"] == "stale"
    ran = tiffin(repository, "monitor", "run", "--json")
    assert (ran.returncode, json.loads(ran.stdout)["sent"]) == (1, 1)
    assert json.loads((repository / "told").read_text())["raised"][0]["subject"] == "feature view stats"
    assert tiffin(repository, "monitor", "report", "--html", "out.html").returncode == 0
    assert (repository / "out.html").read_text().startswith("<!doctype html>")
    data = tiffin(repository, "monitor", "report", "--json")
    assert json.loads(data.stdout)["alerts"][0]["subject"] == "feature view stats"
    wrong = tiffin(repository, "monitor", "report", "--html", "no/out.html")
    assert wrong.returncode == 1
    assert "the report cannot be written to no/out.html" in wrong.stderr


def test_watch_ends_gently(repository: Path) -> None:
    command = [sys.executable, "-m", "tiffin.cli", "monitor", "watch", "--every", "1h"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert "1 findings" in lines[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(100) == 0


def test_configuration_is_shown_without_addresses(repository: Path) -> None:
    with (repository / "feature_store.yaml").open("a") as file:
        file.write("    - {type: slack, url: https://hooks.example.com/s3cr3t}\n")
    (_, slack) = json.loads(tiffin(repository, "configuration", "--json").stdout)["quality"]["alerts"]
    assert slack == {"type": "slack", "url": "***"}


@pytest.mark.parametrize("time", ["soon", "0s"])
def test_pause_that_is_none_is_refused(repository: Path, time: str) -> None:
    assert tiffin(repository, "monitor", "watch", "--every", time).returncode == 2
