"""A store from a package of somebody else: held by the same suite, and used by its short name once it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))

from ledger_store.online import LedgerOnlineStore

from tiffin.testing.online import OnlineStoreSuite

_PROGRAM = """
from datetime import datetime, timezone
from tiffin import Entity, FeatureStore, FeatureView, Field, PushSource, ValueType
from tiffin.types import Int64

driver = Entity(name="driver", value_type=ValueType.INT64)
fields = [Field(name="x", dtype=Int64)]
view = FeatureView(name="stats", entities=[driver], source=PushSource(name="pushed"), schema=fields)
with FeatureStore(repo_path=".") as store:
    store.apply([driver, view])
    rows = [{"driver": 1, "x": 7, "event_timestamp": datetime.now(timezone.utc)}]
    store.write_to_online_store("stats", rows)
    print(store.get_online_features(["stats:x"], [{"driver": 1}]).to_dict())
    store.teardown()
"""


class TestLedger(OnlineStoreSuite):
    backend = LedgerOnlineStore
    writers = 3
    raced_rows = 300
    deep_raced_rows = 1_000

    def options(self, tmp_path: Path) -> Mapping[str, object]:
        return {"path": str(tmp_path / "online.ledger")}


def test_installed_package_is_found_by_its_short_name(tmp_path: Path) -> None:
    here, site, repository = Path(__file__).parent, tmp_path / "site", tmp_path / "repository"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    quiet = ["--disable-pip-version-check", "--no-index", "--target", str(site), str(here)]
    subprocess.run([*install, *quiet], check=True, capture_output=True)
    repository.mkdir()
    (repository / "feature_store.yaml").write_text("project: p\nonline_store: {type: ledger, path: o.ledger}\n")
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "{'driver': [1], 'x': [7]}", done.stderr
    assert (repository / "o.ledger").exists()
