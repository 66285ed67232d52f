"""``feature_store.yaml`` is read strictly: a typo is an error with its line, never a default."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tiffin.config import RepoConfig, StoreConfig, load_config
from tiffin.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    file = folder / "feature_store.yaml"
    file.write_text(text)
    return file


def test_the_shortest_file_gets_the_defaults(tmp_path: Path) -> None:
    write(tmp_path, "project: fraud\n")
    config = load_config(tmp_path)
    assert config.project == "fraud"
    assert config.repo_path == tmp_path
    assert config.registry.path == "data/registry.db"
    assert config.registry.cache_ttl_seconds == 600
    assert config.online_store == StoreConfig(type="sqlite")
    assert config.offline_type == "duckdb"
    assert config.point_in_time == "event"
    assert config.max_future_skew_us == 300_000_000


def test_the_file_of_an_older_repository_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
project: demo1
registry: data/registry.db
provider: local
online_store:
    type: sqlite
    path: data/online_store.db
offline_store:
    type: file
entity_key_serialization_version: 3
auth:
    type: no_auth
flags: null
batch_engine: local
coerce_tz_aware: true
""",
    )
    config = load_config(tmp_path)
    assert config.online_store is not None
    assert config.online_store.options == {"path": "data/online_store.db"}
    assert config.offline_type == "duckdb"


@pytest.mark.parametrize(("given", "used"), [("dask", "duckdb"), ("file", "duckdb"), ("spark", "spark")])
def test_older_names_of_the_offline_store_mean_the_embedded_engine(given: str, used: str) -> None:
    assert RepoConfig(project="p", offline_store=given).offline_type == used


def test_no_online_store_is_allowed(tmp_path: Path) -> None:
    write(tmp_path, "project: p\nonline_store: null\n")
    assert load_config(tmp_path).online_store is None


WRONG = {
    "project: p\nonlin_store: sqlite\n": (2, "unknown key 'onlin_store'", "did you mean online_store"),
    "project: p\nregistry:\n  pth: a\n": (3, "unknown key 'registry.pth'", "did you mean path"),
    "registry: a\n": (0, "the key 'project' is missing", ""),
    "project: a b\n": (1, "project is not allowed", ""),
    "project: p\npoint_in_time: later\n": (2, "point_in_time is not allowed", ""),
    "project: p\nregistry:\n  cache_ttl_seconds: soon\n": (3, "registry.cache_ttl_seconds is not allowed", ""),
    "project: p\nregistry:\n  cache_ttl_seconds: -1\n": (3, "registry.cache_ttl_seconds is not allowed", ""),
    "project: p\nregistry:\n  registry_type: etcd\n": (3, "registry.registry_type is not allowed", ""),
    "project: p\nmax_future_skew_seconds: -1\n": (2, "max_future_skew_seconds is not allowed", ""),
    "project: p\nonline_store:\n  path: a\n": (2, "the key 'online_store.type' is missing", ""),
    "project: p\nonline_store: [a]\n": (2, "online_store is not allowed", ""),
    "project: p\nauth:\n  roles: x\n": (2, "the key 'auth.type' is missing", ""),
    "project: p\nproject: q\n": (2, "the key 'project' is there twice", ""),
    "project: p\n  registry: a\n": (2, "is not valid YAML", ""),
    "project: 'p\n": (2, "is not valid YAML", ""),
    "project: !!python/object/apply:os.getcwd []\n": (1, "is not valid YAML", ""),
    "project: p\nregistry: ${TIFFIN_TEST_NOWHERE}\n": (2, "TIFFIN_TEST_NOWHERE is not set", "write $$"),
    "": (0, "holds no settings", "project: <name>"),
    "- a\n": (0, "holds no settings", ""),
    "project: p\nrepo_path: /\n": (0, "repo_path is not set in the file", ""),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    line, message, hint = WRONG[text]
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert message in caught.value.message
    assert caught.value.location == (f"{file}:{line}" if line else str(file))
    assert hint in caught.value.hint


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no feature_store.yaml in .*\n.*run `tiffin init`"):
        load_config(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_environment_variables_are_put_in_and_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTL", "60")
    monkeypatch.setenv("HERE", "a: b # c")
    write(
        tmp_path,
        """
project: p
registry: {path: "data/${HERE}", cache_ttl_seconds: $TTL}
online_store:
  type: memory
  size: ${TTL}
  text: "$TTL"
  price: 5$$
""",
    )
    config = load_config(tmp_path)
    assert config.registry.path == "data/a: b # c"
    assert config.registry.cache_ttl_seconds == 60
    assert config.online_store is not None
    assert config.online_store.options == {"size": 60, "text": "60", "price": "5$"}


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(write(tmp_path, "project: named\n")))
    assert load_config().project == "named"
    assert load_config().repo_path == tmp_path


def test_another_file_may_describe_a_folder(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("project: other\n")
    (tmp_path / "repo").mkdir()
    assert load_config(fs_yaml_file=other).repo_path == tmp_path
    assert load_config(tmp_path / "repo", other).repo_path == tmp_path / "repo"


SECRET = base64.b32encode(b"hunter").decode().strip("=")


@pytest.mark.parametrize(
    "settings",
    [
        {"registry": f"postgresql://user:{SECRET}@host/db"},
        {"online_store": {"type": "redis", "connection_string": f"host:6379,password={SECRET}"}},
        {"online_store": {"type": "x", "password": SECRET, "url": f"http://a:{SECRET}@b"}},
        {"registry": {"path": "a", "sqlalchemy_config_kwargs": {"connect_args": {"password": SECRET}}}},
    ],
)
def test_secrets_are_not_shown(settings: dict[str, Any]) -> None:
    assert SECRET not in repr(RepoConfig(project="p", **settings))
    with pytest.raises(ConfigError) as caught:
        RepoConfig(project="p", batch_engine={"password": SECRET}, **settings)
    assert SECRET not in str(caught.value)
    assert SECRET not in str(caught.value.__cause__)


def test_settings_cannot_be_changed() -> None:
    config = RepoConfig(project="p")
    with pytest.raises(ValueError, match="frozen"):
        config.project = "q"


@pytest.mark.parametrize("variable", ["TIFFIN_FEATURE_STORE_YAML_BASE64", "FEATURE_STORE_YAML_BASE64"])
def test_the_file_may_be_in_a_variable(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, base64.b64encode(b"project: shipped\n").decode())
    config = load_config()
    assert (config.project, config.repo_path) == ("shipped", tmp_path)
    (tmp_path / "feature_store.yaml").write_text("project: local\n")
    assert load_config(tmp_path).project == "local"
    monkeypatch.setenv(variable, "no base64!")
    with pytest.raises(ConfigError, match=rf"{variable} is not text in Base64"):
        load_config()


def test_a_file_one_folder_below_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "feature_repo").mkdir()
    (tmp_path / "feature_repo" / "feature_store.yaml").write_text("project: p\n")
    with pytest.raises(ConfigError, match=r"(?s)there is one in feature_repo/.*-c feature_repo"):
        load_config(tmp_path)


def test_a_provider_that_does_not_exist_is_refused_with_the_nearest() -> None:
    assert RepoConfig(project="p", provider="gcp").provider == "gcp"
    assert RepoConfig(project="p", provider="my.package.Provider").provider == "my.package.Provider"
    with pytest.raises(ConfigError, match=r"there is no provider 'locl'; did you mean local"):
        RepoConfig(project="p", provider="locl")


@pytest.mark.parametrize(
    ("entry", "message", "line"),
    [
        ("{}", "the key 'quality.drift.0.view' is missing", 4),
        ("{view: a, refrence: x}", "unknown key 'quality.drift.0.refrence'.*did you mean reference", 4),
        ("{view: a, thresholds: {pis: 1}}", "unknown key 'quality.drift.0.thresholds.pis'.*did you mean psi", 4),
        ("{view: a, thresholds: {psi: -1}}", "threshold psi is -1.*that is not negative", 4),
        ("{view: a, thresholds: {null_share: 2}}", "threshold null_share is 2.*from 0 to 1", 4),
        ("{view: a, thresholds: {psi: .inf}}", "threshold psi is inf", 4),
        ("{view: a, period: soon}", "'soon' is not a duration", 4),
        ("{view: a, period: 0s}", "'0s' is no time at all", 4),
        ("{view: a, wait: later}", "'later' is not a duration", 4),
        ("{view: a, reference: 2024-01-01..}", "give its period an end", 4),
        ("{view: a, reference: ..soon}", "'soon' is not a time", 4),
        ("{view: a, reference: 2024-02-01..2024-01-01}", "is empty", 4),
        ("{view: a}\n  - {view: a}", "the view 'a' is there twice", 3),
    ],
)
def test_a_wrong_entry_for_drift_is_refused_with_its_line(entry: str, message: str, line: int, tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text(f"project: p\nquality:\n  drift:\n  - {entry}\n")
    with pytest.raises(ConfigError, match=f"(?s){message}") as caught:
        load_config(tmp_path)
    assert caught.value.location.endswith(f":{line}")


def test_an_entry_for_drift_says_what_is_looked_at() -> None:
    (drift,) = RepoConfig(
        project="p",
        quality={"drift": [{"view": "a", "reference": "..2024-01-01", "period": "6h", "thresholds": {"psi": None}}]},
    ).quality.drift
    assert (drift.period_us, drift.wait_us) == (6 * 3_600_000_000, 0)
    assert drift.reference_period == (None, 1_704_067_200_000_000)
    assert (drift.thresholds.psi, drift.thresholds.null_share) == (None, 0.05)
