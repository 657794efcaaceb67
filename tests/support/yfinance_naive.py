"""yfinance as most programs use it, behind the same lines as our worker: shows what it does wrong.

Arguments: port, root certificate, cache folder. One JSON wish a line in, one answer a line out.
"""

import asyncio
import contextlib
import json
import logging
import sys

import yfinance
from curl_cffi import CurlOpt, requests
from curl_cffi._wrapper import ffi, lib

port, authority, folder = sys.argv[1:]
logging.getLogger("yfinance").setLevel(logging.CRITICAL)
yfinance.set_tz_cache_location(folder)
routes = lib.curl_slist_append(ffi.NULL, f"::127.0.0.1:{port}".encode())
session = requests.Session(
    impersonate="chrome", verify=authority, curl_options={CurlOpt.CONNECT_TO: routes}
)


def say(answer):
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def history(symbol, *, is_loud):
    """Return the number of bars and the name of what was raised."""
    yfinance.config.debug.hide_exceptions = not is_loud
    try:
        frame = yfinance.Ticker(symbol, session=session).history(period="5d")
    except Exception as error:  # noqa: BLE001 - its name is the answer
        return {"bars": 0, "error": type(error).__name__}
    return {"bars": len(frame), "error": ""}


async def beside(symbol):
    """Ask in a coroutine, as if it did not block; return how often the loop beat meanwhile."""
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.01)

    heart = asyncio.ensure_future(beat())
    await asyncio.sleep(0.05)
    before = beats
    history(symbol, is_loud=False)
    missed = beats - before
    heart.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await heart
    return {"beats": missed, "before": before}


async def streaming():
    """Listen with the library's own socket, and say each turn of the loop; it never comes back."""
    stream = yfinance.AsyncWebSocket(f"wss://localhost:{port}/?version=2", verbose=False)
    await stream.subscribe(["AAPL"])
    listening = asyncio.ensure_future(stream.listen(lambda _message: None))
    while not listening.done():
        say({"beat": True})
        await asyncio.sleep(0.05)
    say({"ended": True})


say({"ready": True, "folder": ""})
for line in sys.stdin:
    wish = json.loads(line)
    match wish["do"]:
        case "quiet":
            told = history(wish["symbol"], is_loud=False)
        case "loud":
            told = history(wish["symbol"], is_loud=True)
        case "beside":
            told = asyncio.run(beside(wish["symbol"]))
        case _:
            told = asyncio.run(streaming())
    say({"id": wish["id"], "ok": told})
