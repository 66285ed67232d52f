"""Starting up: import and first command."""

from __future__ import annotations

from benchmarks.case import Case, Cell, Suite
from benchmarks.targets import AtMost

_TASKS = "benchmarks.sides.startup"


def suite(quick: bool) -> Suite:
    """The cells; a start is short, so the quick version is only less often repeated."""
    repeats = 3 if quick else 15
    return Suite(
        "start",
        "Starting up",
        "The time of the import statement in a new Python, without the start of Python itself; it has no raw limit"
        " but zero. For the command, the whole process from its start to its end; the raw limit is a Python that"
        " imports click and prints a line. `import feast` and its command are taken as they are installed.",
        (
            Cell(
                "import",
                (
                    Case("tiffin", "tiffin", f"{_TASKS}:import_module", {"module": "tiffin"}, repeats=repeats),
                    Case("Feast", "peer", f"{_TASKS}:import_module", {"module": "feast"}, repeats=repeats),
                ),
                (AtMost("p50", 0.15), AtMost("heavy_modules", 0)),
            ),
            Cell(
                "--help",
                (
                    Case(
                        "Python with click",
                        "limit",
                        f"{_TASKS}:run_command",
                        {"command": ["python", "-c", "import click; print(click.__name__)"]},
                        repeats=repeats,
                    ),
                    Case(
                        "tiffin", "tiffin", f"{_TASKS}:run_command", {"command": ["tiffin", "--help"]}, repeats=repeats
                    ),
                    Case("Feast", "peer", f"{_TASKS}:run_command", {"command": ["feast", "--help"]}, repeats=repeats),
                ),
                (AtMost("p50", 0.4),),
            ),
        ),
    )
