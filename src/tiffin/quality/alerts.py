"""Who was told what: findings become alerts, which each channel is told once, and told when they are over.

What was told is kept in a file of the project, which is replaced whole after each channel. A run that is killed in
between tells one channel twice; nobody is left untold. A channel that fails is tried again by the next run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tiffin.errors import AlertError, StoreError
from tiffin.quality.channels import Channel
from tiffin.quality.checks import Finding
from tiffin.quality.files import locked, monitor_file, replace_file
from tiffin.quality.notices import Alert, Notice
from tiffin.time import HOUR_US

if TYPE_CHECKING:
    from tiffin.operations.context import Context

log = logging.getLogger("tiffin.alerts")

_FILE = "alerts.json"


class Told(msgspec.Struct):
    """One alert, and who knows of it.

    Attributes:
        finding: as it was seen last.
        since_us: when it was seen first.
        over_us: when it was not found any more; ``None`` while it is.
        channels: by channel, when it was told last.
    """

    finding: Finding
    since_us: int
    over_us: int | None = None
    channels: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def alert(self) -> Alert:
        """As it is sent."""
        return Alert(self.finding, self.since_us)


class AlertBook:
    """The alerts of a project, in a file.

    Args:
        path: the file.
        repeat_hours: after so long what still holds is told again; 0 for never.

    Raises:
        StoreError: the file cannot be read.
    """

    def __init__(self, path: Path, repeat_hours: float) -> None:
        self._path = path
        self._repeat_us = int(repeat_hours * HOUR_US)
        self._told = self._read()

    @classmethod
    @contextmanager
    def held(cls, ctx: Context) -> Iterator[AlertBook]:
        """That of a project; others who want it wait until it is done.

        Raises:
            StoreError: its files cannot be written.
        """
        path = monitor_file(ctx, _FILE)
        with locked(path.with_suffix(".lock")):
            yield cls(path, ctx.config.quality.repeat_hours)

    @classmethod
    def seen(cls, ctx: Context) -> AlertBook:
        """That of a project, to look into only."""
        return cls(monitor_file(ctx, _FILE), ctx.config.quality.repeat_hours)

    @property
    def open(self) -> list[Alert]:
        """What is wrong at present, the oldest first."""
        found = [each.alert for each in self._told.values() if each.over_us is None]
        return sorted(found, key=lambda alert: (alert.since_us, alert.finding.key))

    def update(self, findings: Iterable[Finding], checks: Iterable[str], now_us: int) -> None:
        """Take in what was found.

        Args:
            findings: all of them.
            checks: which checks have looked; what others found before still stands.
            now_us: the moment.
        """
        looked = set(checks)
        found = {finding.key: finding for finding in findings}
        for key, finding in found.items():
            known = self._told.get(key)
            if known is None:
                self._told[key] = Told(finding, now_us)
                continue
            if known.over_us is not None:
                # Channels that were not told that it was over need not be told that it is back.
                known.since_us, known.over_us = now_us, None
            known.finding = finding
        for key, known in self._told.items():
            if key not in found and known.finding.check in looked and known.over_us is None:
                known.over_us = now_us
        self._write()

    def tell(self, channels: Sequence[Channel], project: str, now_us: int) -> tuple[int, list[AlertError]]:
        """Tell each channel what it does not know yet.

        Returns:
            How many notices were sent, and what became of the others.
        """
        sent, failed = 0, []
        for channel in channels:
            raised = {key: each for key, each in self._told.items() if self._is_news(each, channel.name, now_us)}
            over = {key: each for key, each in self._told.items() if each.over_us and channel.name in each.channels}
            if not raised and not over:
                continue
            alerts, resolved = (tuple(each.alert for each in part.values()) for part in (raised, over))
            try:
                channel.send(Notice(project, now_us, alerts, resolved))
            except AlertError as error:
                log.warning("%s", error.message)
                failed.append(error)
                continue
            sent += 1
            for each in raised.values():
                each.channels[channel.name] = now_us
            for each in over.values():
                del each.channels[channel.name]
            self._write()
        self._forget({channel.name for channel in channels})
        return sent, failed

    def _is_news(self, told: Told, channel: str, now_us: int) -> bool:
        if told.over_us is not None:
            return False
        last_us = told.channels.get(channel)
        return last_us is None or bool(self._repeat_us and now_us - last_us >= self._repeat_us)

    def _forget(self, channels: set[str]) -> None:
        """Forget what is over, as soon as all who were told know it; channels that are gone need not."""
        for each in self._told.values():
            each.channels = {name: us for name, us in each.channels.items() if name in channels}
        self._told = {key: each for key, each in self._told.items() if each.over_us is None or each.channels}
        self._write()

    def _read(self) -> dict[str, Told]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Told])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {error}", subject=str(self._path)) from error
        except msgspec.MsgspecError:
            # Alerts that are told twice do less harm than alerts that are told to nobody.
            log.warning("%s is not what was written: what was told is forgotten, and told again", self._path)
            return {}

    def _write(self) -> None:
        replace_file(self._path, msgspec.json.format(msgspec.json.encode(self._told), indent=1))
