"""Tells the console where its two read-only stores are: all that it is ever given."""

import orjson

from tradebox.adapters.embedded.addresses import store_addresses
from tradebox.adapters.embedded.folders import write_private
from tradebox.config import Home, Settings


def write_console_places(home: Home, settings: Settings) -> None:
    """Write run/console.json, mode 0600: the console's own logins and the profile."""
    stores = store_addresses(home, settings)
    places = {
        "postgres": stores.postgres_console,
        "redis": stores.redis_console,
        "profile": settings.profile,
        "world": "SIMULATED" if settings.profile == "sim" else "",
    }
    write_private(home.console_file, orjson.dumps(places).decode())
