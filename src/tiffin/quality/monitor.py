"""Run the checks of a project, and tell people: once by a scheduler, or over and over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tiffin.errors import AlertError, ConfigError, RequestError, TiffinError, nearest
from tiffin.quality.alerts import AlertBook
from tiffin.quality.channels import open_channel
from tiffin.quality.checks import Check, Finding
from tiffin.quality.drift_check import DriftCheck
from tiffin.quality.freshness_check import FreshnessCheck
from tiffin.quality.quarantine_check import QuarantineCheck
from tiffin.quality.verify_check import VerifyCheck
from tiffin.time import format_us

if TYPE_CHECKING:
    import threading

    from tiffin.operations.context import Context

log = logging.getLogger("tiffin.monitor")

#: The checks that there are, by name. A further one is a class and a line here.
CHECKS: Mapping[str, type[Check]] = {
    check.name: check for check in (FreshnessCheck, QuarantineCheck, VerifyCheck, DriftCheck)
}


@dataclass(frozen=True)
class MonitorReport:
    """What a run found and whom it told.

    Attributes:
        now_us: when it began.
        checks: which checks have looked.
        findings: what they found.
        failed: checks that could not look, and why.
        sent: how many notices were sent.
        unsent: what became of notices that could not be sent.
    """

    now_us: int
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]
    failed: Mapping[str, TiffinError]
    sent: int = 0
    unsent: tuple[AlertError, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether everything was looked at, nothing was found, and everybody knows it."""
        return not (self.findings or self.failed or self.unsent)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "now": format_us(self.now_us),
            "checks": list(self.checks),
            "findings": [finding.to_dict() for finding in self.findings],
            "failed": {name: error.to_dict() for name, error in self.failed.items()},
            "sent": self.sent,
            "unsent": [error.to_dict() for error in self.unsent],
        }


def monitor(ctx: Context, checks: Sequence[str] = (), *, tell: bool = True) -> MonitorReport:
    """Run checks once.

    Args:
        ctx: the opened project.
        checks: their names; all of them when empty.
        tell: whether the channels in ``quality.alerts`` are told what is new and what is over.

    Raises:
        ConfigError: a channel's settings are wrong.
        RequestError: there is no such check.
        StoreError: what was told cannot be kept.
    """
    chosen = [_check(name) for name in checks or CHECKS]
    channels = [open_channel(each) for each in ctx.config.quality.alerts] if tell else []
    _check_names([channel.name for channel in channels])
    now_us = ctx.now_us()
    findings: list[Finding] = []
    failed: dict[str, TiffinError] = {}
    for check in chosen:
        try:
            findings += check.run(ctx)
        except TiffinError as error:
            log.warning("the check %s could not look: %s", check.name, error.message)
            failed[check.name] = error
    looked = tuple(check.name for check in chosen if check.name not in failed)
    report = MonitorReport(now_us, looked, tuple(findings), failed)
    if not tell:
        return report
    # A check that cannot look is told as well; that is over when it can.
    blind = [Finding(name, f"check {name}", f"it could not look: {error.message}") for name, error in failed.items()]
    with AlertBook.held(ctx) as book:
        book.update([*findings, *blind], looked, now_us)
        sent, unsent = book.tell(channels, ctx.project, now_us)
    return replace(report, sent=sent, unsent=tuple(unsent))


def watch(
    ctx: Context,
    every_seconds: float,
    stop: threading.Event,
    seen: Callable[[MonitorReport], None],
    checks: Sequence[str] = (),
) -> None:
    """Run checks over and over, until it is told to stop.

    Args:
        ctx: the opened project.
        every_seconds: the pause between two runs.
        stop: ends it, in the middle of a pause too; a run is finished first.
        seen: called after each run.
        checks: as for ``monitor``.

    Raises:
        ConfigError, RequestError: as ``monitor``. What else goes wrong is logged, and tried again by the next run.
    """
    while not stop.is_set():
        try:
            seen(monitor(ctx, checks))
        except (ConfigError, RequestError):
            raise
        except TiffinError as error:
            log.error("%s; trying again in %g s", error.message, every_seconds)
        stop.wait(every_seconds)


def _check(name: str) -> Check:
    if name not in CHECKS:
        raise RequestError(f"there is no check {name!r}", hint=nearest(name, CHECKS))
    return CHECKS[name]()


def _check_names(names: Sequence[str]) -> None:
    """What a channel was told is known by its name."""
    for name in names:
        if names.count(name) > 1:
            hint = "give each a name of its own: {type: slack, name: team-a, ...}"
            raise ConfigError(f"quality.alerts has several channels called {name!r}", hint=hint)
