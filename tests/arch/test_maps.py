"""A folder too large to be seen at a glance has a map in its docstring, and the map is true."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES_MAX = 25
ENTRY_POINTS = {"__init__", "__main__"}


def modules_of(folder):
    return {path.stem for path in folder.glob("*.py")} - ENTRY_POINTS


def large_folders():
    packages = [*ROOT.glob("src/tradebox/**/__init__.py"), *ROOT.glob("tui/**/__init__.py")]
    folders = [path.parent for path in (*packages, ROOT / "bench" / "__init__.py")]
    return sorted(folder for folder in folders if len(modules_of(folder)) > MODULES_MAX)


def words_of(folder):
    told = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()), clean=False)
    return set(re.findall(r"[a-z_]+", told))


def test_there_are_large_folders():
    assert ROOT / "src" / "tradebox" / "domain" in large_folders()


@pytest.mark.parametrize("folder", large_folders(), ids=lambda folder: folder.name)
def test_a_large_folder_names_each_of_its_modules_and_no_other(folder):
    modules, words = modules_of(folder), words_of(folder)
    assert not modules - words, "the map in __init__.py names every module"
    assert not {word for word in words if "_" in word} - modules, "and none that is gone"
