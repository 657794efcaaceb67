"""A toy run: `toy_run.py SCENARIO.json` starts the launcher with toy servers and a toy engine."""

import asyncio
import gc
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from tradebox.supervision.launcher import EngineContext, Launcher, LauncherOptions
from tradebox.supervision.locks import hold_exclusive
from tradebox.supervision.servers import ServerSpec

SCENARIO = json.loads(Path(sys.argv[1]).read_text())
FOLDER = Path(SCENARIO["folder"])
TOY = str(Path(__file__).with_name("toy_server.py"))


def trace(word: str) -> None:
    with (FOLDER / "trace").open("a") as file:
        file.write(f"engine {word}\n")


def toy_busy_hang() -> None:
    while True:
        pass


def toy_sleep_hang() -> None:
    time.sleep(3600)


class Toy:
    def __init__(self, context: EngineContext) -> None:
        self.context = context
        self.notices: list[list[object]] = []

    def on_ask(self, ask) -> None:
        loop = asyncio.get_running_loop()
        if ask.name == "busy":
            loop.call_soon(toy_busy_hang)
        elif ask.name == "sleep":
            loop.call_soon(toy_sleep_hang)
        elif ask.name == "actor":
            # One actor falls silent while the loop goes on.
            slot = self.context.slots.open("toy.actor", 1, 0.1)
            slot.write(time.monotonic())
        elif ask.name == "exit":
            os._exit(ask.data["code"])
        elif ask.name == "raise":
            raise RuntimeError("a question that breaks")
        elif ask.name == "stop":
            self.context.report("stop", ask.data)
        elif ask.name == "silent":
            return
        elif ask.name == "shout":
            told = sum(self.context.report("line", {"text": "x" * 1000}) for _ in range(10_000))
            ask.reply({"told": told, "refused": self.context.link.refused})
            return
        elif ask.name == "look":
            ask.reply(self.look())
            return
        ask.reply({"doing": ask.name})

    def on_notice(self, name: str, data: dict) -> None:
        self.notices.append([data["name"], data["state"]])

    def look(self) -> dict:
        try:
            importlib.import_module("pandas")
        except ImportError:
            is_fenced = True
        else:
            is_fenced = False
        return {
            "ready": dict(self.context.ready),
            "generation": self.context.generation,
            "boot_epoch": self.context.boot_epoch,
            "notices": self.notices,
            "files": _own_files(),
            "is_fenced": is_fenced,
            "is_preloaded": "graphlib" in sys.modules,
            "frozen": gc.get_freeze_count(),
            "session": os.getsid(0) == os.getpid(),
            "environ": {
                k: os.environ.get(k) for k in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "OMP_NUM_THREADS")
            },
            "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        }


def _own_files() -> list[str]:
    links = list(Path("/proc/self/fd").iterdir())
    return sorted(str(link.readlink()) for link in links if link.is_symlink())


def engine(context: EngineContext) -> int:
    trace(f"start {context.generation}")
    context.counters.add("starts")
    act = SCENARIO.get("engine", {}).get(str(context.generation), SCENARIO.get("always", "serve"))
    if act == "raise":
        raise RuntimeError("toy failure")
    if act.startswith("exit"):
        return int(act.removeprefix("exit"))
    if act == "never ready":
        toy_sleep_hang()

    async def main() -> None:
        toy = Toy(context)
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        if act == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            loop.add_signal_handler(signal.SIGTERM, over.set)
        context.link.attach(loop, toy.on_ask, toy.on_notice)
        context.start_heartbeat(loop)
        context.report("status", {"generation": context.generation})
        context.report("ready", {})
        context.report("line", {"text": f"hello from {context.generation}"})
        await over.wait()
        trace("stop")
        context.report("summary", {"starts": context.counters.values()["starts"]})

    asyncio.run(main())
    return 0


def spec(data: dict) -> ServerSpec:
    name, what = data.pop("name"), data.pop("what", "ok")
    stop = data.pop("stop", None)
    if stop == "command":
        data["stop"] = [sys.executable, "-S", TOY, str(FOLDER), name, "stop"]
    data["needs"] = tuple(data.get("needs", ()))
    argv = data.pop("argv", [sys.executable, "-S", TOY, str(FOLDER), name, what])

    def environ(ready) -> dict[str, str]:
        if what == "unworded":
            raise KeyError("no such address")
        return {"TOY": json.dumps(dict(ready))}

    return ServerSpec(name=name, argv=argv, env=environ, **data)


def broken_render(*_args) -> str:
    raise ValueError("no words")


def main() -> int:
    lock = hold_exclusive(FOLDER / "lock")
    if lock is None:
        return 5
    if SCENARIO.get("is_mute"):
        SCENARIO["options"] = {"render": broken_render, "render_summary": broken_render}
    options = LauncherOptions(
        post_mortem_folder=FOLDER / "dead",
        control_path=FOLDER / "c.sock",
        boot_epoch=7,
        **{"dump_ms": 1000, "leash_ms": 1000, **SCENARIO.get("options", {})},
    )
    servers = [spec(data) for data in SCENARIO.get("servers", [])]
    return Launcher(servers, engine, SCENARIO.get("preload", ["graphlib"]), options).run()


sys.exit(main())
