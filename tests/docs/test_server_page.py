"""The examples of the page on the server work together: definitions are applied, a server answers, clients read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs.test_examples_run import ROOT, blocks_of
from server.apps import process
from tiffin import FeatureStore
from tiffin.server.keys import new_key
from tiffin.time import SystemClock, format_us

PAGE = ROOT / "docs" / "server.md"
#: What the page takes for given.
DEFINITIONS = """
from tiffin import Entity, FeatureView, Field, PushSource, ValueType
from tiffin.types import Float64

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
driver_stats = FeatureView(
    name="driver_stats",
    entities=[driver],
    schema=[Field(name="conv_rate", dtype=Float64)],
    source=PushSource(name="driver_stats_push", timestamp_field="ts"),
)
"""


def test_the_examples_of_the_page_work_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, digest = new_key("model-a")
    python, settings = blocks_of(PAGE, "python"), blocks_of(PAGE, "yaml")
    (client,) = (block for block in python if "tiffin.client" in block)
    (of_server,) = (block for block in settings if "api_keys" in block)
    (of_program,) = (block for block in settings if "remote" in block)
    served, reading = tmp_path / "served", tmp_path / "reading"
    for folder, text in ((served, of_server.replace("9f2c...", digest)), (reading, of_program)):
        folder.mkdir()
        (folder / "feature_store.yaml").write_text(f"project: page\nregistry: registry.db\n{text}")
    with (served / "feature_store.yaml").open("a") as file:
        # The first answer in Arrow loads it, for which a machine with other work may need a while.
        file.write("online_store: {type: sqlite, path: online.db}\nfeature_server: {deadline_seconds: 60}\n")
    parts = [DEFINITIONS, *(block for block in python if block is not client)]
    (served / "definitions.py").write_text("\n".join(parts))
    subprocess.run([sys.executable, "-m", "tiffin.cli", "-c", str(served), "apply"], check=True, capture_output=True)
    with FeatureStore(repo_path=served) as store:
        assert {each.name for each in store.list_permissions()} == {"readers", "one_feature"}
        now = format_us(SystemClock().now_us())
        store.write_to_online_store("driver_stats", [{"driver_id": 1001, "conv_rate": 0.25, "ts": now}])
    with process(served) as (url, _):
        told = client.replace("http://127.0.0.1:6566", url).replace("tiffin_model-a_...", key)
        script = re.sub(r"^(answer\.\S+) +# (.*)$", r"assert \1 == \2, \1", told, flags=re.MULTILINE)
        assert script.count("assert") == 2
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
        assert result.returncode == 0, result.stderr[-3000:]
        monkeypatch.setenv("FEATURES_KEY", key)
        section = reading / "feature_store.yaml"
        section.write_text(section.read_text().replace("http://127.0.0.1:6566", f"{url}, timeout_seconds: 60"))
        assert yaml.safe_load(section.read_text())["online_store"]["path"] == url
        with FeatureStore(repo_path=reading) as program:
            found = program.get_online_features(["driver_stats:conv_rate"], [{"driver_id": 1001}])
        assert found.to_dict() == {"driver_id": [1001], "conv_rate": [0.25]}
