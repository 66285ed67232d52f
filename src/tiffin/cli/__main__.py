"""``python -m tiffin.cli``."""

from __future__ import annotations

from tiffin.cli import main

main(prog_name="tiffin")
