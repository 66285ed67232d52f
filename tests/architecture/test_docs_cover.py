"""The pages on the command line and on the configuration say what the code has: all of it, and nothing else."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from pydantic_core import PydanticUndefined

from tiffin.backends.duckdb.config import DuckDBOptions
from tiffin.backends.dynamodb.config import DynamoDBOptions
from tiffin.backends.kafka.config import KafkaOptions
from tiffin.backends.kinesis.config import KinesisOptions
from tiffin.backends.lmdb.config import LmdbOptions
from tiffin.backends.postgres.config import PostgresOptions
from tiffin.backends.redis.config import RedisOptions
from tiffin.backends.schema_registry.client import SchemaRegistryOptions
from tiffin.backends.spark.config import SparkOptions
from tiffin.backends.sqlite.config import SqliteOptions
from tiffin.cli import main
from tiffin.config import DriftConfig, MaterializationConfig, QualityConfig, RegistryConfig, RepoConfig, StreamsConfig
from tiffin.definitions.thresholds import Thresholds
from tiffin.operations.remote import RemoteOptions
from tiffin.quality.channels import ChannelOptions, CommandOptions, EmailOptions, WebhookOptions
from tiffin.server.auth import AuthOptions
from tiffin.server.options import ServerOptions

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CLI = (DOCS / "cli.md").read_text(encoding="utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")


def commands(command: click.Command = main, path: str = "tiffin") -> Iterator[tuple[str, click.Command]]:
    """Every command with its words; of groups only the outermost, for the global options."""
    if not isinstance(command, click.Group) or command is main:
        yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, f"{path} {name}")


def sections(page: str) -> Iterator[tuple[str, str]]:
    """Headings with the text below them, up to the next heading; ``#`` within code blocks is no heading."""
    without_code = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    for part in re.split(r"^#+ ", without_code, flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        yield heading, text


def section_of(words: str) -> str:
    found = [text for heading, text in sections(CLI) if f"`{words}`" in heading]
    assert len(found) == 1, f"docs/cli.md has {len(found)} headings with `{words}`"
    return found[0]


COMMANDS = dict(commands())
TOLD = [ROOT / "README.md", *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md"), *(ROOT / "src").rglob("*.py")]


def test_commands_that_pages_and_messages_name_are_there() -> None:
    known = {" ".join(path.split()[:count]) for path in COMMANDS for count in (2, 3)}
    groups = {path for path in known if any(longer.startswith(f"{path} ") for longer in known)}
    wrong = []
    for file in TOLD:
        for first, second in re.findall(r"`tiffin ([a-z][a-z-]+)(?: ([a-z][a-z_-]+))?", file.read_text("utf-8")):
            words = f"tiffin {first}"
            if words not in known or (words in groups and second and f"{words} {second}" not in known):
                wrong.append(f"{file.relative_to(ROOT)}: `{words} {second}`")
    assert not wrong


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_and_option_is_documented(words: str) -> None:
    text = section_of(words)
    named = {match for line in text.splitlines() for match in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line)}
    for parameter in COMMANDS[words].params:
        if isinstance(parameter, click.Option):
            missing = {option for option in parameter.opts if option != "--help"} - named
            assert not missing, f"docs/cli.md, `{words}`: {missing} is not there"


@pytest.mark.parametrize("words", COMMANDS)
def test_no_option_is_documented_that_does_not_exist(words: str) -> None:
    rows = [line for line in section_of(words).splitlines() if line.startswith("| `-")]
    documented = {option for row in rows for option in re.findall(r"--?[a-z][a-z-]*", row.split("|")[1])}
    existing = {option for parameter in COMMANDS[words].params for option in parameter.opts}
    assert documented <= existing


def test_no_command_is_documented_that_does_not_exist() -> None:
    documented = {words for heading, _ in sections(CLI) for words in re.findall(r"`(tiffin[^`]*)`", heading)}
    assert documented == set(COMMANDS)


def model_keys(model: Any) -> dict[str, str]:
    """The keys of a section with their defaults as the page writes them."""
    keys = {}
    for name, field in model.model_fields.items():
        if field.default is not PydanticUndefined:
            keys[name] = as_written(field.default)
        elif field.default_factory in (dict, list):
            keys[name] = as_written(field.default_factory())
        else:
            keys[name] = "section" if field.default_factory is not None else "required"
    keys.pop("repo_path", None)
    return keys


def own_keys(options: Any) -> dict[str, str]:
    """Those that other channels do not have."""
    return {name: default for name, default in option_keys(options).items() if name not in option_keys(ChannelOptions)}


def option_keys(options: Any) -> dict[str, str]:
    defaults = {
        field.name: field.default_factory() if field.default is MISSING else field.default  # type: ignore[misc]
        for field in fields(options)
    }
    return {name: as_written(default) for name, default in defaults.items()}


def as_written(default: Any) -> str:
    text = yaml.safe_dump(default, default_flow_style=True).partition("\n")[0]
    return '`""`' if default == "" else f"`{text}`"


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        ("Top level", model_keys(RepoConfig)),
        ("registry", model_keys(RegistryConfig)),
        ("materialization", model_keys(MaterializationConfig)),
        ("quality", model_keys(QualityConfig)),
        ("quality.drift", model_keys(DriftConfig)),
        ("quality.drift.thresholds", option_keys(Thresholds)),
        ("sqlite", option_keys(SqliteOptions)),
        ("redis", option_keys(RedisOptions)),
        ("postgres", option_keys(PostgresOptions)),
        ("lmdb", option_keys(LmdbOptions)),
        ("dynamodb", option_keys(DynamoDBOptions)),
        ("duckdb", option_keys(DuckDBOptions)),
        ("streams", model_keys(StreamsConfig)),
        ("streams.kafka", option_keys(KafkaOptions)),
        ("streams.kinesis", option_keys(KinesisOptions)),
        ("streams.schema_registry", option_keys(SchemaRegistryOptions)),
        ("quality.alerts", option_keys(ChannelOptions)),
        ("quality.alerts webhook and slack", own_keys(WebhookOptions)),
        ("quality.alerts email", own_keys(EmailOptions)),
        ("quality.alerts command", own_keys(CommandOptions)),
        ("spark", option_keys(SparkOptions)),
        ("remote", option_keys(RemoteOptions)),
        ("feature_server", option_keys(ServerOptions)),
        ("auth", option_keys(AuthOptions)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_key_of_the_configuration_is_documented_with_its_default(heading: str, keys: dict[str, str]) -> None:
    text = dict(sections(CONFIGURATION))[heading]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in text.splitlines() if line.startswith("| `")]
    assert {key.strip("`"): default for key, default, _ in rows} == keys
    assert all(len(meaning) > 5 for _, _, meaning in rows)


def test_table_of_online_stores_is_what_the_stores_say() -> None:
    tool = runpy.run_path(str(DOCS.parent / "tools" / "online_stores.py"))
    written = (DOCS / "online-stores.md").read_text(encoding="utf-8")
    assert written == tool["page"](), "run: python tools/online_stores.py"
