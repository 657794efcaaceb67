"""An engine that can be hung: `hang_engine.py FOLDER` runs it under the real launcher.

Rules of this file:
- the launcher preloads what the trading engine needs, so that the fork is as large as the real one;
- the engine reports the monotonic time of its loop's first turn, and does what it is asked.
"""

import asyncio
import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

from tradebox.app.run import PRELOAD
from tradebox.supervision.engine import EngineContext
from tradebox.supervision.launch_options import LauncherOptions
from tradebox.supervision.launcher import Launcher

LONG_S = 3600


def _loop_for_ever() -> None:
    while True:
        pass


def _hold_the_gil() -> None:
    ctypes.PyDLL(None).sleep(LONG_S)


HANGS = {"python_loop": _loop_for_ever, "c_call_holding_the_gil": _hold_the_gil}


def _engine(context: EngineContext) -> int:
    import uvloop

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first_ns = time.monotonic_ns()

        def on_ask(ask: Any) -> None:
            ask.reply({"hung_mono_ns": time.monotonic_ns(), "pid": os.getpid()})
            loop.call_later(0.005, HANGS[ask.name])

        context.link.attach(loop, on_ask)
        context.start_heartbeat(loop)
        context.report("status", {"first_ns": first_ns, "generation": context.generation})
        context.report("ready", {})
        over = asyncio.Event()
        loop.add_signal_handler(15, over.set)
        await over.wait()

    uvloop.run(main())
    return 0


def run(folder: Path) -> int:
    """Serve until SIGTERM."""
    options = LauncherOptions(
        post_mortem_folder=folder / "dead", control_path=folder / "c.sock", deaths_max=1_000_000
    )
    return Launcher([], _engine, PRELOAD, options).run()


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
