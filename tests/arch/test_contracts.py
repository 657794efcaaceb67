"""Every import contract catches a violation of it: planted in a copy of the tree, once."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERDICT = re.compile(r"^(?P<name>.+) (?P<verdict>KEPT|BROKEN)\b", re.MULTILINE)
PLANTS = {
    "layers": ("src/tradebox/domain/money.py", "import tradebox.execution.codes"),
    "order-port": ("src/tradebox/actors/printer.py", "import tradebox.ports.orders"),
    "order-adapter": ("src/tradebox/actors/feed.py", "import tradebox.adapters.ibkr.orders.port"),
    "adapters": ("src/tradebox/actors/ingest.py", "import tradebox.adapters.spool"),
    "readmodel": ("src/tradebox/readmodel/rows.py", "import tradebox.execution.identity"),
    "console": ("tui/tradebox_tui/keys.py", "import tradebox.actors.feed"),
    "nobody-imports-console": ("src/tradebox/cli/tui.py", "import tradebox_tui.keys"),
    "pure-domain": ("src/tradebox/domain/orders.py", "import asyncio"),
    "runtime": ("src/tradebox/supervision/gate.py", "import tradebox.domain.money"),
    "ib-async": ("src/tradebox/actors/feed.py", "import ib_async"),
    "asyncpg": ("src/tradebox/actors/feed.py", "import asyncpg"),
    "redis": ("src/tradebox/actors/feed.py", "import redis"),
    "no-pandas": ("src/tradebox/actors/feed.py", "import pandas"),
    "backtest-drivers": ("src/tradebox/actors/feed.py", "import numba"),
    "talib": ("src/tradebox/actors/feed.py", "import talib"),
}


def contracts():
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    prefix = "importlinter:contract:"
    return {
        section.removeprefix(prefix): parser[section]["name"]
        for section in parser.sections()
        if section.startswith(prefix)
    }


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    copy = tmp_path_factory.mktemp("tree")
    skipped = shutil.ignore_patterns("__pycache__", "*.gz")
    for folder in ("src", "tui"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=skipped)
    shutil.copy(ROOT / ".importlinter", copy)
    for path, line in PLANTS.values():
        with (copy / path).open("a") as file:
            file.write(f"\n{line}\n")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    done = subprocess.run(
        [*command, "--no-cache"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": f"{copy}/src{os.pathsep}{copy}/tui", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return {
        match["name"]: match["verdict"]
        for match in re.finditer(
            r"^(?P<name>.+) (?P<verdict>KEPT|BROKEN)\b", done.stdout, re.MULTILINE
        )
    }


def test_every_contract_has_a_planted_violation():
    assert set(PLANTS) == set(contracts())


@pytest.mark.parametrize("contract", sorted(PLANTS))
def test_a_planted_violation_is_caught(verdicts, contract):
    assert verdicts[contracts()[contract]] == "BROKEN"
