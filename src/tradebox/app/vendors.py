"""The vendors of prices beside Finnhub's stream, and Finnhub's own: made from the settings.

Rules of this file:
- a vendor without key or address is left out; in profile sim each is the stand-in of this home or
  nobody: nothing there leaves the box;
- what is polled hurries with the market clock, as its ages do; a key's limits stay real.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tradebox.actors.market_hub import Need
from tradebox.actors.poller import Poller, PollRules
from tradebox.adapters.alphavantage.client import AlphaVantage, AlphaVantageLimits
from tradebox.adapters.finnhub.pair import FinnhubPair
from tradebox.adapters.finnhub.stream import FinnhubStream, StreamTiming
from tradebox.adapters.postgres.quota import PgQuota
from tradebox.adapters.yahoo.quotes import THROTTLED_WAIT_S, YahooQuotes
from tradebox.adapters.yahoo.worker import YahooWorker
from tradebox.config import Settings
from tradebox.domain.market import Source
from tradebox.ports.ticks import QuotePort
from tradebox.sim.home import read_identity
from tradebox.supervision.actor import Actor

if TYPE_CHECKING:
    from tradebox.app.engine import Plant

FRESH_S: Final = {Source.ALPHAVANTAGE: 30.0, Source.YAHOO: 90.0}
"""An answer whose own time lies further back is told as delayed, in market seconds."""

AV_SYMBOLS_MAX: Final = 100


def finnhub_stream(plant: "Plant") -> FinnhubStream | FinnhubPair:
    """Return a new stream: one socket a key, two where there is a second key."""
    second = plant.settings.finnhub.key_second
    if second is None or plant.settings.profile == "sim":
        return _socket(plant, plant.finnhub_key())
    return FinnhubPair(
        _socket(plant, plant.finnhub_key()), _socket(plant, second.get_secret_value())
    )


def polled(plant: "Plant") -> dict[str, Callable[[], Actor[Any]]]:
    """Return the pollers to run, by the names of their sources."""
    found: dict[str, Callable[[], Actor[Any]]] = {}
    settings, speed = plant.settings, max(1.0, plant.market_clock.speed)
    if alphavantage_key(plant) is not None and plant.places.alphavantage is not None:
        rules = PollRules(
            settings.alphavantage.poll_s / speed, AV_SYMBOLS_MAX, FRESH_S[Source.ALPHAVANTAGE]
        )
        found[Source.ALPHAVANTAGE.value] = lambda: _poller(
            plant, Source.ALPHAVANTAGE, _alphavantage(plant), rules
        )
    if settings.yahoo.enabled and (settings.profile != "sim" or yahoo_route(plant)):
        pace = PollRules(
            settings.yahoo.poll_s / speed, settings.yahoo.symbols_max, FRESH_S[Source.YAHOO]
        )
        found[Source.YAHOO.value] = lambda: _poller(plant, Source.YAHOO, _yahoo(plant), pace)
    return found


def alphavantage_key(plant: "Plant") -> str | None:
    """Return the key; in profile sim the home's own, by the plan that is asked for."""
    settings = plant.settings
    if settings.profile == "sim":
        identity = read_identity(plant.home.sim_dir)
        is_free = settings.alphavantage.plan == "free"
        return identity.alphavantage_key if is_free else identity.alphavantage_premium_key
    key = settings.alphavantage.key
    return None if key is None else key.get_secret_value()


def yahoo_route(plant: "Plant") -> str:
    """Return "PORT,AUTHORITY" of the stand-in; empty: Yahoo itself, never so in profile sim."""
    port = urlsplit(plant.places.yahoo or "").port
    return f"{port},{plant.places.yahoo_ca}" if port and plant.places.yahoo_ca else ""


def secrets_of(settings: Settings) -> list[str]:
    """Return every secret value of the vendors' settings, for the log's redaction."""
    keys = (settings.finnhub.key, settings.finnhub.key_second, settings.alphavantage.key)
    return [key.get_secret_value() for key in keys if key is not None]


def _socket(plant: "Plant", key: str) -> FinnhubStream:
    settings = plant.settings.finnhub
    return FinnhubStream(
        plant.places.finnhub_ws or settings.ws_url,
        key,
        plant.market_clock,
        plant.clock,
        symbols_max=settings.symbols_max,
        rotating=settings.rotating,
        timing=StreamTiming.of(settings, plant.market_clock.speed),
    )


def _poller(plant: "Plant", source: Source, port: QuotePort, rules: PollRules) -> Poller:
    return Poller(
        source,
        port,
        plant.slot,
        plant.market_clock,
        rules,
        wanted=lambda: plant.hub.wanted_of(source),
        on_wanted=plant.hub.on_wanted,
        refresh_clock=plant.market_clock.refresh,
        counters=plant.hub.counters,
    )


def _alphavantage(plant: "Plant") -> AlphaVantage:
    key, address, settings = alphavantage_key(plant), plant.places.alphavantage, plant.settings
    assert key is not None, "polled only where there is a key"
    assert address is not None, "polled only where there is an address"
    return AlphaVantage(
        address,
        key,
        PgQuota(plant.pool),
        plant.market_clock,
        plant.clock,
        plan=settings.alphavantage.plan,
        limits=AlphaVantageLimits.of(settings.alphavantage),
        is_held=lambda symbol: plant.hub.need_of(symbol) is Need.POSITION,
        last_close_ns=plant.sessions.last_close_ns,
    )


def _yahoo(plant: "Plant") -> YahooQuotes:
    worker = YahooWorker(
        plant.clock,
        route=yahoo_route(plant),
        answer_s_max=plant.settings.yahoo.answer_s_max,
    )
    wait_s = THROTTLED_WAIT_S / max(1.0, plant.market_clock.speed)
    return YahooQuotes(worker, throttled_wait_s=wait_s)
