"""Steps of the broker drill that walk the ways our orders go, on the gateway as it is.

Rules of this file:
- as drill_steps.py; the simulator has no switch for these: what they find there is what it does.
"""

from decimal import Decimal
from functools import partial
from typing import Any, Final

from tradebox.domain.orders import OrderType, Side, Tif
from tradebox.execution.drill import SHARES, DrillBench, Finding, Shown

REFUSALS: Final = frozenset({103, 104, 105, 110, 135, 201, 329, 403, 10326, 10327, 10341})
SLICE: Final = 4
REF_LENGTHS: Final = (20, 32, 36)
_FAR: Final = "0.90"
_COLLAR: Final = "0.997"


def is_refused(bench: DrillBench, order_id: int, since: int = 0) -> bool:
    """Say whether a code refused an order, or the change of one."""
    return bool(set(bench.codes(order_id, since)) & REFUSALS)


async def short(bench: DrillBench) -> list[Finding]:
    """A short position's stop, whose trigger goes through the market."""
    name, shown = "buy_stop_through_market", await bench.shown()
    sold = bench.place(Side.SELL, SHARES, OrderType.MARKET)
    await bench.until(lambda: bench.filled(sold) >= SHARES or bench.ended(sold))
    if bench.filled(sold) < SHARES:
        return [Finding(name, "no_short", {"codes": bench.codes(sold)})]
    stop = bench.place(
        Side.BUY, SHARES, OrderType.STOP, bench.at(shown.ask, "1.10"), tif=Tif.GTC
    )  # fmt: skip
    await bench.until(lambda: bench.state(stop) == "PreSubmitted")
    since = len(bench.facts)
    through = bench.at((await bench.shown()).last, "0.98")
    bench.place(Side.BUY, SHARES, OrderType.STOP, through, tif=Tif.GTC, order_id=stop)
    await bench.until(lambda: bench.filled(stop) >= SHARES or is_refused(bench, stop, since))
    seen = {"through": str(through), "codes": bench.codes(stop), "state": bench.state(stop)}
    if bench.filled(stop) >= SHARES:
        return [Finding(name, "fires", seen)]
    if is_refused(bench, stop, since):
        return [Finding(name, "refused", seen)]
    return [Finding(name, "" if bench.ended(stop) else "held", seen)]


async def to_market(bench: DrillBench) -> list[Finding]:
    """A resting stop that becomes a market order under its own id."""
    stop, _ = await _held_with_a_stop(bench)
    since = len(bench.facts)
    bench.place(Side.SELL, SHARES, OrderType.MARKET, tif=Tif.GTC, order_id=stop)
    await bench.until(lambda: bench.filled(stop) >= SHARES or is_refused(bench, stop, since))
    is_sold = bench.filled(stop) >= SHARES
    await bench.calm()
    seen = {"codes": bench.codes(stop), "state": bench.state(stop), "sold": bench.filled(stop)}
    found = "accepted" if is_sold else "refused" if is_refused(bench, stop, since) else ""
    return [Finding("stop_to_market", found, seen)]


async def exit_pair(bench: DrillBench) -> list[Finding]:
    """Cancel the stop, see it cancelled, read the position, sell all: how long is it bare?"""
    stop, shown = await _held_with_a_stop(bench)
    bench.port.cancel(stop)
    await bench.until(lambda: bench.ended(stop))
    bare_s = bench.clock.now()
    held = await bench.position()
    read_ms = _since_ms(bench, bare_s)
    found, seen = await _sold(bench, held, shown)
    seen |= {"held": held, "read_ms": read_ms, "bare_ms": _since_ms(bench, bare_s)}
    return [Finding("exit_pair", found, seen)]


async def slice_off(bench: DrillBench) -> list[Finding]:
    """Make the stop smaller, sell what is free, and see the rest stay covered."""
    stop, shown = await _held_with_a_stop(bench)
    price, since = bench.at(shown.bid, _FAR), len(bench.facts)
    left = SHARES - SLICE
    bench.place(Side.SELL, left, OrderType.STOP, price, tif=Tif.GTC, order_id=stop)

    def is_smaller() -> bool:
        echo = bench.open(stop)
        return echo is not None and int(echo.quantity) == left

    await bench.until(lambda: is_smaller() or is_refused(bench, stop, since))
    if not is_smaller():
        found = "refused" if is_refused(bench, stop, since) else ""
        return [Finding("slice", found, {"codes": bench.codes(stop)})]
    bare_s = bench.clock.now()
    found, seen = await _sold(bench, SLICE, shown)
    seen |= {"bare_ms": _since_ms(bench, bare_s), "stop": bench.state(stop)}
    return [Finding("slice", found, seen)]


async def order_ref(bench: DrillBench) -> list[Finding]:
    """Orders far from the market under long names: what comes back of the name?"""
    shown = await bench.shown()
    price, echoes = bench.at(shown.bid, _FAR), dict[int, str]()
    for length in REF_LENGTHS:
        name = "".join("drill-0123456789abcdef"[i % 22] for i in range(length))
        order = bench.place(Side.BUY, 1, OrderType.LIMIT, price, order_ref=name)
        await bench.until(partial(_is_told, bench, order))
        echo = bench.open(order)
        echoes[length] = "refused" if echo is None else str(echo.order_ref == name)
        if echo is None or echo.order_ref != name:
            found = "refused" if echo is None else "cut"
            return [Finding("order_ref", found, {"echoes": echoes, "codes": bench.codes(order)})]
    return [Finding("order_ref", "whole", {"echoes": echoes})]


def _is_told(bench: DrillBench, order_id: int) -> bool:
    return bench.open(order_id) is not None or bench.ended(order_id)


async def _held_with_a_stop(bench: DrillBench) -> tuple[int, Shown]:
    shown = await bench.shown()
    await bench.hold()
    price = bench.at(shown.bid, _FAR)
    stop = bench.place(Side.SELL, SHARES, OrderType.STOP, price, tif=Tif.GTC)
    await bench.until(lambda: bench.state(stop) == "PreSubmitted")
    return stop, shown


async def _sold(bench: DrillBench, shares: int, shown: Shown) -> tuple[str, dict[str, Any]]:
    """Sell by a limit a little below the bid that fills at once or not at all."""
    limit: Decimal = bench.at(shown.bid, _COLLAR)
    order = bench.place(Side.SELL, shares, OrderType.LIMIT, limit, tif=Tif.IOC)
    await bench.until(lambda: bench.filled(order) >= shares or bench.ended(order))
    sold = bench.filled(order)
    seen = {"limit": str(limit), "sold": sold, "codes": bench.codes(order)}
    if sold >= shares:
        return "sold", seen
    return ("refused" if is_refused(bench, order) else "part"), seen


def _since_ms(bench: DrillBench, since_s: float) -> int:
    return round((bench.clock.now() - since_s) * 1000)
