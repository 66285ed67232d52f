"""What a task gives to the process that measures it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Reading:
    """Returned by a run that takes its own time, such as one that starts a process and times what goes on in there."""

    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)


class Work(ABC):
    """A piece of work that is ready to be timed; building it was the set-up."""

    @abstractmethod
    def run(self, index: int) -> Any:
        """Does the work once and returns what it gave, or a `Reading`; this alone is timed.

        Args:
            index: 0, 1, 2 ... in each process; the same index asks the same question of every side.
        """

    def answer(self, last: Any) -> pa.Table | None:
        """The values to compare between the sides, made after all timing; None: nothing to compare.

        Args:
            last: What the last `run` returned.
        """
        return None

    def close(self) -> None:  # noqa: B027  # most work has nothing to free
        """Frees files and folders; called after `answer`."""
