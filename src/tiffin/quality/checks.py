"""Checks: what looks at a project and finds something that somebody should know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from tiffin.operations.context import Context


@dataclass(frozen=True)
class Finding:
    """Something that somebody should know. Two findings of one check about one subject are the same one, seen twice.

    Attributes:
        check: the check's name.
        subject: what it is about, such as ``feature view driver_stats``.
        message: what is wrong, in a sentence.
        hint: what to do about it.
    """

    check: str
    subject: str
    message: str
    hint: str = ""

    @property
    def key(self) -> str:
        """What makes it the same finding as one before."""
        return f"{self.check}: {self.subject}"

    def to_dict(self) -> dict[str, str]:
        """JSON-ready data."""
        return asdict(self)


class Check(ABC):
    """One kind of look at a project; ``quality.monitor.CHECKS`` lists them.

    ``run`` is called by a scheduler, over and over, maybe by several processes. It finds the same while the same is
    wrong, and nothing once it is not: who is told, and how often, is not its business.
    """

    #: In a word, for people and for ``--check``.
    name: ClassVar[str]

    @abstractmethod
    def run(self, ctx: Context) -> list[Finding]:
        """Look at a project.

        Raises:
            TiffinError: it could not look; that is told too, and what it found before still stands.
        """
