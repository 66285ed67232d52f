"""Each rule of `rules.md` is cited by a test, or is on the list of the rules that other folders prove."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from semantics import tables, tables_online, tables_requests
from tiffin import semantics

TESTS = Path(__file__).parents[1]
RULES = Path(semantics.__file__).with_name("rules.md")
NUMBER = re.compile(r"\b(?:ORD|(?:PIT|ONL|WR|MAT|STR|TYP|ODF|DEF)-\d+)\b")

#: What the oracle cannot show, for it has no bytes, no processes and no definitions; and where it is shown.
PROVEN_ELSEWHERE = {
    "ONL-4": "tests/parity: each fast path beside the plain one",
    "WR-6": "tests/unit: types and lossy casts; the oracle shows null keys and missing columns only",
    "WR-7": "tests/faults",
    "MAT-2": "tests/backends: cursors of the stores",
    "MAT-3": "tests/parity: late facts and the incremental run",
    "MAT-4": "tests/faults: memory bound, killed runs",
    "MAT-5": "tests/backends: refresh of a view",
    "STR-1": "tests/faults",
    "STR-2": "tests/property: windows",
    "STR-3": "tests/backends: stream sources",
    "STR-4": "tests/parity; the oracle shows it for itself",
    "STR-5": "tests/parity",
    "TYP-1": "tests/property: codecs and engines round-trip",
    "ODF-1": "tests/unit",
    "ODF-2": "tests/parity",
    "ODF-3": "tests/unit",
    "DEF-1": "tests/unit: plan",
    "DEF-2": "tests/backends: registry stores",
    "DEF-3": "tests/unit: plan",
    "DEF-4": "tests/unit: versions",
    "DEF-5": "tests/backends: registry stores",
    "DEF-6": "tests/architecture",
}


def rules_of_the_page() -> set[str]:
    return set(re.findall(r"^- \*\*(ORD|[A-Z]{2,3}-\d+)\*\*", RULES.read_text(encoding="utf-8"), flags=re.MULTILINE))


def rules_of_the_tables() -> set[str]:
    lists = (
        *(tables.RETRIEVALS, tables_requests.REFUSALS, tables_requests.SPINES),
        *(tables_online.ONLINE, tables_online.SERVES, tables_online.KEY_VALUES),
    )
    return {rule for cases in lists for case in cases for rule in case.rules}


def rules_of_the_docstrings() -> set[str]:
    """Numbers in the docstrings of test functions, in all folders; comments and module docstrings do not count."""
    cited: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        if path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            if is_test:
                cited |= set(NUMBER.findall(ast.get_docstring(node) or ""))
    return cited


def test_the_page_has_all_its_rules() -> None:
    families = {rule.split("-")[0] for rule in rules_of_the_page()}
    assert families == {"ORD", "PIT", "ONL", "WR", "MAT", "STR", "TYP", "ODF", "DEF"}
    assert {f"PIT-{number}" for number in range(1, 14)} <= rules_of_the_page()


def test_every_rule_that_the_oracle_covers_is_cited_by_a_test() -> None:
    covered = rules_of_the_page() - set(PROVEN_ELSEWHERE)
    assert covered - rules_of_the_tables() - rules_of_the_docstrings() == set()


def test_no_table_or_test_cites_a_rule_that_is_not_on_the_page() -> None:
    assert (rules_of_the_tables() | rules_of_the_docstrings()) - rules_of_the_page() == set()


def test_the_list_of_rules_proven_elsewhere_holds_rules_of_the_page() -> None:
    assert set(PROVEN_ELSEWHERE) - rules_of_the_page() == set()


@pytest.mark.parametrize(
    "cases",
    [tables.RETRIEVALS, tables_requests.REFUSALS, tables_requests.SPINES, tables_online.ONLINE, tables_online.SERVES],
    ids=["retrievals", "refusals", "spines", "online", "serves"],
)
def test_every_case_has_a_name_of_its_own_and_a_rule(cases) -> None:
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.rules for case in cases)
