"""The rules of style that a machine can see: sizes, bans, and what must not be in the tree."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "tui").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FILE_LINES_MAX, TEST_LINES_MAX, FUNCTION_LINES_MAX = 600, 800, 70


def relative(path):
    return path.relative_to(ROOT).as_posix()


def tracked():
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    ).stdout
    names = [name for name in listing.decode().split("\0") if name]
    if not names:
        pytest.skip("not a git checkout: there is no list of what belongs to the project")
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def nodes(path):
    return ast.walk(ast.parse(path.read_text()))


def test_there_is_something_to_check():
    assert len(SOURCES) > 50
    assert len(TESTS) > 30


def test_files_stay_small():
    long = [
        f"{relative(path)}: {count}"
        for path, limit in [(p, FILE_LINES_MAX) for p in SOURCES]
        + [(p, TEST_LINES_MAX) for p in TESTS]
        if (count := len(path.read_text().splitlines())) > limit
    ]
    assert not long


def test_functions_stay_small():
    long = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


def passes_on(handler):
    """A handler that cleans up and raises again swallows nothing."""
    return isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None


def test_broad_excepts_live_in_the_runtime_only():
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in SOURCES
        if "supervision/" not in relative(path)
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler)
        and not passes_on(node)
        and (
            node.type is None
            or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
        )
    ]
    assert not found


def test_only_the_command_line_prints():
    allowed = re.compile(r"/(cli|sim|embedded|calendars)/")
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in SOURCES
        if not allowed.search(relative(path))
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not found


def test_clocks_are_injected():
    wall = re.compile(r"datetime\.(now|utcnow|today)\(|(?<![\w.])asyncio\.sleep\(")
    found = [
        f"{relative(path)}:{number}"
        for path in SOURCES
        if not relative(path).endswith("supervision/clock.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if wall.search(line) and not line.lstrip().startswith("#")
    ]
    assert not found


def test_the_domain_reads_no_clock():
    clock = re.compile(r"\btime\.(time|monotonic|perf_counter)")
    found = [
        relative(path)
        for path in SOURCES
        if "/domain/" in relative(path) and clock.search(path.read_text())
    ]
    assert not found


def test_queues_are_bounded():
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in SOURCES
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] in ("Queue", "LifoQueue", "PriorityQueue")
        and not node.args
        and not any(keyword.arg == "maxsize" for keyword in node.keywords)
    ]
    assert not found


def test_money_is_never_a_float():
    names = re.compile(r"(price|_usd|cash|commission|amount)$")
    found = [
        f"{relative(path)}:{node.lineno} {ast.unparse(node.target)}"
        for path in SOURCES
        if "/domain/" in relative(path) or "/execution/" in relative(path)
        for node in nodes(path)
        if isinstance(node, ast.AnnAssign)
        and "float" in ast.unparse(node.annotation)
        and names.search(ast.unparse(node.target))
    ]
    assert not found


def test_nothing_is_left_to_do():
    marks = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError|pass  # stub")
    me = Path(__file__)
    found = [
        f"{relative(path)}:{number}"
        for path in [*SOURCES, *TESTS]
        if path != me
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if marks.search(line)
    ]
    assert not found


def test_the_tree_names_no_machine_and_no_address_of_a_registry():
    places = re.compile(r"/(?:home/[a-z]+|root|work|Users)/")
    found = [
        f"{relative(path)}:{number}"
        for path in tracked()
        if path.suffix not in (".gz", ".png", ".svg") and path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if places.search(line)
    ]
    assert not found
    assert not re.search(r"https?://", (ROOT / "requirements.lock").read_text())


def test_every_module_says_what_it_is():
    found = [
        relative(path)
        for path in SOURCES
        if path.stat().st_size and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert not found
