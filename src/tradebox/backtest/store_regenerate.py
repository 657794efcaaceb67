"""Makes stored results again from what is stored of their run, and compares the hashes.

Rules of this file:
- a stock is run with the run's own config, seed, strategies and data, never with today's settings;
- data that is gone is prepared again from its source, and used only where its hash is the run's;
- other code is no error: it is said, and the hashes tell whether it mattered.

Public names: Regenerated, regenerate, bars_of_run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradebox.backtest.data.arraystore import ArrayStore
from tradebox.backtest.data.prepare import OnStep, no_step, prepare_apart
from tradebox.backtest.records import BatchTask, RunBrief
from tradebox.backtest.worker import run_batch
from tradebox.errors import InputError, NotDone


@dataclass(frozen=True, slots=True)
class Regenerated:
    """What came of it: stocks whose hash came out the same, and those that did not."""

    same: tuple[str, ...]
    different: tuple[str, ...]


def bars_of_run(run: Mapping[str, Any], root: Path) -> Path:
    """Return the folder of a run's bars, prepared again where it is gone.

    Raises: NotDone when the source no longer gives the data of the run; InputError, HomeUnusable.
    """
    try:
        if ArrayStore.open(run["data_path"]).data_hash == run["data_hash"]:
            return Path(run["data_path"])
    except InputError:
        pass
    kept = root / str(run["data_hash"])
    if kept.is_dir():
        return kept
    again = prepare_apart(run["data_source"], run["universe"], root)
    if again.data_hash != run["data_hash"]:
        raise NotDone(
            f"run {run['run_id']} used data {run['data_hash'][:12]}; {run['data_source']} now gives"
            f" {again.data_hash[:12]}: it cannot be made again"
        )
    return Path(again.path)


def regenerate(
    run: Mapping[str, Any],
    stored: Mapping[str, str],
    symbols: Sequence[str],
    root: Path,
    on_step: OnStep = no_step,
) -> Regenerated:
    """Run some stocks of a run again and compare. stored: result hash by symbol.

    Holds:  nothing is written to the store.
    Raises: as bars_of_run.
    """
    brief = RunBrief(
        run_id=run["run_id"],
        seed=run["seed"],
        strategies=tuple(run["strategies"]),
        data_path=str(bars_of_run(run, root)),
        data_hash=run["data_hash"],
        code_hash=run["code_hash"],
        config=run["config"],
    )
    found = {}
    for number, symbol in enumerate(symbols, 1):
        (result,) = run_batch(BatchTask(brief, 0, (symbol,))).results
        found[symbol] = result.result_hash
        on_step(number, len(symbols))
    same = tuple(one for one in symbols if found[one] == stored[one])
    return Regenerated(same, tuple(one for one in symbols if one not in same))
