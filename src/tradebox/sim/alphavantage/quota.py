"""How much a key of Alpha Vantage may ask.

Rules of this file:
- a free key: one call a second and 25 a day; a premium key: 75 a minute;
- every call counts, the refused ones too;
- seconds and minutes are real time; the day is the New York day of market time;
- a restart forgets nothing: neither the day's calls nor those of the last minute.

Source: alphavantage.co premium page and the texts that free keys get.
"""

from tradebox.sim.calls import KeptCalls
from tradebox.sim.exchange.days import trading_day

FREE_PER_DAY = 25
PREMIUM_PER_MINUTE = 75


class FreeQuota:
    """The limits of a free key."""

    def __init__(self, kept: KeptCalls) -> None:
        self._kept = kept
        self._latest = kept.times("alphavantage free")

    def take(self, now_s: float, market_ns: int) -> bool:
        """Count a call; say whether it is within the limits."""
        today = trading_day(market_ns)
        day, used = self._kept.day("alphavantage free")
        used = used + 1 if day == today else 1
        is_burst = bool(self._latest) and now_s - self._latest[-1] < 1
        self._latest.clear()
        self._latest.append(now_s)
        self._kept.keep_day("alphavantage free", today, used)
        return not is_burst and used <= FREE_PER_DAY


class PremiumQuota:
    """The limit of a premium key."""

    def __init__(self, kept: KeptCalls) -> None:
        self._kept = kept
        self._calls = kept.times("alphavantage premium")

    def take(self, now_s: float, _market_ns: int) -> bool:
        """Count a call; say whether it is within the limit."""
        while self._calls and self._calls[0] <= now_s - 60:
            self._calls.popleft()
        if len(self._calls) >= PREMIUM_PER_MINUTE:
            return False
        self._calls.append(now_s)
        self._kept.keep()
        return True
