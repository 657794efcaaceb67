"""`python -m tradebox.adapters.yahoo`: the worker; one JSON wish a line in, one answer a line out.

Rules of this file:
- it gives way to everyone else (nice) and never outlives who started it: the end of its input ends
  it at once, also in the middle of a call;
- its first line says that it is ready; nothing but answers ever reaches its output;
- an error that yfinance is not known for ends the process: whoever asked starts a fresh one.
"""

import os
import queue
import shutil
import sys
import tempfile
import threading
from typing import Any, NoReturn

import orjson

ROUTE_VARIABLE = "_TRADEBOX_YAHOO_ROUTE"
"""PORT,AUTHORITY: lead every connection to this port of loopback and trust that root."""

WAITING_MAX = 64
NICENESS = 10


def main() -> NoReturn:
    """Answer wishes until the input ends."""
    os.nice(NICENESS)
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    wishes: queue.Queue[bytes] = queue.Queue(maxsize=WAITING_MAX)
    folder = tempfile.mkdtemp(prefix="tradebox-yahoo-")
    threading.Thread(target=_read, args=(wishes, folder), daemon=True).start()
    from tradebox.adapters.yahoo.client import YahooClient

    client = YahooClient(folder, os.environ.get(ROUTE_VARIABLE, ""))
    _say(answers, {"ready": True, "pid": os.getpid(), "folder": folder})
    while True:
        wish = orjson.loads(wishes.get())
        _say(answers, {"id": wish["id"], **_done(client, wish)})


def _done(client: Any, wish: dict[str, Any]) -> dict[str, Any]:
    match wish["do"]:
        case "quote":
            return {"ok": client.quote(wish["symbol"])}
        case "history":
            return {"ok": client.history(wish["symbol"], wish["period"])}
        case other:
            raise AssertionError(f"no such wish: {other}")


def _read(wishes: "queue.Queue[bytes]", folder: str) -> NoReturn:
    """Take wishes in; at the end of the input there is nobody left to answer."""
    for line in sys.stdin.buffer:
        wishes.put(line)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _say(handle: int, answer: dict[str, Any]) -> None:
    data = memoryview(orjson.dumps(answer) + b"\n")
    while data:
        data = data[os.write(handle, data) :]


if __name__ == "__main__":
    main()
