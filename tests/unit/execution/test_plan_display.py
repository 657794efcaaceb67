from decimal import Decimal

from tradebox.domain.events import AccountChanged, PositionChanged
from tradebox.domain.market import Quality
from tradebox.domain.orders import AccountName
from tradebox.domain.path import AccountState, LinkState
from tradebox.execution.plan_display import RETELL_S, ROW_PERIOD_S, PlanDisplay
from tradebox.supervision.clock import ManualClock


class MarketTime:
    speed = 1.0

    def now_ns(self):
        return 7


class Prices:
    def last(self, symbol):
        return None

    def quality_now(self, symbol):
        return Quality.STALE


class Path:
    account_state = AccountState(
        account_id="SIM1",
        link=LinkState.CLEAN,
        net_liquidation_usd=Decimal(100),
        cash_usd=Decimal(50),
        realised_day_usd=None,
        open_risk_usd=None,
    )

    def holdings(self):
        return [PositionChanged(AccountName.PAPER, "SPY", 5, 5, 0, True, Decimal(1), 1)]


def test_what_a_watcher_lost_is_told_again_soon():
    clock, told = ManualClock(), []
    display = PlanDisplay(AccountName.PAPER, MarketTime(), clock, Prices(), told.append)
    display.show([], Path())
    assert [type(event) for event in told] == [PositionChanged, AccountChanged]
    clock.advance(ROW_PERIOD_S)
    display.show([], Path())
    assert len(told) == 2
    clock.advance(RETELL_S)
    display.show([], Path())
    assert [type(event) for event in told[2:]] == [PositionChanged, AccountChanged]
