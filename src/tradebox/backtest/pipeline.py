"""One stock from its bars to its result: layers, walk-forward, verification, grade.

Rules of this file:
- a pure function of bars, config and seed: no clock reaches the result (stages are timed aside);
- a stock the layers refuse is a result with its reason, never an exception;
- the graded account is the walk-forward one: each block traded by what was chosen before it.

Public names: run_stock, warm_up.
"""

import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradebox.backtest import kernel, walkforward
from tradebox.backtest.costs import Costs
from tradebox.backtest.cutdata import Leak, first_leak
from tradebox.backtest.grade import grade
from tradebox.backtest.kernel_books import Books, keep_books
from tradebox.backtest.layers import LAYERS
from tradebox.backtest.layers.state import Choice, State
from tradebox.backtest.metrics import measure
from tradebox.backtest.records import Grade, Reason, StockResult
from tradebox.backtest.rows import Rows, rows_of, walk_forward
from tradebox.backtest.verify import Verdict, verify
from tradebox.strategies.bars import Bars
from tradebox.strategies.catalogue import STRATEGIES
from tradebox.strategies.indicators import Indicators

SPLITS = 5
CUTS = 2
CUT_BARS = 800
"""The final setting must not change at so many cuts behind spoken bars of the last so many, and at
as many others."""


def run_stock(
    bars: Bars,
    config: Mapping[str, Any],
    seed: int = 0,  # noqa: ARG001 - every task has one signature; nothing here is random
    stages: MutableMapping[str, float] | None = None,
) -> StockResult:
    """Return what the strategies would have made of one stock.

    config: section [backtest] in plain values, with "strategies" where not all are meant, "replay"
    for the plan machine's opinion, and "delisted" with "delisting_loss_share".
    Raises:  KeyError for a strategy that does not exist (checked before a run starts).
    """
    watch = _Watch(stages)
    state = begin(bars, config)
    for name in config.get("layers", tuple(LAYERS)):
        state = LAYERS[name](state)
        watch.lap(name if name == "search" else "layers")
        if state.refused:
            return StockResult(bars.symbol, "refused", reasons=state.reasons)
    return _judge(state, watch)


def begin(bars: Bars, config: Mapping[str, Any]) -> State:
    """Return the state before the first layer."""
    names: Sequence[str] = config.get("strategies") or tuple(STRATEGIES)
    strategies = tuple(STRATEGIES[name] for name in names)
    costs = Costs.from_config(config.get("costs", {}))
    return State(
        bars=bars,
        config=config,
        costs=costs,
        per_bar=costs.per_bar(bars),
        indicators=Indicators(bars),
        blocks=walkforward.cut_blocks(len(bars), int(config.get("splits", SPLITS))),
        strategies=strategies,
    )


def _judge(state: State, watch: "_Watch") -> StockResult:
    """Trade the choices, have vectorbt trade them too, and grade what came of it."""
    if state.final is None:
        state = _by_default(state)
    assert state.final is not None
    final_rows, out_rows = rows_in(state), rows_out(state)
    whole = final_rows.books()
    out = None if out_rows is None else out_rows.books()
    watch.lap("walkforward")
    verdicts = [verify(final_rows, whole)]
    if out_rows is not None and out is not None:
        verdicts.append(verify(out_rows, out))
    wrong = next((one for one in verdicts if not one.agrees), None)
    newest = state.bars.slice(max(0, len(state.bars) - CUT_BARS), len(state.bars))
    leak = first_leak(state.final.strategy, state.final.setting, newest, CUTS)
    holds = wrong is None and leak is None
    reasons = (*state.reasons, _verified(verdicts, wrong), _uncut(leak))
    watch.lap("verify")
    if state.config.get("replay", False):
        reasons = (*reasons, _replayed(final_rows))
        watch.lap("replay")
    first_day = int(state.blocks.edges[1])
    books = out if out is not None else _no_books(state)
    metrics = {
        "in": measure(whole.trades, whole.equity, state.trials),
        "out": measure(books.trades, books.equity[first_day:], state.trials),
    }
    metrics["out"] |= _stability(state, books)
    letter: Grade = ""
    if "grades" in state.config:
        graded = grade(metrics["out"], state.config["grades"], is_verified=holds)
        letter, reasons = graded.letter, (*reasons, *graded.reasons)
    result = StockResult(
        symbol=state.bars.symbol,
        status="ok" if holds else "mismatch",
        strategy=state.final.strategy.name,
        setting=dict(state.final.setting),
        grade=letter,
        reasons=reasons,
        metrics=metrics,
        details=state.details,
        trials=state.trials,
        verified=holds,
        orders=_since(books.orders, first_day),
        trades=_since(books.trades, first_day),
        days=state.bars.day[first_day:].copy(),
        equity=books.equity[first_day:].astype(np.float32),
    )
    watch.lap("grade")
    return result


def _since(table: NDArray[np.void], first_bar: int) -> NDArray[np.void]:
    """Return orders or trades with bars counted from first_bar: a result counts into its days."""
    moved = table.copy()
    for name in table.dtype.names or ():
        if name in ("bar", "entry_bar", "exit_bar"):
            moved[name] -= first_bar
    return moved


def _stability(state: State, books: Books) -> dict[str, float]:
    """Return what a grade asks beside an account's own metrics, all of it out of sample.

    costs_doubled_expectancy_r: of the same choices when all costs are twice as high.
    neighbour_share: of the final setting's neighbours, how many earned in the judged blocks.
    positive_splits: share of the judged blocks that earned, those stayed out of among them.
    """
    doubled = rows_out(state, cost_factor=2.0)
    r = doubled.books().trades["r"] if doubled is not None else np.empty(0)
    into = state.blocks.of_entry[books.trades["entry_bar"] - 1]
    earned = np.bincount(into, weights=books.trades["r"], minlength=state.blocks.count)
    return {
        "costs_doubled_expectancy_r": float(r.mean()) if len(r) else 0.0,
        "neighbour_share": _neighbour_share(state),
        "positive_splits": float(np.mean(earned[1:] > 0.0)),
    }


def _neighbour_share(state: State) -> float:
    final = state.final
    if final is None or final.index < 0:
        return 0.0
    sweep = state.sweeps[final.strategy.name]
    beside = walkforward.neighbours(final.index, final.strategy.shape)
    if not beside:
        return 0.0
    earned = sweep.by_entry[beside, :, 1].sum(axis=1)
    return float(np.mean(earned > 0.0))


def _by_default(state: State) -> State:
    """Take the middle of the first strategy's ranges: what is left without a search."""
    strategy = state.strategies[0]
    middle = {one.name: one.values[len(one.values) // 2] for one in strategy.parameters}
    choice = Choice(strategy, middle, 0.0, -1)
    return state.because(
        "search", "switched off: the middle of each range", final=choice, trials=1,
        choices=(choice,) * (state.blocks.count - 1),
    )  # fmt: skip


def rows_in(state: State) -> Rows:
    """Return the final choice over all bars: in-sample, and what trading would use."""
    assert state.final is not None
    regime: NDArray[np.int64] = np.zeros(len(state.bars), np.int64)
    return _rows([state.final], regime, state, state.costs)


def rows_out(state: State, cost_factor: float = 1.0) -> Rows | None:
    """Return each judged block under its own choice; None where all were stayed out of."""
    kept, regime = walk_forward(state.choices, state.blocks)
    if not kept:
        return None
    return _rows(kept, regime, state, state.costs.times(cost_factor))


def _rows(choices: Sequence[Choice], regime: NDArray[np.int64], state: State, costs: Costs) -> Rows:
    lost = float(state.config.get("delisting_loss_share", 0.0))
    delisted = bool(state.config.get("delisted", False))
    final = (lost, float(delisted))
    return rows_of(choices, regime, state.indicators, costs, state.sizing, final)


def _no_books(state: State) -> Books:
    none = np.empty((0, len(kernel.POSITION_COLUMNS)))
    return keep_books(none, state.bars, state.costs, state.sizing.account_usd)


def _verified(verdicts: Sequence[Verdict], wrong: Verdict | None) -> Reason:
    orders = sum(one.orders for one in verdicts)
    if wrong is not None:
        return Reason("verify", f"vectorbt disagrees: {wrong.difference}")
    return Reason("verify", f"vectorbt agrees in {orders} orders")


def _uncut(leak: Leak | None) -> Reason:
    if leak is not None:
        return Reason("cut-data", f"it knows the future: {leak.text}")
    return Reason("cut-data", "cut bars change nothing that was said before the cut")


def _replayed(rows: Rows) -> Reason:
    """Follow the final choice through the plan machine. Loaded on request: it brings the domain."""
    from tradebox.backtest.plan_replay import compare

    found = compare(rows)
    if found.agrees:
        return Reason("replay", f"the plan machine makes the same {found.orders} orders")
    return Reason("replay", f"the plan machine differs: {found.difference}")


class _Watch:
    """Adds up where the time went; the result never sees it."""

    def __init__(self, stages: MutableMapping[str, float] | None) -> None:
        self.stages = stages
        self.last = time.perf_counter() if stages is not None else 0.0

    def lap(self, name: str) -> None:
        """Put the time since the last lap on a stage."""
        if self.stages is None:
            return
        now = time.perf_counter()
        self.stages[name] = self.stages.get(name, 0.0) + now - self.last
        self.last = now


def warm_up() -> None:
    """Load all a worker needs, without a thread: kernel, TA-Lib, vectorbt's engine."""
    kernel.warm_up()
    count = 16
    prices = np.linspace(10.0, 12.0, count)
    bars = Bars("WARM", np.arange(count, dtype=np.int32), prices, prices, prices, prices, prices)
    state = begin(bars, {"strategies": ("donchian_breakout",), "splits": 4})
    state = _by_default(state)
    rows = rows_in(state)
    verify(rows, rows.books())
