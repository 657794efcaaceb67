"""The steps of the broker drill: each asks one question of the gateway, and answers what it saw.

Rules of this file:
- a step starts flat and without orders, and may leave both behind: the runner cleans up;
- answers are words of domain/capabilities.py; "" where the step showed nothing.
"""

from collections.abc import Mapping
from typing import Any, Final

from tradebox.domain.orders import OrderType, Side, Tif
from tradebox.execution.drill import (
    BURST_S,
    SHARES,
    SHARES_MAX,
    DrillBench,
    Finding,
    Step,
)
from tradebox.execution.drill_ways import (
    REFUSALS,
    exit_pair,
    order_ref,
    short,
    slice_off,
    to_market,
)
from tradebox.ports.orders import CodeFact, OrderStatusFact

_FAR: Final = "0.90"
_TIMES: Final = (3, 8, 20, 50)
"""How many times the display a parent is, that is to stay partly filled."""


def _seen(bench: DrillBench, order_id: int) -> dict[str, Any]:
    """Return what was last said of an order, as evidence."""
    status, echo = bench.status(order_id), bench.open(order_id)
    return {
        "state": bench.state(order_id),
        "why_held": "" if status is None else status.why_held,
        "filled": "" if status is None else str(status.filled),
        "remaining": "" if status is None else str(status.remaining),
        "quantity": "" if echo is None else str(echo.quantity),
        "stop_price": "" if echo is None else str(echo.stop_price),
        "oca_group": "" if echo is None else echo.oca_group,
        "oca_type": "" if echo is None else echo.oca_type,
        "parent_id": "" if echo is None else echo.parent_id,
        "codes": bench.codes(order_id),
        "executed": bench.filled(order_id),
    }


async def resize(bench: DrillBench) -> list[Finding]:
    """A plain stop of 10: to 6, then to 9."""
    shown = await bench.shown()
    await bench.hold()
    price = bench.at(shown.bid, _FAR)
    stop = bench.place(Side.SELL, SHARES, OrderType.STOP, price, tif=Tif.GTC)
    await bench.until(lambda: bench.state(stop) == "PreSubmitted")
    smaller = await _resized(bench, stop, 6, price)
    if smaller == "accepted":
        larger = await _resized(bench, stop, 9, price)
        found = {"accepted": "accepted", "refused": "reduce_only"}.get(larger, larger)
    else:
        found = smaller
    return [Finding("stop_resize", found, _seen(bench, stop))]


async def _resized(bench: DrillBench, stop: int, quantity: int, price: Any) -> str:
    since = len(bench.facts)
    bench.place(Side.SELL, quantity, OrderType.STOP, price, tif=Tif.GTC, order_id=stop)

    def is_answered() -> bool:
        echo = bench.open(stop)
        is_echoed = echo is not None and int(echo.quantity) == quantity
        return is_echoed or bool(set(bench.codes(stop, since)) & REFUSALS)

    await bench.until(is_answered)
    await bench.until(lambda: bench.state(stop) in ("Cancelled", "Inactive"), bench.calm_s)
    if bench.state(stop) in ("Cancelled", "ApiCancelled", "Inactive"):
        return "cancels"
    echo = bench.open(stop)
    if echo is not None and int(echo.quantity) == quantity:
        return "accepted"
    return "refused" if set(bench.codes(stop, since)) & REFUSALS else ""


async def trigger(bench: DrillBench) -> list[Finding]:
    """A plain stop whose trigger goes through the market."""
    shown = await bench.shown()
    await bench.hold()
    stop = bench.place(Side.SELL, SHARES, OrderType.STOP, bench.at(shown.bid, _FAR), tif=Tif.GTC)
    await bench.until(lambda: bench.state(stop) == "PreSubmitted")
    since, began_s = len(bench.facts), bench.clock.now()
    through = bench.at((await bench.shown()).last, "1.02")
    bench.place(Side.SELL, SHARES, OrderType.STOP, through, tif=Tif.GTC, order_id=stop)

    def is_refused() -> bool:
        return bool(set(bench.codes(stop, since)) & REFUSALS)

    await bench.until(lambda: bench.filled(stop) >= SHARES or is_refused())
    seen = {**_seen(bench, stop), "through": str(through), "last": str(shown.last)}
    seen["took_ms"] = round((bench.clock.now() - began_s) * 1000)
    if bench.filled(stop) >= SHARES:
        return [Finding("stop_through_market", "fires", seen)]
    if is_refused():
        return [Finding("stop_through_market", "refused", seen)]
    is_there = bench.state(stop) in ("PreSubmitted", "Submitted")
    return [Finding("stop_through_market", "held" if is_there else "", seen)]


async def single_child(bench: DrillBench) -> list[Finding]:
    """A parent that fills at once, with one child: its group, and naming the parent again."""
    shown = await bench.shown()
    parent = bench.place(Side.BUY, SHARES, OrderType.MARKET, transmit=False)
    price = bench.at(shown.bid, _FAR)
    child = bench.place(Side.SELL, SHARES, OrderType.STOP, price, tif=Tif.GTC, parent_id=parent)
    await bench.until(lambda: bench.filled(parent) >= SHARES)
    await bench.until(lambda: bench.open(child) is not None)
    await bench.calm()
    echo = bench.open(child)
    group = "" if echo is None else ("yes" if echo.oca_group else "no")
    findings = [Finding("oca_for_single_child", group, _seen(bench, child))]
    since, closer = len(bench.facts), bench.at(shown.bid, "0.91")
    bench.place(
        Side.SELL, SHARES, OrderType.STOP, closer, tif=Tif.GTC, parent_id=parent, order_id=child
    )

    def is_moved() -> bool:
        echo = bench.open(child)
        return echo is not None and echo.stop_price == closer

    await bench.until(lambda: is_moved() or bool(bench.codes(child, since)))
    answer = "accepted" if is_moved() else "refused" if bench.codes(child, since) else ""
    codes = [fact.code for _at, fact in bench.facts[since:] if isinstance(fact, CodeFact)]
    evidence = {**_seen(bench, child), "codes_since": codes}
    if not answer and 135 in codes:
        answer = "refused"
    return [*findings, Finding("restate_filled_parent", answer, evidence)]


async def two_children(bench: DrillBench) -> list[Finding]:
    """A waiting parent with two children: are they put into a group?"""
    shown = await bench.shown()
    low, high = bench.at(shown.bid, "0.92"), bench.at(shown.ask, "1.05")
    parent = bench.place(Side.BUY, SHARES, OrderType.LIMIT, low, transmit=False)
    target = bench.place(Side.SELL, SHARES, OrderType.LIMIT, high, parent_id=parent, transmit=False)
    stop = bench.place(
        Side.SELL, SHARES, OrderType.STOP, bench.at(shown.bid, "0.85"), tif=Tif.GTC,
        parent_id=parent,
    )  # fmt: skip
    await bench.until(lambda: bench.open(stop) is not None and bench.open(target) is not None)
    await bench.calm()
    echoes = [bench.open(target), bench.open(stop)]
    groups = ["" if echo is None else echo.oca_group for echo in echoes]
    found = "" if None in echoes else ("made" if all(groups) else "none")
    return [Finding("gateway_oca_groups", found, {"groups": groups})]


async def partial(bench: DrillBench) -> list[Finding]:
    """A parent larger than the display, kept partly filled; its child; then cancelled."""
    pair = await _partly_filled(bench)
    if pair is None:
        return [Finding("child_on_partial_parent", ""), Finding("child_on_parent_cancel", "")]
    parent, child, filled = pair
    evidence = {"parent": _seen(bench, parent), "child": _seen(bench, child)}
    found = "held"
    if "child" not in evidence["child"]["why_held"]:
        found = await _armed_for(bench, child, filled)
        evidence["fired"] = _seen(bench, child)
        await bench.clean()
        pair = await _partly_filled(bench)
    first = Finding("child_on_partial_parent", found, evidence)
    if pair is None:
        return [first, Finding("child_on_parent_cancel", "")]
    return [first, await _cancelled(bench, *pair)]


async def _partly_filled(bench: DrillBench) -> tuple[int, int, int] | None:
    """Return a partly filled parent, its child, and the shares filled; None: it was not had."""
    for times in _TIMES:
        pair = await _try_partial(bench, times)
        if pair is not None:
            return pair
        await bench.clean()
    return None


async def _try_partial(bench: DrillBench, times: int) -> tuple[int, int, int] | None:
    shown = await bench.shown()
    quantity = min(SHARES_MAX, max(SHARES, times * shown.ask_size))
    parent = bench.place(Side.BUY, quantity, OrderType.LIMIT, shown.ask, transmit=False)
    price = bench.at(shown.bid, _FAR)
    child = bench.place(Side.SELL, quantity, OrderType.STOP, price, tif=Tif.GTC, parent_id=parent)
    await bench.until(lambda: bench.filled(parent) > 0)
    low = bench.at(shown.bid, "0.95")
    bench.place(Side.BUY, quantity, OrderType.LIMIT, low, order_id=parent)
    await bench.until(lambda: (e := bench.open(parent)) is not None and e.limit_price == low, 1.5)
    await bench.calm()
    filled = bench.filled(parent)
    return (parent, child, filled) if 0 < filled < quantity else None


async def _armed_for(bench: DrillBench, child: int, filled: int) -> str:
    """Fire an armed child, for its status tells nothing of its size: how much does it sell?"""
    echo, shown = bench.open(child), await bench.shown()
    assert echo is not None
    parent_id, quantity = echo.parent_id, int(echo.quantity)
    through = bench.at(shown.last, "1.02")
    bench.place(
        Side.SELL, quantity, OrderType.STOP, through, tif=Tif.GTC, parent_id=parent_id,
        order_id=child,
    )  # fmt: skip
    await bench.until(lambda: bench.filled(child) >= filled)
    await bench.calm()
    sold = bench.filled(child)
    if not sold:
        return ""
    return "armed_part" if sold <= filled else "armed_full"


async def _cancelled(bench: DrillBench, parent: int, child: int, filled: int) -> Finding:
    """Cancel the rest of a partly filled parent, and see what its child does."""
    bench.port.cancel(parent)
    await bench.until(lambda: bench.state(parent) in ("Cancelled", "ApiCancelled"))
    await bench.calm()
    found = ""
    if bench.state(child) in ("Cancelled", "ApiCancelled", "Inactive"):
        found = "dies"
    elif (status := bench.status(child)) is not None and "child" not in status.why_held:
        found = "shrinks" if int(status.remaining) == filled else "arms"
    evidence = {"parent": _seen(bench, parent), "child": _seen(bench, child)}
    return Finding("child_on_parent_cancel", found, evidence)


async def oversell(bench: DrillBench) -> list[Finding]:
    """Sell one share that is not there."""
    order = bench.place(Side.SELL, 1, OrderType.MARKET)
    await bench.until(lambda: bench.filled(order) or 201 in bench.codes(order))
    found = "goes_short" if bench.filled(order) else "refused" if bench.codes(order) else ""
    return [Finding("oversell", found, _seen(bench, order))]


async def depth(bench: DrillBench) -> list[Finding]:
    """A market order that fills as it arrives, and one larger than the display."""
    small = await bench.hold()
    await bench.calm()
    is_said = any(
        isinstance(fact, OrderStatusFact) and fact.order_id == small and fact.status == "Filled"
        for _at, fact in bench.facts
    )
    first = Finding("instant_fill_status", "said" if is_said else "omitted", _seen(bench, small))
    shown = await bench.shown()
    quantity = min(SHARES_MAX, 6 * max(1, shown.ask_size))
    order = bench.place(Side.BUY, quantity, OrderType.MARKET)
    await bench.until(lambda: bench.filled(order) > 0)
    await bench.calm()
    fills = bench.fills(order)
    evidence = {
        "asked": quantity,
        "shown": shown.ask_size,
        "fills": [(round((at - fills[0][0]) * 1000), int(f.quantity)) for at, f in fills],
    }
    if not fills or quantity <= shown.ask_size:
        return [first, Finding("market_depth", "", evidence)]
    burst = sum(int(f.quantity) for at, f in fills if at - fills[0][0] <= BURST_S)
    # A book that is walked fills most of it at once; late news of two or three quotes may come
    # together, too.
    is_walked = burst > max(shown.ask_size, quantity // 2)
    found = "walks" if is_walked else "displayed"
    return [first, Finding("market_depth", found, evidence)]


async def delayed(bench: DrillBench) -> list[Finding]:
    """Ask for delayed data on a quote connection."""
    found = await bench.quotes.type_of_delayed(bench.instrument.symbol)
    return [Finding("delayed_request", found, {"market_data_type": found})]


STEPS: Final[Mapping[str, Step]] = {
    "resize": resize,
    "trigger": trigger,
    "single_child": single_child,
    "two_children": two_children,
    "partial": partial,
    "oversell": oversell,
    "depth": depth,
    "delayed": delayed,
    "short": short,
    "to_market": to_market,
    "exit_pair": exit_pair,
    "slice": slice_off,
    "order_ref": order_ref,
}
"""Every step of the drill by its name, in the order they run."""


async def run_steps(bench: DrillBench, names: tuple[str, ...]) -> list[Finding]:
    """Run steps one by one, clean up after each, and return what was seen."""
    findings: list[Finding] = []
    for name in names:
        try:
            findings += await STEPS[name](bench)
        finally:
            await bench.clean()
    return findings
