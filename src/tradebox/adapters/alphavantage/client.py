"""Alpha Vantage by httpx: few calls, each counted before it is made, and never fresher than true.

Rules of this file:
- a free key has closes of days only (eod), the delayed plan what was 15 minutes ago, and only the
  realtime plan's bulk quotes carry a time of their own: nothing else here can be live;
- a free key's calls are counted per New York day in PostgreSQL before they are made: a restart
  forgets none; the last ones are kept for held positions; what cannot be counted is not asked;
- the close of a day is asked for once: it is the same until the next session has ended; a close
  that is not of the session that ended last is told as a day late, or more: it is stale;
- "too many calls" says neither second nor day: one try more after a moment, then the day is over;
- the key is in the address, the vendor knows no other way: addresses are never logged.

Source: alphavantage.co documentation and premium page (free: 25 a day, 1 a second; 75 a minute).
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeVar

import httpx

from tradebox.adapters.alphavantage.times import close_ns, day_of, moment_ns
from tradebox.adapters.alphavantage.wire import (
    DayQuote,
    Refusal,
    TimedQuote,
    parse_bulk,
    parse_quote,
)
from tradebox.adapters.bounded_get import DEADLINE_S, bounded_get
from tradebox.adapters.loopback import is_loopback
from tradebox.config import AlphaVantageSettings
from tradebox.domain.market import DAY_LATE_S, Source
from tradebox.errors import StoreUnavailable, VendorUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.quota import QuotaPort
from tradebox.ports.ticks import NoQuote, NoQuoteReason, Quote
from tradebox.supervision.clock import Clock

Plan = Literal["free", "delayed", "realtime"]
T = TypeVar("T", DayQuote, dict[str, TimedQuote])

BODY_BYTES_MAX: Final = 1 << 18
BULK_SYMBOLS_MAX: Final = 100
DELAY_S: Final = 900
SETTLED_S: Final = 3600
"""A free key's data of a day come some time after its close."""
NS_PER_S: Final = 1_000_000_000
BUDGET_WAIT_S: Final = 300.0
THROTTLED_WAIT_S: Final = 60.0
UNCOUNTED_WAIT_S: Final = 30.0
_REASONS: Final[Mapping[Refusal, NoQuoteReason]] = {
    Refusal.EMPTY: NoQuoteReason.EMPTY,
    Refusal.FORBIDDEN: NoQuoteReason.FORBIDDEN,
    Refusal.KEY_REFUSED: NoQuoteReason.KEY_REFUSED,
    Refusal.THROTTLED: NoQuoteReason.THROTTLED,
}


@dataclass(frozen=True, slots=True)
class AlphaVantageLimits:
    """How often a key may ask. Units: gap_s, retry_s real seconds; calls per New York day.

    calls_per_day: 0: not limited by day. calls_reserved: of them for held positions alone.
    """

    calls_per_day: int = 25
    calls_reserved: int = 10
    gap_s: float = 1.2
    retry_s: float = 1.2

    @classmethod
    def of(cls, settings: AlphaVantageSettings) -> Self:
        """Return the limits of the plan that the key was bought for."""
        if settings.plan == "free":
            return cls(settings.calls_per_day, settings.calls_reserved)
        return cls(0, 0, gap_s=0.85)


class AlphaVantage:
    """The port BulkQuotePort on Alpha Vantage.

    is_held: whether we hold a position in a symbol: the reserved calls are for those.
    last_close_ns: the close of the session that ended last before a time; None: not known.
    Holds: no call of a limited key leaves uncounted; no quote of a free key is live.
    """

    source = Source.ALPHAVANTAGE

    def __init__(
        self,
        base_url: str,
        key: str,
        quota: QuotaPort,
        market_clock: MarketClock,
        clock: Clock,
        *,
        plan: Plan = "free",
        limits: AlphaVantageLimits | None = None,
        is_held: Callable[[str], bool] = lambda _: False,
        last_close_ns: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        digest = hashlib.blake2b(key.encode(), digest_size=6).hexdigest()
        self.account = f"{Source.ALPHAVANTAGE}:{digest}"
        self._key = key
        self._quota = quota
        self._market_clock = market_clock
        self._clock = clock
        self._plan = plan
        self._limits = AlphaVantageLimits() if limits is None else limits
        self._is_held = is_held
        self._last_close_ns = last_close_ns
        self._spent_day = ""
        self._closes: dict[str, tuple[str, Quote]] = {}
        self._asked_s = -self._limits.gap_s
        self._one_at_a_time = asyncio.Lock()
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log the address
        self._client = httpx.AsyncClient(
            base_url=base_url.rstrip("/"), timeout=DEADLINE_S, trust_env=not is_loopback(base_url)
        )

    @property
    def at_once(self) -> int:
        """Bulk quotes belong to the realtime plan."""
        return BULK_SYMBOLS_MAX if self._plan == "realtime" else 1

    async def close(self) -> None:
        """Drop the connections."""
        await self._client.aclose()

    async def quote(self, symbol: str) -> Quote | NoQuote:
        """Ask for one symbol.

        Raises: VendorUnavailable for a dead line, a server's fault or an answer that is none.
        """
        if self._plan == "realtime":
            return (await self.quotes([symbol]))[0]
        part = self._part()
        known_part, known = self._closes.get(symbol, ("", None))
        if known is not None and known_part == part:
            return known
        query = {"function": "GLOBAL_QUOTE", "symbol": symbol}
        if self._plan == "delayed":
            query["entitlement"] = "delayed"

        def parse(body: bytes) -> DayQuote | Refusal:
            return parse_quote(body, symbol)

        found = await self._called(query, parse, [symbol])
        if isinstance(found, NoQuote):
            return found
        quote = self._of_day(found)
        if self._plan == "free" and isinstance(quote, Quote):
            self._closes[symbol] = (part, quote)
        return quote

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote | NoQuote]:
        """Ask for up to 100 symbols; what the vendor does not know is empty.

        Raises: VendorUnavailable as `quote`.
        """
        assert len(symbols) <= self.at_once, len(symbols)
        query = {"function": "REALTIME_BULK_QUOTES", "symbol": ",".join(symbols)}
        found = await self._called(query, parse_bulk, symbols)
        if isinstance(found, NoQuote):
            return [NoQuote(symbol, found.reason, found.wait_s) for symbol in symbols]
        return [self._of_row(symbol, found.get(symbol.upper())) for symbol in symbols]

    # --- answers ------------------------------------------------------------------------------

    def _part(self) -> str:
        """Return the part of time in which the last close stays the same."""
        now_ns = self._market_clock.now_ns()
        day = day_of(now_ns)
        is_over = now_ns >= (close_ns(day) or 0) + SETTLED_S * NS_PER_S
        return f"{day} {'closed' if is_over else 'before'}"

    def _of_day(self, found: DayQuote) -> Quote | NoQuote:
        """Return a quote that has a date alone: a day's close, or what was 15 minutes ago."""
        now_ns = self._market_clock.now_ns()
        closed_ns = close_ns(found.day)
        if closed_ns is None:
            return NoQuote(found.symbol, NoQuoteReason.EMPTY)
        event_ns, is_eod = min(closed_ns, now_ns), True
        delay_s = DELAY_S if found.is_delayed or self._plan == "delayed" else 0
        behind_ns = now_ns - delay_s * NS_PER_S
        if self._plan != "free" and found.day == day_of(behind_ns) and behind_ns < closed_ns:
            event_ns, is_eod = behind_ns, False
        if is_eod:
            event_ns, late_s = self._close_of(found.day, event_ns)
            delay_s = max(delay_s, late_s)
        return Quote(
            found.symbol,
            found.price_micros,
            found.previous_close_micros,
            event_ns,
            delay_s=delay_s,
            is_eod=is_eod,
        )

    def _close_of(self, day: str, close_ns_max: int) -> tuple[int, int]:
        """Return when a day's session closed, and how many seconds that is behind the last close.

        The vendor has an hour after each close to know it.
        """
        last_ns = self._last_close_ns(self._market_clock.now_ns() - SETTLED_S * NS_PER_S)
        if last_ns is None or day_of(last_ns) < day:
            return close_ns_max, 0
        if day_of(last_ns) == day:
            return min(last_ns, close_ns_max), 0
        return close_ns_max, max(DAY_LATE_S, (last_ns - close_ns_max) // NS_PER_S)

    def _of_row(self, symbol: str, found: TimedQuote | None) -> Quote | NoQuote:
        event_ns = None if found is None else moment_ns(found.moment)
        if found is None or event_ns is None:
            return NoQuote(symbol, NoQuoteReason.EMPTY)
        return Quote(symbol, found.price_micros, found.previous_close_micros, event_ns)

    # --- calls --------------------------------------------------------------------------------

    async def _called(
        self, query: dict[str, str], parse: Callable[[bytes], T | Refusal], symbols: Sequence[str]
    ) -> T | NoQuote:
        """Return what a call brought; a second one where the first was one too many."""
        first, is_second = symbols[0], False
        async with self._one_at_a_time:
            while True:
                no = await self._count(symbols)
                if no is not None:
                    return no
                found = parse(await self._get(query, first))
                if not isinstance(found, Refusal):
                    return found
                if found is Refusal.UNUSABLE:
                    raise VendorUnavailable(
                        f"alphavantage gave no usable answer for {first}", symbol=first
                    )
                if found is not Refusal.THROTTLED:
                    wait_s = THROTTLED_WAIT_S if found is Refusal.KEY_REFUSED else 0.0
                    return NoQuote(first, _REASONS[found], wait_s)
                if is_second:
                    return await self._spent(first)
                is_second = True
                await self._clock.sleep(self._limits.retry_s)

    async def _count(self, symbols: Sequence[str]) -> NoQuote | None:
        """Count one call; return why it may not be made."""
        limits, day = self._limits, day_of(self._market_clock.now_ns())
        if self._spent_day == day:
            return NoQuote(symbols[0], NoQuoteReason.BUDGET, BUDGET_WAIT_S)
        if limits.calls_per_day == 0:
            return None
        is_held = any(self._is_held(symbol) for symbol in symbols)
        calls_max = limits.calls_per_day - (0 if is_held else limits.calls_reserved)
        try:
            is_counted = await self._quota.take(self.account, day, calls_max)
        except StoreUnavailable:
            return NoQuote(symbols[0], NoQuoteReason.BUDGET, UNCOUNTED_WAIT_S)
        return None if is_counted else NoQuote(symbols[0], NoQuoteReason.BUDGET, BUDGET_WAIT_S)

    async def _spent(self, symbol: str) -> NoQuote:
        """Take it that the day is used up, whatever we have counted; a plan without days waits."""
        calls = self._limits.calls_per_day
        if calls == 0:
            return NoQuote(symbol, NoQuoteReason.THROTTLED, THROTTLED_WAIT_S)
        self._spent_day = day_of(self._market_clock.now_ns())
        with contextlib.suppress(StoreUnavailable):  # this process knows it, and asks no more
            await self._quota.spend(self.account, self._spent_day, calls)
        return NoQuote(symbol, NoQuoteReason.THROTTLED, BUDGET_WAIT_S)

    async def _get(self, query: dict[str, str], symbol: str) -> bytes:
        """Make one call, a moment after the last one."""
        wait_s = self._asked_s + self._limits.gap_s - self._clock.now()
        if wait_s > 0:
            await self._clock.sleep(wait_s)
        self._asked_s = self._clock.now()
        try:
            answer = await bounded_get(
                self._client, "/query", {**query, "apikey": self._key}, BODY_BYTES_MAX
            )
        except (httpx.HTTPError, TimeoutError) as error:
            raise VendorUnavailable(
                f"alphavantage gave no quote of {symbol}: {type(error).__name__}", symbol=symbol
            ) from None
        status = answer.status
        if status != httpx.codes.OK or answer.is_cut:
            raise VendorUnavailable(
                f"alphavantage answered {status} for {symbol}", symbol=symbol, status=status
            )
        return answer.body
