"""docs/simulator.md, word by word: its commands and programs, run as a stranger would."""

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DEADLINE_S = 120

pytestmark = pytest.mark.timeout(400)


class Stranger:
    """Somebody with a home and a folder of their own, and `tradebox` on the path."""

    def __init__(self, folder: Path) -> None:
        self.home, self.folder, tools = folder / "home", folder / "work", folder / "bin"
        for one in (self.home, self.folder, tools):
            one.mkdir()
        command = tools / "tradebox"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tradebox "$@"\n')
        command.chmod(0o755)
        self.environment = {
            "HOME": str(self.home),
            "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LANG": "C.UTF-8",
        }

    def run(self, kind: str, text: str) -> str:
        """Run a block of the page; return what it printed."""
        command = ["bash", "-eu", "-c"] if kind == "sh" else [sys.executable, "-c"]
        output, errors = self.folder / "out", self.folder / "err"
        with output.open("w") as out, errors.open("w") as err:
            done = subprocess.run(
                [*command, text],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=DEADLINE_S,
                check=False,
                start_new_session=True,
            )
        assert done.returncode == 0, f"{text}\n{errors.read_text()}"
        assert "Traceback" not in errors.read_text()
        return output.read_text()

    def pids(self) -> list[int]:
        return [int(path.read_text()) for path in self.folder.glob("*.pid")]


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Stranger]:
    one = Stranger(tmp_path)
    yield one
    for pid in one.pids():
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)


def test_every_command_and_program_of_the_page_does_what_it_says(stranger: Stranger) -> None:
    blocks = BLOCK.findall(PAGE.read_text())
    said = {text: stranger.run(kind, text) for kind, text in blocks}

    def of(word: str) -> str:
        (found,) = [output for text, output in said.items() if word in text]
        return found

    assert [kind for kind, _ in blocks].count("python") == 7
    ready = json.loads((stranger.folder / "my-sim.json").read_text())
    paper = ready["accounts"]["paper"]
    assert re.search(rf"\['{paper}'\] Filled \d+", of("from ib_async import"))
    assert re.search(rf"{paper} AAPL 10 \d+", of("from ibapi.client import"))
    assert '"type":"trade"' in of("ready['finnhub_ws']")
    assert "DATA DELAYED BY 15 MINUTES" in of("GLOBAL_QUOTE")
    assert "Dividends" in of("import yfinance\n")
    assert "'id': 'AAPL'" in of("yfinance.live")
    listed = of("tradebox sim fault list")
    assert "gateway.drop_ack" in listed
    assert "set: gateway.drop_ack, finnhub.hold, market.halt" in listed
    assert listed.rstrip().endswith("no fault is set")
    assert '"rate_limit":[{' in of("/faults/set")
    assert "'kind': 'execution'" in of('["ledger_file"]')
    assert '"digest":' in of("day.jsonl")
    for pid in stranger.pids():
        assert ends(pid)


def ends(pid: int) -> bool:
    """Say whether a process that is nobody's child any more ends in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], DEADLINE_S)[0])
    finally:
        os.close(handle)
