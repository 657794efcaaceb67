"""Every row of the fault matrix is there exactly once, as a test or with a sentence why not."""

import ast
from pathlib import Path

from chaos.matrix.page import PAGE, text
from chaos.matrix.rows import ROWS

HERE = Path(__file__).parent
FILES = ("test_rows_01_32.py", "test_rows_33_56.py", "test_rows_57_64.py")


def registered(file: str) -> list[tuple[int, str]]:
    """Return (number, function) of every `@acts.row(number, …)` in a module, nothing run."""
    path = HERE / file
    tree = ast.parse(path.read_text()) if path.exists() else ast.parse("")
    found = []
    for node in tree.body:
        for decorator in getattr(node, "decorator_list", ()):
            is_row = isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)
            if is_row and decorator.func.attr == "row":
                found.append((ast.literal_eval(decorator.args[0]), node.name))
    return found


def test_the_table_has_64_rows():
    assert sorted(ROWS) == list(range(1, 65))
    assert all(row.title and row.act and row.expect for row in ROWS.values())


def test_every_row_is_a_test_or_has_its_sentence():
    numbers = [number for file in FILES for number, _ in registered(file)]
    assert len(numbers) == len(set(numbers)), "a row is there twice"
    for number, row in ROWS.items():
        assert (number in numbers) != bool(row.why_not), f"row {number}: {row.title}"


def test_a_row_stands_in_its_file_under_its_name():
    for file in FILES:
        low, high = (int(part) for part in file.removesuffix(".py").split("_")[-2:])
        for number, name in registered(file):
            assert low <= number <= high
            assert name.startswith(f"row_{number:02d}_")


def test_a_quick_row_is_no_row_without_a_test():
    assert not [row.number for row in ROWS.values() if row.is_quick and row.why_not]


def test_the_page_says_what_the_table_says():
    assert PAGE.read_text() == text(), "PYTHONPATH=tests python -m chaos.matrix.page"
