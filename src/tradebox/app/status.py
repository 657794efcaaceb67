"""What the dashboard is told about the run itself: header and feed rows.

Rules of this file:
- bid and ask stand beside a price only while they are of the last minute, and the broker is asked
  for them: a line that is given up, or has fallen silent, quotes nothing any more.
"""

from typing import TYPE_CHECKING, Any

from tradebox.app.beside import QUOTE_S_MAX
from tradebox.domain.filter_values import Check
from tradebox.domain.market import TIER
from tradebox.domain.tick_filter import is_blocked, is_halted

if TYPE_CHECKING:
    from tradebox.actors.feed_slot import FeedSlot
    from tradebox.app.engine import Plant

NS_PER_S = 1_000_000_000


def header(plant: "Plant") -> dict[str, Any]:
    """Return the run's own figures for the console's first line."""
    now_ns = plant.market_clock.now_ns()
    is_open = plant.sessions.is_open(now_ns)
    return {
        "profile": plant.settings.profile,
        "world": plant.world,
        "run_id": plant.run.run_id,
        "generation": plant.context.generation,
        "epoch": plant.slot.gate.epoch,
        "active_feed": plant.slot.active,
        "takeovers": {
            "count": plant.slot.takeovers,
            "last_mono_ns": plant.slot.took_over_mono_ns,
        },
        "market_ns": now_ns,
        "speed": plant.market_clock.speed,
        "session": {True: "open", False: "closed", None: "unknown"}[is_open],
        "session_until_ns": plant.sessions.next_close_ns(now_ns) if is_open else None,
        "postgres": plant.pool.is_up,
        "redis": plant.bus.is_up,
        "claim": plant.claim.claim.value,
        "ticks": {
            "received": plant.hub.counters.received,
            "admitted": plant.hub.counters.admitted,
            "published": plant.hub.counters.published,
            "refused": plant.hub.counters.refused,
            "lost": plant.slot.gate.gaps,
        },
        "vitals": plant.vitals.figures(),
        "imported_late": plant.vitals.imports.names,
    }


def beside(slot: "FeedSlot", symbol: str, oldest_ns: int) -> dict[str, Any]:
    """Return bid and ask where a source quotes them, and what a symbol waits for, if anything.

    Units:   oldest_ns market time: a quote that was received before it is none.
    """
    memory = slot.memories.get(slot.active or "")
    state = None if memory is None else memory.states.get(symbol)
    if state is None:
        return {}
    found: dict[str, Any] = {}
    quote = state.rest.quote
    is_asked = symbol in slot.subscribed.near
    if quote is not None and is_asked and quote.recv_ns >= oldest_ns:
        found = {"bid_micros": quote.bid_micros, "ask_micros": quote.ask_micros}
    if is_blocked(state):
        found["waits"] = Check.SPLIT
    elif is_halted(state):
        found["waits"] = Check.HALT
    return found


def feed_rows(plant: "Plant") -> list[dict[str, Any]]:
    """Return one row per symbol with its last admitted price and what it is worth now."""
    clock = plant.market_clock
    oldest_ns = clock.now_ns() - round(QUOTE_S_MAX * NS_PER_S * max(1.0, clock.speed))
    return [
        {
            "symbol": tick.symbol,
            "price_micros": tick.price_micros,
            "size": tick.size,
            "source": tick.source,
            "tier": TIER[tick.source],
            "quality": plant.hub.quality_now(tick.symbol),
            "event_ns": tick.event_ns,
            "recv_ns": tick.recv_ns,
            "pub_seq": tick.pub_seq,
            "epoch": tick.epoch,
            "ticks": plant.hub.flow(tick.symbol)[0],
            "gaps": plant.hub.flow(tick.symbol)[1],
            **beside(plant.slot, tick.symbol, oldest_ns),
        }
        for tick in sorted(plant.hub.lasts(), key=lambda each: each.symbol)
    ]
