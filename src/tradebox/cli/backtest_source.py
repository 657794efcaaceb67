"""Where `--data yahoo` goes: in profile sim to the stand-in of this home and nowhere else.

Rules of this file:
- profile sim never leaves the box: without its own stand-in it refuses, and says what to do;
- prices of the stand-in are marked in the name of the source that the run keeps.
"""

import os
from urllib.parse import urlsplit

from tradebox.cli.status import ask, compose
from tradebox.config import Home, Settings
from tradebox.errors import ConfigInvalid, NotRunning


def lead_yahoo(home: Home, settings: Settings, data: str) -> None:
    """Lead yfinance to the running stand-in where the profile asks for it.

    Raises: ConfigInvalid when profile sim has no stand-in that runs.
    """
    if not data.startswith("yahoo") or settings.profile != "sim":
        return
    from tradebox.backtest.data.yahoo import ROUTE_VARIABLE

    if os.environ.get(ROUTE_VARIABLE):
        return
    try:
        address = compose(ask(home, "status"), home)["endpoints"].get("yahoo")
    except NotRunning:
        address = None
    port = urlsplit(address).port if address else None
    if port is None:
        raise ConfigInvalid(
            f"data={data}: profile sim asks only its own stand-in, and none runs on this home:"
            " start `tradebox run` first, or choose profile paper to ask the real Yahoo"
        )
    os.environ[ROUTE_VARIABLE] = f"{port},{home.sim_dir / 'tls' / 'ca.crt'}"
