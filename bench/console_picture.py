"""`python -m bench.console_picture`: draws docs/console.svg from a real run.

Rules of this file:
- a whole run in profile sim with its demo plans; the picture is taken when positions are open;
- the console in it is the real one with the real reader, without a terminal.
"""

import asyncio
import re
import sys
import time
from typing import Any

from bench.live_run import ROOT, LiveRun, live_run
from tradebox.readmodel.reader import Reader
from tradebox_tui.app import ConsoleApp

PICTURE = ROOT / "docs" / "console.svg"
SIZE = (100, 30)
POSITIONS_MIN, STEPS_MIN = 3, 4
WAIT_S_MAX = 150.0
PERIOD_S = 1.0
FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def _is_telling(app: ConsoleApp) -> bool:
    """Say whether there is something to see: positions, and steps among what was told."""
    held = [plan for plan in app.view.plans() if plan.get("quantity")]
    steps = [row for row in app.view.listing("alerts") if row.get("kind") == "step"]
    return len(held) >= POSITIONS_MIN and len(steps) >= STEPS_MIN


async def _draw(run: LiveRun) -> str:
    app = ConsoleApp(Reader(run.home.console_file), is_manual=True)
    async with app.run_test(size=SIZE) as pilot:
        until_s = time.monotonic() + WAIT_S_MAX
        while not _is_telling(app) and time.monotonic() < until_s:
            await app.pulse()
            await asyncio.sleep(PERIOD_S)
        await pilot.pause()
        return app.export_screenshot(title="tradebox · make run")


def main() -> int:
    """Run, look, draw."""
    config: dict[str, dict[str, Any]] = {"sim": {"demo_plans": True, "speed": 20}}
    with live_run(config) as run:
        drawn = asyncio.run(_draw(run))
    PICTURE.write_text(FONTS.sub("", drawn))
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
