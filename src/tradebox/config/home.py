"""The layout of the home and the addresses of a run.

Rules of this file:
- every path tradebox uses is named here once;
- nothing outside the home and its socket folder is ever touched;
- whoever comes first makes the home, so every maker of a folder in it uses `private_dir`.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ENV_HOME = "TRADEBOX_HOME"


@dataclass(frozen=True, slots=True)
class Home:
    """Every path tradebox uses. Nothing outside `root` and `socket_dir` is ever touched."""

    root: Path

    @property
    def config_file(self) -> Path:
        """The TOML file of settings; may be absent."""
        return self.root / "config.toml"

    @property
    def secrets_dir(self) -> Path:
        """Passwords and keys, 0700; files 0600."""
        return self.root / "secrets"

    @property
    def postgres_dir(self) -> Path:
        """The embedded PostgreSQL cluster."""
        return self.root / "data" / "postgres"

    @property
    def redis_dir(self) -> Path:
        """The embedded Valkey's folder."""
        return self.root / "data" / "valkey"

    @property
    def logs_dir(self) -> Path:
        """Log files and post-mortems."""
        return self.root / "logs"

    @property
    def sim_dir(self) -> Path:
        """The stand-in world's ledger, clock and account ids."""
        return self.root / "sim"

    @property
    def spool_dir(self) -> Path:
        """Facts and exits that wait for PostgreSQL."""
        return self.root / "spool"

    @property
    def tape_dir(self) -> Path:
        """Recorded trades, one file a day, where the recorder is on."""
        return self.root / "tape"

    @property
    def bars_dir(self) -> Path:
        """Vetted bars of backtests, one folder per content."""
        return self.root / "data" / "bars"

    @property
    def history_dir(self) -> Path:
        """Fetched history, one folder per source."""
        return self.root / "data" / "history"

    @property
    def engine_lock(self) -> Path:
        """Exclusive flock of `tradebox run`."""
        return self.root / "run" / "engine.lock"

    @property
    def lease_lock(self) -> Path:
        """Shared flock of every command that uses the stores."""
        return self.root / "run" / "lease.lock"

    @property
    def boot_epoch_file(self) -> Path:
        """The fsynced counter behind every epoch."""
        return self.root / "run" / "boot_epoch"

    @property
    def console_file(self) -> Path:
        """Where the console finds its two read-only stores; all it is ever given."""
        return self.root / "run" / "console.json"

    @property
    def kill_file(self) -> Path:
        """The kill switch's file: present = no entries."""
        return self.root / "run" / "KILL"

    @property
    def socket_dir(self) -> Path:
        """A short 0700 folder for Unix sockets: a socket path holds 107 bytes, a home may not.

        Removed at stop. Named by user and home, so that two homes never meet.
        """
        digest = hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"tradebox-{os.getuid()}-{digest}"

    @property
    def control_socket(self) -> Path:
        """The launcher's control socket."""
        return self.socket_dir / "control" / "control.sock"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where everything is in this run; None = not there yet.

    Units: DSNs are URLs including the role's password: mask before showing.
    """

    postgres_trade: str | None = None
    postgres_research: str | None = None
    postgres_console: str | None = None
    redis_engine: str | None = None
    redis_console: str | None = None
    gateway_paper: tuple[str, int] | None = None
    gateway_live: tuple[str, int] | None = None
    account_paper: str | None = None
    account_live: str | None = None
    finnhub_rest: str | None = None
    finnhub_ws: str | None = None
    alphavantage: str | None = None
    yahoo: str | None = None
    yahoo_ca: str | None = None
    sim_control: str | None = None
    market_clock_file: str | None = None


def private_dir(path: Path) -> Path:
    """Make a folder of the home, and each parent that is not there, all 0700; return it.

    Raises: OSError.
    """
    if not path.parent.exists():
        private_dir(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def find_home(flag: Path | None = None, environ: Mapping[str, str] = os.environ) -> Home:
    """Return the home: the flag, else TRADEBOX_HOME, else the platform's data folder."""
    named = flag or (Path(environ[ENV_HOME]) if environ.get(ENV_HOME) else None)
    return Home((named or _data_path()).expanduser().absolute())


def _data_path() -> Path:
    from platformdirs import user_data_path

    return user_data_path("tradebox", appauthor=False)
