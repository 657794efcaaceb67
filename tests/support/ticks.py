"""Ticks for tests, and a filter fed with them."""

from tradebox.config import FilterSettings
from tradebox.domain.filter_values import NOWHERE
from tradebox.domain.market import AdmittedTick, Quality, Source, Tick
from tradebox.domain.tick_filter import FilterLimits, SymbolState, judge

S = 1_000_000_000
T0 = 1_300_000_000 * S
USD = 1_000_000
LIMITS = FilterLimits.of(FilterSettings())


class Market:
    """Market time that a test sets by hand."""

    def __init__(self, now_ns=T0, speed=1.0):
        self.ns = now_ns
        self.speed = speed

    def now_ns(self):
        return self.ns


def tick(
    price, at_s=0.0, *, size=100, recv_s=None, source=Source.FINNHUB, key=1, symbol="SPY", **more
):
    """Return a tick; price in USD, times in seconds after T0, received as it happened."""
    event_ns = T0 + round(at_s * S)
    recv_ns = event_ns if recv_s is None else T0 + round(recv_s * S)
    return Tick(symbol, round(price * USD), size, event_ns, recv_ns, source, key, **more)


def quote(bid, ask, at_s=0.0, *, source=Source.IB, **fields):
    """Return a bid and ask in USD; its price is their middle."""
    sides = {"bid_micros": round(bid * USD), "ask_micros": round(ask * USD)}
    middle = (bid + ask) / 2
    return tick(middle, at_s, size=0, source=source, is_quote=True, **sides, **fields)


def admitted(symbol="SPY", price=100.0, at_s=0.0, *, quality=Quality.LIVE, seq=1, epoch=1):
    event_ns = T0 + round(at_s * S)
    micros = round(price * USD)
    source = Source.FINNHUB
    return AdmittedTick(symbol, micros, 100, event_ns, event_ns, source, quality, epoch, seq, seq)


class Filter:
    """One symbol's filter, fed by hand."""

    def __init__(self, state=None, limits=LIMITS, around=NOWHERE):
        self.state = SymbolState() if state is None else state
        self.limits = limits
        self.around = around

    def see(self, *args, is_open=None, **fields):
        return self.take(tick(*args, **fields), is_open=is_open)

    def take(self, one, *, is_open=None):
        self.state, judged = judge(
            self.state, one, self.limits, is_open=is_open, around=self.around
        )
        return judged

    def settle(self, price=100.0, start_s=0.0, count=60, step=0.01):
        """See a quiet market: `count` ticks around a price, half a second apart."""
        for n in range(count):
            self.see(price + step * (n % 3 - 1), start_s + n / 2, size=100 + n)
        return start_s + count / 2
