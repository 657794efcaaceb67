"""Settings, the home and the addresses of a run."""

from tradebox.config.home import Endpoints, Home
from tradebox.config.load import environment_names, find_home, load_settings, masked
from tradebox.config.settings import (
    FORBIDDEN_SIM_PORTS,
    AccountSettings,
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
)

__all__ = [
    "FORBIDDEN_SIM_PORTS",
    "AccountSettings",
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
    "environment_names",
    "find_home",
    "load_settings",
    "masked",
]
