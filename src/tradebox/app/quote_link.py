"""The broker's quotes: an ingest on a connection of its own to the paper account's gateway.

Rules of this file:
- the link shares nothing with the order links but the gateway's address: its client id is its own,
  and it cannot write an order.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tradebox.actors.ingest import Ingest
from tradebox.adapters.ibkr.quotes import IbQuoteStream
from tradebox.adapters.ibkr.quotes.session import QuoteTiming
from tradebox.domain.market import Source

if TYPE_CHECKING:
    from tradebox.app.engine import Plant


def quote_ingests(plant: "Plant") -> dict[str, Callable[[], Ingest]]:
    """Return the ingest to run, by the name of its source; none where it is switched off."""
    address = plant.places.gateway_paper
    if not plant.settings.ibquotes.enabled or address is None:
        return {}
    return {Source.IB.value: lambda: _ingest(plant, address)}


def _ingest(plant: "Plant", address: tuple[str, int]) -> Ingest:
    settings = plant.settings.ibquotes
    stream = IbQuoteStream(
        address,
        settings.client_id,
        plant.market_clock,
        plant.clock,
        lines_max=settings.lines_max,
        timing=QuoteTiming.of(plant.market_clock.speed),
        find=plant.instruments.get,
    )
    return Ingest(
        stream,
        plant.hub,
        plant.slot,
        plant.market_clock,
        refresh_clock=plant.market_clock.refresh,
    )
