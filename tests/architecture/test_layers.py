"""The arrows between the parts point one way, and only the backend of a system knows its client library."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import tiffin

ROOT = Path(tiffin.__file__).parent

#: Each part may import from its own row and from the rows above it.
LAYERS = [
    {"errors", "time", "types", "columns", "equality", "compat"},
    {"definitions"},
    {"registry", "semantics"},
    {"planning", "windows", "online", "transforms", "messages", "sql", "contracts", "config", "client"},
    {"backends"},
    {"operations"},
    {"quality", "governance", "testing"},
    {"store_catalog", "store_quality"},
    {"store"},
    {"cli", "server", "integrations"},
]
RANK = {part: rank for rank, row in enumerate(LAYERS) for part in row}

#: Client libraries, and the only parts that may import them.
CLIENTS = {
    "duckdb": {"backends/duckdb", "transforms/sql.py"},
    "sqlite3": {"backends/sqlite"},
    "sqlalchemy": {"backends/sql"},
    "redis": {"backends/redis"},
    "psycopg": {"backends/postgres"},
    "psycopg_pool": {"backends/postgres"},
    "aiobotocore": {"backends/dynamodb"},
    "botocore": {"backends/dynamodb", "backends/kinesis"},
    "confluent_kafka": {"backends/kafka"},
    "pyspark": {"backends/spark"},
    "py4j": {"backends/spark"},
    "fastavro": {"messages/avro.py"},
    "google": {"messages/protobuf.py"},
    "lmdb": {"backends/lmdb"},
    "sqlglot": {"sql"},
    "opentelemetry": {"server/traces.py", "server/app.py"},
    "click": {"cli"},
    "rich": {"cli"},
    "yaml": {"config.py", "cli"},
    "pydantic": {"config.py"},
}


def modules() -> list[Path]:
    return [path for path in ROOT.rglob("*.py") if "templates" not in path.relative_to(ROOT).parts[:-2]]


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports(path: Path) -> list[tuple[int, str]]:
    """The lines that import, each with what."""
    found = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.append((node.lineno, node.module))
    return found


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_part_has_its_place() -> None:
    parts = {part_of(path) for path in modules()} - {"__init__"}
    assert parts <= set(RANK), f"give {parts - set(RANK)} a row in LAYERS"


@pytest.mark.parametrize("part", sorted(RANK))
def test_arrows_point_one_way(part: str) -> None:
    wrong = []
    for path in modules():
        if part_of(path) != part:
            continue
        for line, module in imports(path):
            words = module.split(".")
            if words[0] == "tiffin" and len(words) > 1 and RANK.get(words[1], -1) > RANK[part]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong


def test_a_backend_imports_no_other_backend() -> None:
    wrong = []
    for path in (ROOT / "backends").glob("*/*.py"):
        own = f"tiffin.backends.{path.parent.name}"
        for line, module in imports(path):
            if module.startswith("tiffin.backends.") and not (module + ".").startswith(own + "."):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong


@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_a_client_library_is_known_in_one_place(client: str) -> None:
    wrong = []
    for path in modules():
        place = path.relative_to(ROOT).as_posix()
        if any(place == allowed or place.startswith(allowed + "/") for allowed in CLIENTS[client]):
            continue
        wrong += [f"{place}:{line}" for line, module in imports(path) if module.split(".")[0] == client]
    assert not wrong, f"{client} belongs to {CLIENTS[client]}"


def test_nothing_unpickles_or_executes_data() -> None:
    """DEF-6: neither pickle nor eval nor exec anywhere in the package."""
    wrong = []
    for path in modules():
        for node in nodes(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
        wrong += [
            f"{path.relative_to(ROOT)}:{line}"
            for line, module in imports(path)
            if module.split(".")[0] in ("pickle", "dill", "cloudpickle", "marshal", "shelve")
        ]
    assert not wrong


def test_only_one_module_reads_the_wall_clock() -> None:
    """Time is an argument: everything else gets a clock or a moment."""
    forbidden = {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("time", "time"), ("time", "time_ns")}
    wrong = []
    for path in modules():
        if path == ROOT / "time.py":
            continue
        for node in nodes(path):
            named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if named and (node.value.id, node.attr) in forbidden:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong
