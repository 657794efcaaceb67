"""A reconcile of an account with 10, 100 and 1,000 working orders, and an exit behind 600 requests.

Rules of this file:
- orders rest as entries with their stops, far below the market, one pair a symbol, of contracts
  that the books name: a contract is asked for once in its life;
- a reconcile runs from its first request to CLEAN: the whole snapshot is read, every fact of it is
  compared, and nothing is left to book; the first look after new orders books their echoes;
- an exit runs from its request to the exit order at the gateway, its cancelled stop and position
  read included, while 600 requests are written before it to the same connection, to another one,
  or stand before it as entries that the gate must answer;
- the floor of a reconcile is the same answers read to their END by a connection that does nothing
  with them; the floor of an exit is one round trip on an idle link for each of its three steps.
"""

import asyncio
import time
from decimal import Decimal
from typing import Any

from bench.machine import load_average, ratio, spread
from bench.order_desk import ANSWER_S, POLL_S, Desk, Place, desk_at, listed, place, symbols_of
from tradebox.adapters.ibkr.orders import IbOrderPort
from tradebox.domain.market import Instrument, Quality, Source
from tradebox.domain.orders import OrderRole, OrderType, Side, Tif
from tradebox.domain.path import (
    EnterRequest,
    Evidence,
    ExitRequest,
    ProcedureDone,
    RequestDenied,
)
from tradebox.execution.pace import KEPT_FOR_REDUCTIONS
from tradebox.supervision.clock import MonotonicClock

SIZES = (10, 100, 1000)
LOOKS = 7
REQUESTS = 600
EXITS = 12
OTHER_CLIENT = 27
KINDS = ("nothing", "same connection", "other connection", "entries")
"""What stands before an exit; each has a symbol of its own, for the gate refuses repeats."""
MS_NS = 1e6
PAIR_ROOM = KEPT_FOR_REDUCTIONS + 2
"""What the gate asks of the gateway's pace for an entry and its stop."""
LAST_USD, LIMIT_USD, STOP_USD = Decimal("1.01"), Decimal("1.00"), Decimal("0.90")


async def _rest(desk: Desk, instruments: list[Instrument]) -> None:
    """Let a limit entry with its stop rest far below the market in each symbol."""
    seen = Evidence(LAST_USD, Source.FINNHUB, Quality.LIVE, desk.market_clock.now_ns())
    for instrument in instruments:
        while desk.link.room() < PAIR_ROOM:
            await desk.clock.sleep(POLL_S)
        symbol = instrument.symbol
        desk.instruments[symbol], desk.prices.prices[symbol] = instrument, LAST_USD
        await desk.path.request(
            EnterRequest(
                f"rest-{symbol}", symbol, Side.BUY, 1, OrderType.LIMIT, Tif.GTC, LIMIT_USD, None,
                STOP_USD, seen, "bench",
            )
        )  # fmt: skip
        await desk.drain()
    told = desk.events + desk.path.take_events()
    denied = [one for one in told if isinstance(one, RequestDenied)]
    assert not denied, denied[0]
    await desk.until(
        lambda: all(record.is_live for record in desk.path.book.open_orders()), "orders at work"
    )


async def _looks(at: Place) -> dict[str, Any]:
    """Return how long a reconcile takes as orders grow, and the same answers merely read."""
    other = IbOrderPort(*_address(at), OTHER_CLIENT, MonotonicClock())
    read: dict[str, Any] = {}
    async with desk_at(at) as desk:
        await other.connect(lambda _: None)
        instruments, found, begun = listed(SIZES[-1] // 2), {}, 0
        for size in SIZES:
            await _rest(desk, instruments[begun : size // 2])
            begun, took_ms = size // 2, []
            for _ in range(LOOKS):
                began_ns = time.perf_counter_ns()
                await desk.look()
                took_ms.append((time.perf_counter_ns() - began_ns) / MS_NS)
            working = len(desk.path.book.open_orders())
            assert working == size, (working, size)
            found[str(size)] = spread(took_ms)
            read[str(size)] = spread([await _read_ms(other) for _ in range(LOOKS)])
        other.close()
        ratios = {size: ratio(found[size]["p50"], read[size]["p50"]) for size in found}
        return {
            "reconcile_ms_by_orders": found,
            "floor_ms_by_orders": read,
            "ratio_to_floor_p50_by_orders": ratios,
        }


async def _read_ms(port: IbOrderPort) -> float:
    """Return how long the account's answers take where nobody does anything with them."""
    began_ns = time.perf_counter_ns()
    await port.snapshot(ANSWER_S)
    return (time.perf_counter_ns() - began_ns) / MS_NS


async def _open(desk: Desk, symbol: str, plan_id: str) -> None:
    """Hold a covered share."""
    while desk.link.room() < PAIR_ROOM:
        await desk.clock.sleep(POLL_S)
    instrument = await desk.know(symbol)
    price = desk.prices.prices[symbol]
    seen = Evidence(price, Source.FINNHUB, Quality.LIVE, desk.market_clock.now_ns())
    stop = (price * Decimal("0.9")).quantize(instrument.increment)
    async with desk.turn:
        await desk.path.request(
            EnterRequest(
                plan_id, symbol, Side.BUY, 1, OrderType.MARKET, Tif.DAY, None, None, stop, seen,
                "bench",
            )
        )  # fmt: skip
    await desk.until(lambda: _ended(desk, plan_id, "EnterRequest"), "the entry")
    assert desk.path.holding(plan_id).covered, plan_id


def _ended(desk: Desk, plan_id: str, kind: str) -> bool:
    desk.events += desk.path.take_events()
    ended = [one for one in desk.events if isinstance(one, ProcedureDone)]
    return any((one.plan_id, one.kind) == (plan_id, kind) for one in ended)


async def _exit(desk: Desk, plan_id: str) -> None:
    async with desk.turn:
        await desk.path.request(ExitRequest(plan_id, None, "bench"))


def _exit_ms(at: Place, desk: Desk, plan_id: str, began_ns: int) -> float:
    """Return when the exit order of a plan was whole at the gateway."""
    refs = {
        record.ref
        for record in desk.path.book.of_plan(plan_id)
        if record.row.role is OrderRole.EXIT
    }
    placed = [row for row in at.ledger() if row["kind"] == "order_placed"]
    found = [row["mono_ns"] for row in placed if row["ticket"]["order_ref"] in refs]
    return (min(found) - began_ns) / MS_NS


async def _storm(desk: Desk, symbol: str, number: int) -> None:
    """Ask for 600 entries at once, as a strategy gone mad would."""
    price = desk.prices.prices[symbol]
    seen = Evidence(price, Source.FINNHUB, Quality.LIVE, desk.market_clock.now_ns())
    for one in range(REQUESTS):
        await desk.path.request(
            EnterRequest(
                f"storm-{number}-{one}", symbol, Side.BUY, 1, OrderType.MARKET, Tif.DAY, None,
                None, price * 2, seen, "bench",
            )
        )  # fmt: skip


async def _exits(at: Place) -> dict[str, Any]:
    """Return how long an exit takes alone, and behind 600 requests of three kinds."""
    found: dict[str, list[float]] = {}
    async with desk_at(at) as desk:
        symbols = symbols_of(at)
        other = IbOrderPort(*_address(at), OTHER_CLIENT, MonotonicClock(), questions_per_s=REQUESTS)
        await other.connect(lambda _: None)
        pump = asyncio.ensure_future(desk.pump())
        trips_us = [await _trip_us(other) for _ in range(5)]
        try:
            for number in range(EXITS):
                for place_no, behind in enumerate(KINDS):
                    symbol = symbols[(number * len(KINDS) + place_no) % len(symbols)]
                    plan_id = f"exit-{number}-{behind.replace(' ', '-')}"
                    await _open(desk, symbol, plan_id)
                    assert not pump.done(), pump.exception()
                    port = {"same connection": desk.port, "other connection": other}.get(behind)
                    asked = [] if port is None else _queue(port, symbols)
                    await asyncio.sleep(0)
                    began_ns = time.monotonic_ns()
                    if behind == "entries":
                        async with desk.turn:
                            await _storm(desk, symbol, number)
                    await _exit(desk, plan_id)
                    await desk.until(lambda p=plan_id: _ended(desk, p, "ExitRequest"), "the exit")
                    found.setdefault(behind, []).append(_exit_ms(at, desk, plan_id, began_ns))
                    for waiting in asked:
                        waiting.cancel()
                    await asyncio.gather(*asked, return_exceptions=True)
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
            other.close()
    floor_ms = 3 * spread(trips_us)["p50"] / 1000
    shown = {behind.replace(" ", "_"): spread(ms, 1) for behind, ms in found.items()}
    return {
        "requests": REQUESTS,
        "behind_ms": shown,
        "floor_ms": round(floor_ms, 2),
        "ratio_to_floor_p50_alone": ratio(shown["nothing"]["p50"], floor_ms),
    }


async def _trip_us(port: IbOrderPort) -> float:
    """Return one question and its answer: the gateway's clock is asked at most once a second."""
    await asyncio.sleep(1.05)
    began_ns = time.perf_counter_ns()
    await port.heartbeat(ANSWER_S)
    return (time.perf_counter_ns() - began_ns) / 1000


def _address(at: Place) -> tuple[str, int]:
    host, _, port = str(at.ready["gateway_paper"]).partition(":")
    return host, int(port)


def _queue(port: IbOrderPort, symbols: list[str]) -> list[asyncio.Future[Any]]:
    """Write 600 requests at once; their answers come when they come."""
    return [
        asyncio.ensure_future(port.instrument(symbols[number % len(symbols)], ANSWER_S))
        for number in range(REQUESTS)
    ]


def run() -> dict[str, Any]:
    """Measure both on worlds of their own. Units stand in the names."""
    with place("--symbols", str(SIZES[-1] // 2)) as at:
        looks = asyncio.run(_looks(at))
    with place() as at:
        exits = asyncio.run(_exits(at))
    return {
        "load_during": load_average(),
        **looks,
        "exit": exits,
    }
