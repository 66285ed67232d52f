"""The example of the page on streams runs against a real Kafka."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from brokers import ROOT, Kafka

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("kafka")]


def test_example_of_the_page_runs(kafka: Kafka, tmp_path: Path) -> None:
    kafka.topic(name="clicks")
    page = (ROOT / "docs" / "streams.md").read_text()
    script = tmp_path / "page.py"
    script.write_text("\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)))
    folder = tmp_path / "empty"
    folder.mkdir()
    env = os.environ | {"KAFKA": kafka.address}
    done = subprocess.run([sys.executable, script], cwd=folder, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]
