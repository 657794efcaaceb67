"""docs/supervision.md names every case and every promise once, and what it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "tests" / "unit" / "supervision"
MACHINES = ROOT / "tests" / "property"
PAGE = (ROOT / "docs" / "supervision.md").read_text()
CASES = 66
WITHOUT_MEANING = {51}
PROMISES = [
    *(f"F{number}" for number in range(1, 12)),
    *(f"M{number}" for number in range(1, 5)),
    *(f"S{number}" for number in range(1, 10)),
]
NUMBERED = re.compile(r"test_(\d+(?:_\d+)*)(?:_to_(\d+))?_[a-z]")


def rows(first: str) -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if re.match(rf"\| {first} \|", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def functions_in(path: Path) -> dict[str, ast.AST]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text())
    return {node.name: node for node in tree.body if isinstance(node, kinds)}


def numbers_of(test: str) -> set[int]:
    found = NUMBERED.match(test)
    if found is None:
        return set()
    numbers = [int(part) for part in found.group(1).split("_")]
    last = found.group(2)
    return set(range(numbers[0], int(last) + 1)) if last else set(numbers)


def named(cell: str) -> list[tuple[str, str]]:
    return [tuple(each.split("::")) for each in re.findall(r"`([^`]+::[^`]+)`", cell)]


def test_every_case_stands_there_once_and_in_order():
    assert [int(row[0]) for row in rows(r"\d+")] == list(range(1, CASES + 1))


@pytest.mark.parametrize("row", rows(r"\d+"), ids=lambda row: row[0])
def test_a_case_is_shown_by_tests_of_its_number_or_has_a_sentence(row):
    number, _, shown = row
    if int(number) in WITHOUT_MEANING:
        assert shown.startswith("no meaning here: ")
        return
    assert named(shown)
    for file, test in named(shown):
        assert int(number) in numbers_of(test), test
        body = functions_in(UNIT / file)[test]
        checks = (ast.Assert, ast.With, ast.AsyncWith)
        assert any(isinstance(node, checks) for node in ast.walk(body)), test


def test_every_numbered_test_is_named_for_each_of_its_numbers():
    told = {(int(row[0]), *each) for row in rows(r"\d+") for each in named(row[2])}
    real = {
        (number, path.name, test)
        for path in UNIT.glob("test_*.py")
        for test in functions_in(path)
        for number in numbers_of(test)
    }
    assert told == real


def test_parametrized_ranges_hold_each_of_their_numbers():
    for path in UNIT.glob("test_*.py"):
        for test, node in functions_in(path).items():
            if len(numbers_of(test)) > 2:
                told = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
                assert numbers_of(test) <= told, test


def test_every_promise_stands_there_once_with_a_machine_and_a_mutant():
    found = rows(r"[FMS]\d+")
    assert [row[0] for row in found] == PROMISES
    for name, _, machines, mutants in found:
        assert mutants, name
        for machine in re.findall(r"`([^`]+)`", machines):
            assert (MACHINES / machine).is_file(), machine


@pytest.mark.parametrize("row", rows(r"[FMS]\d+"), ids=lambda row: row[0])
def test_a_promise_is_checked_by_name_and_has_its_mutant_in_the_machines_file(row):
    name, _, machines, _ = row
    text = "".join(
        (MACHINES / machine).read_text() for machine in re.findall(r"`([^`]+)`", machines)
    )
    text += (ROOT / "tests" / "support" / "feed_world.py").read_text()
    assert re.search(rf'"{name}[: "]', text) or f"test_{name.lower()}_" in text, "checked"
    is_planted = re.search(rf'\("{name}", ', text) or f'match="{name}' in text
    assert is_planted or f'match=r"^{name}' in text or f"test_{name.lower()}_a_retry" in text
