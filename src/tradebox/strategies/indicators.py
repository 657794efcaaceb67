"""TA-Lib's indicators over one series, each computed once however many settings ask for it.

Rules of this file:
- a value at bar i uses bars up to i only; before an indicator's warm-up it is NaN;
- TA-Lib is imported behind a fence: it would load pandas wherever pandas is installed;
- results are shared between settings and must not be written to.
"""

import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np

from tradebox.strategies.bars import Bars, Floats


def _import_talib() -> ModuleType:
    """Import TA-Lib without the data frames it would look for."""
    absent = [name for name in ("pandas", "polars") if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to forbid an import
    try:
        import talib
    finally:
        for name in absent:
            del sys.modules[name]
    assert isinstance(talib, ModuleType)
    return talib


class Indicators:
    """The indicators of one series, kept by name and period."""

    __slots__ = ("_kept", "_talib", "bars")

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self._talib = _import_talib()
        self._kept: dict[tuple[str, int], Floats] = {}

    def sma(self, period: int) -> Floats:
        """Simple moving average of the close."""
        kept = self._kept.get(("sma", period))
        if kept is None:
            kept = self._keep("sma", period, lambda: self._talib.SMA(self.bars.close, period))
        return kept

    def atr(self, period: int = 14) -> Floats:
        """Average true range, in price units."""
        kept = self._kept.get(("atr", period))
        if kept is None:
            bars = self.bars
            kept = self._keep(
                "atr", period, lambda: self._talib.ATR(bars.high, bars.low, bars.close, period)
            )
        return kept

    def rsi(self, period: int) -> Floats:
        """Relative strength index of the close, 0 to 100."""
        kept = self._kept.get(("rsi", period))
        if kept is None:
            kept = self._keep("rsi", period, lambda: self._talib.RSI(self.bars.close, period))
        return kept

    def highest(self, period: int) -> Floats:
        """Highest high of the `period` bars that end one bar earlier."""
        kept = self._kept.get(("highest", period))
        if kept is None:
            kept = self._keep(
                "highest", period, lambda: _lagged(self._talib.MAX(self.bars.high, period))
            )
        return kept

    def lowest(self, period: int) -> Floats:
        """Lowest low of the `period` bars that end one bar earlier."""
        kept = self._kept.get(("lowest", period))
        if kept is None:
            kept = self._keep(
                "lowest", period, lambda: _lagged(self._talib.MIN(self.bars.low, period))
            )
        return kept

    def deviation(self, period: int) -> Floats:
        """Standard deviation of the close."""
        kept = self._kept.get(("deviation", period))
        if kept is None:
            kept = self._keep(
                "deviation", period, lambda: self._talib.STDDEV(self.bars.close, period)
            )
        return kept

    def change(self, period: int) -> Floats:
        """Rate of change of the close over `period` bars, as a share."""
        kept = self._kept.get(("change", period))
        if kept is None:
            kept = self._keep("change", period, lambda: self._talib.ROCP(self.bars.close, period))
        return kept

    def squeeze(self, period: int) -> Floats:
        """Width of the Bollinger band (2 deviations) over that of the Keltner channel (1.5 ATR)."""

        def width() -> Floats:
            with np.errstate(all="ignore"):
                return 2.0 * self.deviation(period) / (1.5 * self.atr(period))

        kept = self._kept.get(("squeeze", period))
        return self._keep("squeeze", period, width) if kept is None else kept

    def recent_low(self, name: str, period: int, of: Callable[[], Floats]) -> Floats:
        """Lowest value of another indicator over `period` bars up to and with this one."""
        kept = self._kept.get((name, period))
        if kept is None:
            kept = self._keep(name, period, lambda: self._talib.MIN(of(), period))
        return kept

    def _keep(self, name: str, period: int, make: Callable[[], Floats]) -> Floats:
        is_long_enough = period < len(self.bars)
        kept = make() if is_long_enough else np.full(len(self.bars), np.nan)
        self._kept[name, period] = kept
        return kept


def _lagged(values: Floats) -> Floats:
    out = np.empty_like(values)
    out[:1] = np.nan
    out[1:] = values[:-1]
    return out
