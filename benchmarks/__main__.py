"""Runs the benchmarks: `python -m benchmarks [--only NAME ...] [--quick] [--peers PYTHON] [--render]`.

Results go to `benchmarks/results/latest.json`, by suite: a run of some suites leaves the results of the others as
they are. The tables of `docs/benchmarks.md` are then written anew from that file.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.peers import find_peer_python
from benchmarks.report import RESULTS, render_document, save_suite
from benchmarks.runner import run_suite
from benchmarks.suites import SUITES


def main() -> None:
    """Parses the command line, runs, saves and renders."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(SUITES), default=list(SUITES), help="suites to run")
    parser.add_argument("--cells", default="", help="only the cells whose name contains this text")
    parser.add_argument("--sides", default="", help="only the sides whose name contains this text (nothing is saved)")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    parser.add_argument("--peers", type=Path, help="a Python that has Feast; by default that of `make bench-peers`")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSON file to write")
    parser.add_argument("--render", action="store_true", help="write the tables from the results that are there")
    options = parser.parse_args()
    # An end by signal then unwinds like an interrupt: the running case is ended and its files are removed.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if not options.render:
        peers = options.peers or find_peer_python()
        if peers is None:
            print("Feast is not installed (`make bench-peers` does that); its columns stay empty.", file=sys.stderr)
        machine = describe_machine(peers)
        for name in options.only:
            suite = SUITES[name](options.quick)
            run = run_suite(suite, machine, peers, quick=options.quick, cells=options.cells, sides=options.sides)
            for so_far in run:
                if not options.sides:
                    save_suite(options.results, so_far, some_cells=bool(options.cells))
    if options.results == RESULTS and not options.sides:
        render_document()


if __name__ == "__main__":
    main()
