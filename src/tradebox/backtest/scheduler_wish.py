"""What a run is: made from what was asked for, or found again to be resumed.

Rules of this file:
- a new run is refused before a row is written: its strategies, its universe, its data;
- a resumed run keeps its data, its code and its settings, or is refused with what differs.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tradebox.backtest.data.arraystore import ArrayStore
from tradebox.backtest.data.prepare import prepare_apart
from tradebox.backtest.records import RunSpec
from tradebox.backtest.scheduler_spec import code_hash, new_run_id
from tradebox.backtest.store import BacktestStore
from tradebox.backtest.store_reads import RunReader
from tradebox.config import BacktestSettings, Home
from tradebox.errors import ConfigInvalid, NotDone
from tradebox.strategies.catalogue import STRATEGIES

LIMITS: Final = ("memory_budget", "workers", "cores_share")
"""Settings that bound what a run takes of the machine, and change none of its results."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. resume: a run, by its id, the beginning of one, or "last".

    With resume, data, universe and strategies are the run's own, and so are its limits but for
    those in `limits`, which were given anew.
    """

    data: str = "sample"
    universe: str | None = None
    strategies: tuple[str, ...] = ()
    resume: str | None = None
    executor: str = "pool"
    scheduler: str | None = None
    scatter: bool = False
    limits: frozenset[str] = frozenset()


async def spec_of(
    home: Home,
    settings: BacktestSettings,
    wish: Wish,
    store: BacktestStore,
    on_data: Callable[[int, int], None],
) -> RunSpec:
    """Return what a run is: a new one from its wish, or one that was begun.

    Raises: ConfigInvalid, InputError, NotDone, NotRunning, HomeUnusable, StoreUnavailable.
    """
    if wish.resume is not None:
        return await _resumed(home, wish.resume, store, on_data)
    strategies = _known(wish.strategies)
    prepared = await asyncio.to_thread(
        prepare_apart, wish.data, wish.universe, home.bars_dir, on_step=on_data
    )
    return RunSpec(
        run_id=new_run_id(),
        seed=settings.seed,
        strategies=strategies,
        universe=prepared.universe,
        symbols=prepared.symbols,
        data_source=prepared.source,
        data_path=prepared.path,
        data_hash=prepared.data_hash,
        code_hash=code_hash(),
        config=settings.model_dump(mode="json"),
        executor=wish.executor,
        refused=prepared.refused,
    )


async def _resumed(
    home: Home, name: str, store: BacktestStore, on_data: Callable[[int, int], None]
) -> RunSpec:
    """Return a run as it was begun, if it can still come to the same results."""
    run_id = await RunReader(store).run_id(name)
    spec = await store.load_spec(run_id)
    now = code_hash()
    if now != spec.code_hash:
        raise NotDone(
            f"run {run_id} was begun by other code ({spec.code_hash[:12]}, now {now[:12]}):"
            " its results would not be one run's: start a new one",
            run_id=run_id,
        )
    if not Path(spec.data_path).exists():
        again = await asyncio.to_thread(
            prepare_apart, spec.data_source, spec.universe, home.bars_dir, on_step=on_data
        )
        spec = replace(spec, data_path=again.path)
        if again.data_hash != spec.data_hash:
            raise NotDone(
                f"run {run_id} used other data ({spec.data_hash[:12]}, {spec.data_source} now"
                f" gives {again.data_hash[:12]}): start a new one",
                run_id=run_id,
            )
    return spec


def limits_of(settings: BacktestSettings, wish: Wish, spec: RunSpec) -> BacktestSettings:
    """Return the settings with the limits that a resumed run was begun with."""
    if wish.resume is None:
        return settings
    begun = {name: spec.config[name] for name in LIMITS if name in spec.config}
    return settings.model_copy(
        update={name: value for name, value in begun.items() if name not in wish.limits}
    )


def _known(names: Sequence[str]) -> tuple[str, ...]:
    """Return the strategies that were named, in the catalogue's order; none named = all."""
    unknown = [name for name in names if name not in STRATEGIES]
    if unknown:
        raise ConfigInvalid(
            f"--strategy={unknown[0]}: unknown strategy: one of {', '.join(STRATEGIES)}",
            field="strategy",
            value=unknown[0],
        )
    return tuple(name for name in STRATEGIES if not names or name in names)


def lengths_of(spec: RunSpec) -> dict[str, int]:
    """Return the number of bars of each stock."""
    bars = ArrayStore.open(spec.data_path)
    return {symbol: bars.length(symbol) for symbol in spec.symbols}


def tell_refused(spec: RunSpec, on_note: Callable[[str], None]) -> None:
    """Say which stocks are skipped, and why."""
    for symbol, why in sorted(spec.refused.items()):
        on_note(f"{symbol} is skipped: {why}")
