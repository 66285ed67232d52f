"""The examples in the docs run as they stand, each page from top to bottom in one process and one empty folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [f"docs/{page}.md" for page in ("monitoring", "quickstart", "quality", "testing", "verify", "windows")]
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")


def blocks_of(page: Path, language: str) -> list[str]:
    """The examples of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page_run(page: str, tmp_path: Path) -> None:
    blocks = blocks_of(ROOT / page, "python")
    assert blocks
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    folder = tmp_path / "empty"
    folder.mkdir()
    result = subprocess.run([sys.executable, str(script)], cwd=folder, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr[-3000:]


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")]:
        for target in LINK.findall(page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken
