"""The settings of a feature repository, read from ``feature_store.yaml``.

Unknown keys are refused with the nearest name, so that a typo never becomes a silent default. The options of a store
are checked by the store itself, when it is opened.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tiffin.definitions.project import is_project_name
from tiffin.definitions.thresholds import Thresholds
from tiffin.errors import ConfigError, nearest
from tiffin.time import duration_us, parse_duration, parse_period

CONFIG_FILE = "feature_store.yaml"

#: Where the file is when neither a folder nor a file is given; the second name is the one older repositories use.
CONFIG_FILE_VARIABLES = ("TIFFIN_FS_YAML_FILE_PATH", "FEAST_FS_YAML_FILE_PATH")

#: The file itself, in Base64, where neither a folder nor a file is given.
CONFIG_TEXT_VARIABLES = ("TIFFIN_FEATURE_STORE_YAML_BASE64", "FEATURE_STORE_YAML_BASE64")

#: Older names of the backends.
OFFLINE_ALIASES = {"file": "duckdb", "dask": "duckdb"}

#: The reference of a drift that is none of a user's: the first profile that was kept.
FIRST = "first"

#: The type of ``stream_engine`` that is none: the process itself works.
WORKER = "worker"

#: What older repositories may name; it chooses nothing.
_PROVIDERS = ("local", "gcp", "aws", "azure", "chronon", "unity_catalog")

#: Sections that may be a text, and the key that the text is then the value of.
_SHORT_FORMS = (
    ("registry", "path"),
    ("online_store", "type"),
    ("offline_store", "type"),
    ("stream_engine", "type"),
    ("auth", "type"),
)

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")
_CREDENTIALS = re.compile(r"://[^/@\s]*@")
_SECRET = re.compile(r"pass|secret|token|key|credential|connection_string", re.IGNORECASE)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RegistryConfig(_Section):
    """Where the registry is kept."""

    registry_type: Literal["sql", "file"] = Field(default="sql", description="`sql`, or its older name `file`")
    path: str = Field(
        default="data/registry.db", min_length=1, description="a SQLite file below the repository, or a SQLAlchemy URL"
    )
    cache_ttl_seconds: int = Field(
        default=600, ge=0, description="how long definitions are used before newer ones are looked for; 0: for good"
    )
    cache_mode: Literal["sync", "thread"] = Field(default="sync", description="kept for older repositories; no effect")
    purge_feast_metadata: bool = Field(default=False, description="kept for older repositories; no effect")
    sqlalchemy_config_kwargs: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="arguments of SQLAlchemy's `create_engine`, for a URL"
    )

    def __repr_args__(self) -> Any:
        """The fields, without what stands before ``@`` in a URL."""
        for name, value in super().__repr_args__():
            yield name, _CREDENTIALS.sub("://***@", value) if name == "path" else value


class StoreConfig(_Section):
    """A store: its type, and options that the store checks."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    type: str = Field(min_length=1, description="the short name of the store")

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the type."""
        return dict(self.model_extra or {})

    def __repr_args__(self) -> Any:
        """The fields, without values that may be secret."""
        yield "type", self.type
        yield from _without_secrets(self.options).items()


def _without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    def is_secret(name: str, value: Any) -> bool:
        return bool(_SECRET.search(name) or (isinstance(value, str) and _CREDENTIALS.search(value)))

    return {name: "***" if is_secret(name, value) else value for name, value in options.items()}


class MaterializationConfig(_Section):
    """How the online store is loaded."""

    pull_latest_features: bool = Field(default=False, description="kept for older repositories; no effect")
    online_write_batch_size: int | None = Field(
        default=None, gt=0, description="kept for older repositories; no effect"
    )


class StreamsConfig(_Section):
    """How message brokers are reached, and where dead letters go. A broker checks its options when it is opened."""

    dead_letters: str = Field(
        default="data/dead_letters", min_length=1, description="a folder, or `topic:NAME` at the stream's own broker"
    )
    history_seconds: float = Field(
        default=60.0, ge=0, description="how often messages are appended to the history, where they are"
    )
    kafka: dict[str, Any] = Field(default_factory=dict, description="options for all sources in Kafka")
    kinesis: dict[str, Any] = Field(default_factory=dict, description="options for all sources in Kinesis")
    schema_registry: dict[str, Any] = Field(default_factory=dict, description="who asks the schema registry")

    def __repr_args__(self) -> Any:
        """The fields, without values that may be secret."""
        for name, value in super().__repr_args__():
            yield name, _without_secrets(value) if isinstance(value, dict) else value


class AlertConfig(StoreConfig):
    """One way by which people are told: its type, and options that are checked when it is opened."""

    type: str = Field(min_length=1, description="`webhook`, `slack`, `email`, `command` or `log`")

    def __repr_args__(self) -> Any:
        """The fields, without values that may be secret; whoever knows the address of a webhook can write to it."""
        for name, value in super().__repr_args__():
            yield name, "***" if name in ("url", "headers") else value


class DriftConfig(_Section):
    """One view, or all others, whose values are held to a reference by ``tiffin monitor run``."""

    view: str = Field(min_length=1, description="a feature view; `*` for all that have no entry of their own")
    reference: str = Field(
        default=FIRST,
        min_length=1,
        description="`first`, the first profile that was kept; a period `FROM..TO`; or the name of a saved dataset",
    )
    period: str = Field(default="1d", description="how long a period is; the last whole one in UTC is looked at")
    wait: str = Field(default="0s", description="a period is whole so long after its end, when late facts are there")
    online: bool = Field(default=False, description="look at what is served, once in a period, not at the facts")
    columns: list[str] = Field(default_factory=list, description="which features; all when empty")
    thresholds: Thresholds = Field(default_factory=Thresholds, description="from where on a feature has drifted")

    @property
    def period_us(self) -> int:
        """``period`` in microseconds."""
        return duration_us(parse_duration(self.period))

    @property
    def wait_us(self) -> int:
        """``wait`` in microseconds."""
        return duration_us(parse_duration(self.wait))

    @property
    def reference_period(self) -> tuple[int | None, int] | None:
        """The reference, if it is a period."""
        if ".." not in self.reference:
            return None
        since_us, until_us = parse_period(self.reference)
        if until_us is None:
            raise ValueError("a reference stays what it is: give its period an end")
        return since_us, until_us

    @model_validator(mode="after")
    def _check(self) -> DriftConfig:
        _ = self.wait_us, self.reference_period
        if not self.period_us:
            raise ValueError(f"the period {self.period!r} is no time at all")
        return self


class QualityConfig(_Section):
    """Where it is kept what is known about the quality of the values."""

    folder: str = Field(
        default="data/quality", min_length=1, description="a folder for profiles and for rows that are in quarantine"
    )
    alerts: list[AlertConfig] = Field(default_factory=list, description="who is told when a check finds something")
    repeat_hours: float = Field(
        default=24.0, ge=0, description="after so long what still holds is told again; 0 for never"
    )
    drift: list[DriftConfig] = Field(default_factory=list, description="which views are held to which reference")

    @field_validator("drift")
    @classmethod
    def _check_drift(cls, value: list[DriftConfig]) -> list[DriftConfig]:
        for number, each in enumerate(value):
            if any((each.view, each.online) == (other.view, other.online) for other in value[:number]):
                raise ValueError(f"the view {each.view!r} is there twice; only one entry may be `online`, and one not")
        return value


class RepoConfig(_Section):
    """The settings of one feature repository.

    Raises:
        ConfigError: a key is unknown, missing, or has a value that is not allowed.

    >>> RepoConfig(project="fraud", registry="data/registry.db").registry.path
    'data/registry.db'
    """

    project: str = Field(description="the name space of the definitions")
    project_description: str = Field(default="", description="words about the project")
    repo_path: Path = Field(default_factory=Path.cwd, description="set by the loader: the folder of the file")
    provider: str = Field(default="local", description="kept for older repositories; stores are chosen one by one")
    registry: RegistryConfig = Field(default_factory=RegistryConfig, description="a path or URL, or a section")
    online_store: StoreConfig | None = Field(
        default_factory=lambda: StoreConfig(type="sqlite"), description="a type or a section; `null` for none"
    )
    offline_store: StoreConfig = Field(
        default_factory=lambda: StoreConfig(type="duckdb"), description="a type or a section; `file` is `duckdb`"
    )
    point_in_time: Literal["event", "known"] = Field(
        default="event",
        description="`known`: a training row sees only what was known at its time; `event`: by event time alone",
    )
    max_future_skew_seconds: float = Field(
        default=300, ge=0, description="how far ahead of now a pushed fact may be before it is refused"
    )
    materialization: MaterializationConfig = Field(
        default_factory=MaterializationConfig, description="how the online store is loaded"
    )
    streams: StreamsConfig = Field(default_factory=StreamsConfig, description="how message brokers are reached")
    stream_engine: StoreConfig = Field(
        default_factory=lambda: StoreConfig(type=WORKER),
        description="where streams are worked off: `worker`, the process that is started, or an engine such as `spark`",
    )
    quality: QualityConfig = Field(default_factory=QualityConfig, description="where profiles are kept")
    entity_key_serialization_version: int = Field(default=3, description="kept for older repositories; no effect")
    coerce_tz_aware: bool = Field(default=True, description="kept for older repositories; times are always UTC")
    flags: Any = Field(default=None, description="kept for older repositories; no effect")
    batch_engine: Literal["local"] = Field(default="local", description="where batches are computed; only `local`")
    feature_server: Any = Field(default=None, description="limits and manners of `tiffin serve`")
    embedding_model: Any = Field(default=None, description="kept for older repositories; no effect")
    openlineage: Any = Field(default=None, description="kept for older repositories; no effect")
    mlflow: Any = Field(default=None, description="kept for older repositories; no effect")
    data_quality_monitoring: Any = Field(default=None, description="kept for older repositories; no effect")
    auth: StoreConfig = Field(
        default_factory=lambda: StoreConfig(type="no_auth"), description="how `tiffin serve` knows who asks"
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _config_error(error) from error

    @field_validator("project")
    @classmethod
    def _check_project(cls, value: str) -> str:
        if not is_project_name(value):
            raise ValueError("use letters, digits, '_' and '-', starting with a letter or digit")
        return value

    @field_validator("provider")
    @classmethod
    def _check_provider(cls, value: str) -> str:
        if value not in _PROVIDERS and "." not in value:
            near = nearest(value, _PROVIDERS)
            raise ValueError(f"there is no provider {value!r}; {near}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _unfold(cls, values: Any) -> Any:
        """Accept the short forms: a path for the registry, a type name for a store."""
        if not isinstance(values, Mapping):
            return values
        plain = dict(values)
        for section, key in _SHORT_FORMS:
            if isinstance(plain.get(section), str):
                plain[section] = {key: plain[section]}
        engine = plain.get("batch_engine")
        if isinstance(engine, Mapping) and set(engine) == {"type"}:
            plain["batch_engine"] = engine["type"]
        sections = ("registry", "offline_store", "materialization", "streams", "stream_engine", "quality", "auth")
        for section in sections:
            if section in plain and plain[section] is None:
                del plain[section]
        return plain

    @property
    def offline_type(self) -> str:
        """The type of the offline store under its newest name."""
        return OFFLINE_ALIASES.get(self.offline_store.type, self.offline_store.type)

    @property
    def quality_path(self) -> Path:
        """The folder of ``quality.folder``."""
        return self.repo_path / Path(self.quality.folder).expanduser()

    @property
    def max_future_skew_us(self) -> int:
        """``max_future_skew_seconds`` in microseconds."""
        return int(self.max_future_skew_seconds * 1_000_000)

    @property
    def audit_log(self) -> Path | None:
        """The file of the audit log, of the server and of applies; ``None`` when there is none."""
        file = audit_log_of(self.feature_server) if isinstance(self.feature_server, Mapping) else ""
        return self.repo_path / file if file else None


def audit_log_of(section: Mapping[str, Any]) -> str:
    """The file that a ``feature_server`` section names for its audit log, by our key or Feast's; empty when none."""
    older = section.get("audit_logging")
    named = older.get("file_path", "feast_audit.log") if isinstance(older, Mapping) and older.get("enabled") else ""
    return str(section.get("audit_log") or named)


def load_config(repo_path: str | Path | None = None, fs_yaml_file: str | Path | None = None) -> RepoConfig:
    """Read the settings of a repository.

    Args:
        repo_path: the repository's folder; the working directory when neither argument is given.
        fs_yaml_file: the file, when it is called differently or lies elsewhere; relative paths in it are then
            relative to ``repo_path``, else to the file's folder.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds something that is not allowed; names file and line.
    """
    variables = os.environ if fs_yaml_file is None and repo_path is None else {}
    named = next((variables[name] for name in CONFIG_FILE_VARIABLES if variables.get(name)), None)
    written = next((name for name in CONFIG_TEXT_VARIABLES if variables.get(name)), None)
    if named is None and written is not None:
        file, folder, text = Path(f"${written}"), Path.cwd(), _decoded(written)
    else:
        file = Path(fs_yaml_file or named or Path(repo_path or ".") / CONFIG_FILE).expanduser()
        folder = (Path(repo_path).expanduser() if repo_path is not None else file.parent).resolve()
        text = _read(file)
    node, values = _parse(file, text)
    if "repo_path" in values:
        raise ConfigError("repo_path is not set in the file", location=str(file), hint="it is the file's folder")
    try:
        return RepoConfig(**values, repo_path=folder)
    except ConfigError as error:
        if isinstance(error.__cause__, ValidationError):
            raise _config_error(error.__cause__, file, node) from None
        raise


def _decoded(variable: str) -> str:
    try:
        return base64.b64decode(os.environ[variable], validate=True).decode()
    except ValueError:
        hint = f"put there what `base64 -w0 {CONFIG_FILE}` prints"
        raise ConfigError(f"the environment variable {variable} is not text in Base64", hint=hint) from None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = f"run `tiffin init` to make a repository, or go to the folder that has {file.name}"
        below = sorted(found.parent.name for found in file.parent.glob(f"*/{file.name}"))
        if below:
            hint = f"there is one in {below[0]}/: go there, or pass -c {below[0]} or repo_path={below[0]!r}"
        raise ConfigError(f"there is no {file.name} in {file.parent.resolve()}", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error


class _Loader(yaml.SafeLoader):
    """Reads plain data only, and refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse(file: Path, text: str) -> tuple[yaml.MappingNode, dict[str, Any]]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if isinstance(node, yaml.MappingNode):
            _expand(loader, node, file)
            return node, {str(key): value for key, value in loader.construct_document(node).items()}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ConfigError(f"{file.name} is not valid YAML: {problem}", location=f"{file}{line}") from None
    finally:
        loader.dispose()
    hint = "write at least: project: <name>"
    raise ConfigError(f"{file.name} holds no settings", location=str(file), hint=hint)


def _expand(loader: _Loader, node: yaml.Node, file: Path) -> None:
    """Put environment variables into the values, in place; a plain value is then typed as if it had been written so."""
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            _expand(loader, value, file)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _expand(loader, value, file)
    elif isinstance(node, yaml.ScalarNode) and "$" in node.value:
        try:
            node.value = _VARIABLE.sub(_variable, node.value)
        except KeyError as error:
            raise ConfigError(
                f"the environment variable {error.args[0]} is not set",
                location=f"{file}:{node.start_mark.line + 1}",
                hint="set it, or write $$ for a dollar sign",
            ) from None
        if node.style is None:
            node.tag = loader.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]


def _variable(match: re.Match[str]) -> str:
    return "$" if match[1] else os.environ[match[2] or match[3]]


def _config_error(
    error: ValidationError, file: Path | None = None, node: yaml.MappingNode | None = None
) -> ConfigError:
    """The first problem of a validation, in words for people and without the value, which may be secret."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    location = "" if file is None else f"{file}{_line(node, path)}"
    others = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return ConfigError(f"unknown key {key!r}{others}", location=location, hint=nearest(path[-1], _known(path)))
    if first["type"] == "missing":
        return ConfigError(f"the key {key!r} is missing{others}", location=location)
    problem = first["msg"].removeprefix("Value error, ")
    return ConfigError(f"{key or 'the configuration'} is not allowed{others}: {problem}", location=location)


def _known(path: list[str]) -> list[str]:
    """The keys that may stand where an unknown one does."""
    sections: dict[str, Iterable[str]] = {
        "": RepoConfig.model_fields.keys() - {"repo_path"},
        "registry": RegistryConfig.model_fields,
        "materialization": MaterializationConfig.model_fields,
        "streams": StreamsConfig.model_fields,
        "quality": QualityConfig.model_fields,
        "quality.drift": DriftConfig.model_fields,
        "quality.drift.thresholds": [field.name for field in fields(Thresholds)],
    }
    return list(sections.get(".".join(part for part in path[:-1] if not part.isdigit()), ()))


def _line(node: yaml.MappingNode | None, path: list[str]) -> str:
    """``:line`` of the innermost key of a path that is in the file."""
    line = ""
    current: yaml.Node | None = node
    for part in path:
        if isinstance(current, yaml.SequenceNode) and part.isdigit():
            current = current.value[int(part)]
            line = f":{current.start_mark.line + 1}"
            continue
        if not isinstance(current, yaml.MappingNode):
            break
        for key, value in current.value:
            if key.value == part:
                line, current = f":{key.start_mark.line + 1}", value
                break
        else:
            break
    return line
