"""Whether account, gateway, port and profile all name the same book.

Rules of this file:
- everything must agree before the first order byte; what is not known does not agree;
- profile sim never opens a connection to a port of a real gateway.
"""

from dataclasses import dataclass
from typing import Final

from tradebox.config import FORBIDDEN_SIM_PORTS, Profile
from tradebox.domain.orders import AccountName
from tradebox.ports.orders import LinkInfo

_LIVE_PORTS: Final = frozenset({4001, 7496})
_PAPER_PORTS: Final = frozenset({4002, 7497})
_SIM_PREFIX: Final = "SIM"
_PAPER_PREFIXES: Final = ("DU", "DF")
_LIVE_PREFIXES: Final = ("U", "F")


@dataclass(frozen=True, slots=True)
class Identity:
    """The book that a link must find. live_is_confirmed: every switch for live is set."""

    profile: Profile
    name: AccountName
    account_id: str | None
    host: str
    port: int | None
    live_is_confirmed: bool = False


def address_fault(identity: Identity) -> str | None:
    """Return why no connection may be opened to this address, or None."""
    port = identity.port
    if port is None:
        return f"the port of the {identity.name} gateway is not known"
    if identity.profile == "sim":
        if port in FORBIDDEN_SIM_PORTS:
            return f"port {port} belongs to a real gateway and profile sim never talks to one"
        return None
    if identity.name is AccountName.PAPER and port in _LIVE_PORTS:
        return f"port {port} is a live gateway's, the controller is paper"
    if identity.name is AccountName.LIVE and port in _PAPER_PORTS:
        return f"port {port} is a paper gateway's, the controller is live"
    return None


def account_fault(identity: Identity, info: LinkInfo) -> str | None:
    """Return why the account behind this connection is not ours, or None.

    Holds:   None only if the configured account is managed by the gateway, its prefix fits the
             profile, the address is the configured one, and live is confirmed.
    """
    account = identity.account_id
    if account is None:
        return f"no account is configured for {identity.name}"
    if account not in info.accounts:
        return f"the gateway manages {', '.join(info.accounts) or 'nothing'}, not {account}"
    if (info.host, info.port) != (identity.host, identity.port):
        return f"connected to {info.host}:{info.port}, configured {identity.host}:{identity.port}"
    fault = _prefix_fault(identity, account)
    if fault is not None:
        return fault
    if identity.profile == "live" and identity.name is AccountName.LIVE:
        return None if identity.live_is_confirmed else "live trading is not confirmed"
    return None


def _prefix_fault(identity: Identity, account: str) -> str | None:
    if identity.profile == "sim":
        is_sim = account.startswith(_SIM_PREFIX)
        return None if is_sim else f"{account} is no simulated account (SIM…)"
    if identity.name is AccountName.PAPER:
        is_paper = account.startswith(_PAPER_PREFIXES)
        return None if is_paper else f"{account} is no paper account (DU…, DF…)"
    if identity.profile != "live":
        return f"profile {identity.profile} has no live account"
    is_live = account.startswith(_LIVE_PREFIXES) and not account.startswith(_SIM_PREFIX)
    return None if is_live else f"{account} is no live account (U…, F…)"
