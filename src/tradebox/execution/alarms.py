"""Alarms of one account: told at once, and not again for a while.

Rules of this file:
- the same words within PERIOD_S are one alarm; what is kept to know that is bounded.
"""

from collections.abc import Callable
from typing import Final

from tradebox.domain.events import AlertRaised
from tradebox.domain.orders import AccountName
from tradebox.execution.procedures import Alarm
from tradebox.ports.clock import MarketClock
from tradebox.supervision.clock import Clock

PERIOD_S: Final = 30.0
KEPT_MAX: Final = 1000


class Alarms:
    """Says each alarm once per period."""

    def __init__(
        self,
        account: AccountName,
        clock: Clock,
        market_clock: MarketClock,
        publish: Callable[[object], object],
    ) -> None:
        self._account = account
        self._clock = clock
        self._market_clock = market_clock
        self._publish = publish
        self._said: dict[tuple[str, str], float] = {}

    def is_due(self, key: tuple[str, str]) -> bool:
        """Say whether this was not said for a period, and take note that it is said now."""
        now_s = self._clock.now()
        if now_s - self._said.get(key, float("-inf")) < PERIOD_S:
            return False
        if len(self._said) >= KEPT_MAX:
            self._said.clear()
        self._said[key] = now_s
        return True

    def say(self, alarm: Alarm) -> None:
        """Tell a person, if it is due."""
        if self.is_due((alarm.kind, alarm.text)):
            self._publish(
                AlertRaised(
                    alarm.severity, alarm.kind, alarm.text, account=self._account,
                    at_ns=self._market_clock.now_ns(),
                )
            )  # fmt: skip
