"""The simulator's folder: who it is, what it keeps, and that nobody else uses it.

Rules of this file:
- account ids and the vendor key are minted once per home and never change: whatever talks to a
  simulator can prove that it is this one;
- secrets are files of mode 0600 in a folder of mode 0700, replaced in one step;
- one simulator per folder, by a lock that dies with its process.
"""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path

from tradebox.config import private_dir
from tradebox.errors import HomeUnusable
from tradebox.sim.market.clock import write_atomically

LOCK_WAIT_S = 3.0
_LOCK_STEP_S = 0.05
_DIGITS = 7


@dataclass(frozen=True, slots=True)
class Identity:
    """What a home's simulator is known by. ports: those it had last, for a quick return."""

    account_paper: str
    account_live: str
    finnhub_key: str
    seed: int
    ports: tuple[int, ...] = ()

    @property
    def alphavantage_key(self) -> str:
        """Return the free key of the Alpha Vantage stand-in."""
        return self._derived("alphavantage free")

    @property
    def alphavantage_premium_key(self) -> str:
        """Return its premium key."""
        return self._derived("alphavantage premium")

    @property
    def yahoo_secret(self) -> str:
        """Return what makes the Yahoo stand-in's cookies and crumbs its own."""
        return self._derived("yahoo")

    def _derived(self, purpose: str) -> str:
        name = f"{purpose}|{self.finnhub_key}".encode()
        return blake2b(name, digest_size=8).hexdigest().upper()


class SimHome:
    """An open, locked folder of the simulator; `close` gives it back.

    Holds:   the identity read is the identity minted, for as long as the folder lives.
    Raises:  HomeUnusable if the folder is taken, unreadable, read-only or damaged.
    """

    def __init__(
        self,
        root: Path,
        seed: int | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._root = root
        try:
            private_dir(root)
            self._lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeUnusable(
                f"{root} cannot be used: {error.strerror}", path=str(root)
            ) from error
        try:
            self._take_lock(pause)
            self.identity = self._identify(seed)
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def clock_file(self) -> Path:
        """Return the market clock, read by everybody who needs market time."""
        return self._root / "clock.json"

    @property
    def ledger_file(self) -> Path:
        """Return the exchange's ledger, the outside truth."""
        return self._root / "ledger.jsonl"

    @property
    def calls_file(self) -> Path:
        """Return when the vendors' keys were used, for their limits."""
        return self._root / "calls.json"

    @property
    def tls_dir(self) -> Path:
        """Return the folder of the certificates that the Yahoo stand-in shows."""
        return self._root / "tls"

    @property
    def identity_file(self) -> Path:
        """Return the file of the account ids and the vendor key."""
        return identity_file(self._root)

    def keep_ports(self, ports: tuple[int, ...]) -> None:
        """Remember the ports in use, so that a restart comes back where its clients look."""
        if ports != self.identity.ports:
            self.identity = replace(self.identity, ports=ports)
            self._write()

    def say_ready(self, ready: dict[str, object]) -> None:
        """Leave the addresses for `tradebox sim fault`, until the end."""
        write_atomically(ready_file(self._root), json.dumps(ready))

    def close(self) -> None:
        """Give the folder back."""
        if self._lock >= 0:
            ready_file(self._root).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self, pause: Callable[[float], None]) -> None:
        """Lock the folder; a simulator that is just ending gets a moment to end."""
        for _ in range(round(LOCK_WAIT_S / _LOCK_STEP_S)):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pause(_LOCK_STEP_S)
            else:
                return
        raise HomeUnusable(
            f"another simulator runs in {self._root}: stop it or choose another --home",
            path=str(self._root),
        )

    def _identify(self, seed: int | None) -> Identity:
        try:
            self.identity = read_identity(self._root)
        except FileNotFoundError:
            self.identity = _minted(1 if seed is None else seed)
            self._write()
        if seed is not None and seed != self.identity.seed:
            self.identity = replace(self.identity, seed=seed)
            self._write()
        return self.identity

    def _write(self) -> None:
        keys = {
            "alphavantage_key": self.identity.alphavantage_key,
            "alphavantage_premium_key": self.identity.alphavantage_premium_key,
        }
        write_atomically(self.identity_file, json.dumps({**asdict(self.identity), **keys}))


def identity_file(root: Path) -> Path:
    """Return where a simulator's folder keeps its identity."""
    return root / "identity.json"


def ready_file(root: Path) -> Path:
    """Return where a running simulator says its addresses."""
    return root / "ready.json"


def read_identity(root: Path) -> Identity:
    """Return the identity of a simulator's folder.

    Raises: FileNotFoundError if it has none yet; HomeUnusable if it is damaged.
    """
    path = identity_file(root)
    try:
        data = json.loads(path.read_bytes())
        found = Identity(
            account_paper=str(data["account_paper"]),
            account_live=str(data["account_live"]),
            finnhub_key=str(data["finnhub_key"]),
            seed=int(data["seed"]),
            ports=tuple(int(port) for port in data["ports"]),
        )
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise HomeUnusable(
            f"{path} is damaged ({error}): remove the folder to begin a new market",
            path=str(path),
        ) from error
    return found


def _minted(seed: int) -> Identity:
    first = secrets.randbelow(9 * 10 ** (_DIGITS - 1)) + 10 ** (_DIGITS - 1)
    other = first
    while other == first:
        other = secrets.randbelow(9 * 10 ** (_DIGITS - 1)) + 10 ** (_DIGITS - 1)
    return Identity(f"SIM{first}", f"SIM{other}", secrets.token_hex(10), seed)
