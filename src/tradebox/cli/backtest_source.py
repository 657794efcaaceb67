"""Where `--data yahoo` and `tradebox data` go: in profile sim to the stand-in of this home alone.

Rules of this file:
- profile sim never leaves the box: without its own stand-in it refuses, and says what to do;
- prices of the stand-in are marked in the name of the source that the run keeps;
- what is fetched is kept in the home, for as long as yahoo.history_kept_h says.
"""

import os
from urllib.parse import urlsplit

from tradebox.cli.status import ask, compose
from tradebox.config import Home, Settings
from tradebox.errors import ConfigInvalid, NotRunning


def lead_yahoo(home: Home, settings: Settings, data: str) -> None:
    """Tell whoever reads `--data yahoo` where to ask, and where history is kept.

    Raises: ConfigInvalid when profile sim has no stand-in that runs.
    """
    if not data.startswith("yahoo"):
        return
    name_place(home, settings)
    if settings.profile == "sim":
        from tradebox.adapters.yahoo.worker import ROUTE_VARIABLE

        os.environ[ROUTE_VARIABLE] = os.environ.get(ROUTE_VARIABLE) or sim_route(
            home, f"data={data}"
        )


def name_place(home: Home, settings: Settings) -> None:
    """Say in the environment where fetched history is kept, and for how long."""
    from tradebox.backtest.data.yahoo import HISTORY_VARIABLE

    kept_s = settings.yahoo.history_kept_h * 3600
    os.environ[HISTORY_VARIABLE] = f"{home.history_dir},{kept_s}"


def sim_route(home: Home, asked: str) -> str:
    """Return the way to the running stand-in. Raises ConfigInvalid where none runs."""
    try:
        address = compose(ask(home, "status"), home)["endpoints"].get("yahoo")
    except NotRunning:
        address = None
    port = urlsplit(address).port if address else None
    if port is None:
        raise ConfigInvalid(
            f"{asked}: profile sim asks only its own stand-in, and none runs on this home:"
            " start `tradebox run` first, or choose profile paper to ask the real Yahoo"
        )
    return f"{port},{home.sim_dir / 'tls' / 'ca.crt'}"
