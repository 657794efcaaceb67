"""Settings, the home and the addresses of a run.

Rules of this file:
- the home is light; what needs pydantic is loaded when it is first used, so that commands that
  only look (`status`, `tui`) start at once.
"""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tradebox.config.home import Endpoints, Home, find_home, private_dir

if TYPE_CHECKING:
    from tradebox.config.backtest import BacktestSettings
    from tradebox.config.load import environment_names, masked
    from tradebox.config.settings import (
        FORBIDDEN_SIM_PORTS,
        AccountSettings,
        AlphaVantageSettings,
        BarsSettings,
        FeedSettings,
        FilterSettings,
        FinnhubSettings,
        LauncherSettings,
        LimitSettings,
        LiveSettings,
        LogSettings,
        ManagerSettings,
        PostgresSettings,
        Profile,
        RedisSettings,
        Settings,
        SimSettings,
        TapeSettings,
        TierSettings,
        YahooSettings,
    )

__all__ = [
    "FORBIDDEN_SIM_PORTS",
    "AccountSettings",
    "AlphaVantageSettings",
    "BacktestSettings",
    "BarsSettings",
    "Endpoints",
    "FeedSettings",
    "FilterSettings",
    "FinnhubSettings",
    "Home",
    "LauncherSettings",
    "LimitSettings",
    "LiveSettings",
    "LogSettings",
    "ManagerSettings",
    "PostgresSettings",
    "Profile",
    "RedisSettings",
    "Settings",
    "SimSettings",
    "TapeSettings",
    "TierSettings",
    "YahooSettings",
    "environment_names",
    "find_home",
    "load_settings",
    "masked",
    "private_dir",
]

_LOADED_LATE = {"environment_names": "load", "masked": "load"}


def load_settings(
    home: Home,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> "Settings":
    """Return the settings of a run: flags, environment, file, defaults, in falling rank.

    flags: nested mapping of what the command line set, e.g. {"sim": {"speed": 5.0}}.
    Raises:  ConfigInvalid naming every bad field with its value and the fix.
    """
    from tradebox.config import load

    return load.load_settings(home, flags, environ)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LOADED_LATE.get(name, 'settings')}")
    value = getattr(module, name)
    globals()[name] = value
    return value
