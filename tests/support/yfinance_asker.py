"""Asks the unmodified yfinance by real host names, with every connection led to one port.

Arguments: port, root certificate, cache folder, then expressions; prints their values as JSON.
"""

import json
import math
import sys

import yfinance
from curl_cffi import CurlOpt, requests
from curl_cffi._wrapper import ffi, lib
from yfinance.data import YfData

port, authority, folder, *expressions = sys.argv[1:]
yfinance.set_tz_cache_location(folder)
routes = lib.curl_slist_append(ffi.NULL, f"::127.0.0.1:{port}".encode())
session = requests.Session(
    impersonate="chrome", verify=authority, curl_options={CurlOpt.CONNECT_TO: routes}
)


def plain(value):
    is_missing = isinstance(value, float) and math.isnan(value)
    return None if is_missing else value


def history(symbol, **options):
    frame = yfinance.Ticker(symbol, session=session).history(**options)
    columns = {name: [plain(value) for value in frame[name].tolist()] for name in frame.columns}
    return {"index": [str(moment) for moment in frame.index], **columns}


def fast(symbol):
    return yfinance.Ticker(symbol, session=session).fast_info["lastPrice"]


def crumb():
    return YfData(session=session)._get_cookie_and_crumb()[0]


def strategy():
    return YfData(session=session)._get_cookie_and_crumb()[1]


def error(symbol):
    """Return the name of what a question for a symbol raises."""
    yfinance.config.debug.hide_exceptions = False
    try:
        history(symbol, period="5d")
    except Exception as problem:  # noqa: BLE001 - its name is the answer
        return type(problem).__name__
    return ""


def live(*symbols):
    """Return the first messages that the library's own stream hands over."""
    found = []

    def keep(message):
        found.append(message)
        if len(found) >= 5:
            raise KeyboardInterrupt

    # The library takes no context: SSL_CERT_FILE says whom to trust.
    stream = yfinance.WebSocket(f"wss://localhost:{port}/?version=2", verbose=False)
    stream.subscribe(list(symbols))
    stream.listen(keep)
    return found


known = {
    "live": live,
    "history": history,
    "fast": fast,
    "crumb": crumb,
    "strategy": strategy,
    "error": error,
}
sys.stdout.write(json.dumps([eval(one, known) for one in expressions]))
