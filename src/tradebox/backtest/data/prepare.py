"""From a source to a shared folder of vetted bars, once per content.

Rules of this file:
- reading happens in a process of its own (`python -m tradebox.backtest.data`): pyarrow, pandas and
  what they hold end with it, and the parent of a run stays lean;
- a source that says it did not change is not read again; the answer names the folder it made;
- a stock that cannot be used is refused with its reason, and the rest goes on.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from tradebox.backtest.data.arraystore import ArrayStore, ArrayWriter
from tradebox.backtest.data.series import Defect, Source
from tradebox.backtest.data.sources import parse_source
from tradebox.backtest.data.universe import resolve_universe
from tradebox.backtest.data.vetting import RULES_VERSION, VettingRules, latest_day, vet
from tradebox.config import private_dir
from tradebox.errors import ConfigInvalid, ExitCode, HomeUnusable, InputError, VendorUnavailable

KNOWN: Final = "known"
"""Folder of what is known of sources, beside the folders of bars."""

STEP: Final = "step"
STEP_S: Final = 0.2

_FAULTS: Final = {
    one.__name__: one for one in (InputError, ConfigInvalid, HomeUnusable, VendorUnavailable)
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """Bars that are ready, and what was wrong on the way.

    defects: kind → "action" → number of stocks. refused: symbol → why.
    """

    path: str
    data_hash: str
    source: str
    universe: str
    symbols: tuple[str, ...]
    refused: dict[str, str] = field(default_factory=dict)
    defects: dict[str, dict[str, int]] = field(default_factory=dict)
    bars: int = 0
    seconds: float = 0.0
    is_known: bool = False


OnStep = Callable[[int, int], None]
"""Called with how many of how many stocks were read."""


def no_step(_done: int, _total: int) -> None:
    """Tell nobody."""


def prepare(
    source_text: str,
    universe: str | None,
    root: Path,
    rules: VettingRules | None = None,
    on_step: OnStep = no_step,
) -> Prepared:
    """Read, vet and store the bars in this process, or find that it was done before.

    Raises: InputError (source, universe, or no usable stock), HomeUnusable, VendorUnavailable.
    """
    limits = VettingRules() if rules is None else rules
    source = parse_source(source_text)
    note = _note_file(source, universe, root, limits)
    found = _known(note)
    if found is not None:
        return found
    began_s = time.monotonic()
    name, symbols = resolve_universe(universe, source)
    prepared, is_whole = _store(source, name, symbols, root, limits, on_step)
    done = Prepared(**{**asdict(prepared), "seconds": time.monotonic() - began_s})
    if note is not None and is_whole:
        with contextlib.suppress(OSError):  # then it is read again next time
            private_dir(note.parent)
            fresh = note.with_suffix(".new")
            fresh.write_bytes(orjson.dumps(asdict(done)))
            fresh.replace(note)
    return done


def prepare_apart(
    source_text: str,
    universe: str | None,
    root: Path,
    rules: VettingRules | None = None,
    on_step: OnStep = no_step,
) -> Prepared:
    """Do what `prepare` does in a process of its own, unless it was done before.

    Raises: as prepare.
    """
    limits = VettingRules() if rules is None else rules
    found = _known(_note_file(parse_source(source_text), universe, root, limits))
    if found is not None:
        return found
    wish = {
        "source": source_text,
        "universe": universe,
        "root": str(root),
        "rules": asdict(limits),
    }
    answer, code = _answer_of(orjson.dumps(wish), on_step)
    if answer is None:
        raise InputError(
            f"data={source_text}: its reader ended with {code} and no answer:"
            " out of memory, or killed?",
            exit_code=code,
        )
    if "error" in answer:
        raise _FAULTS[answer["kind"]](answer["error"])
    return _read(answer)


def _answer_of(wish: bytes, on_step: OnStep) -> tuple[dict[str, Any] | None, int]:
    """Have a wish done by a process of its own; return its answer, if any, and its exit code."""
    answer = None
    with subprocess.Popen(
        [sys.executable, "-m", "tradebox.backtest.data"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": _our_path()},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(wish)
        for line in process.stdout:
            try:
                told = orjson.loads(line)
            except ValueError:
                continue
            if STEP in told:
                on_step(*told[STEP])
            else:
                answer = told
    return answer, process.returncode


def _our_path() -> str:
    """Return the search path on which the reader finds the code that runs here."""
    root = str(Path(__file__).parents[3])
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])


def answer_wish(text: bytes, say: Callable[[bytes], None] = lambda _: None) -> tuple[bytes, int]:
    """Do one wish of `prepare_apart`; return the answer and the exit code.

    say: told a line now and then, of how far it is.
    """
    wish = orjson.loads(text)
    said_s = time.monotonic()

    def step(done: int, total: int) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= STEP_S:
            said_s = time.monotonic()
            say(orjson.dumps({STEP: [done, total]}))

    try:
        rules, root = VettingRules(**wish["rules"]), Path(wish["root"])
        done = prepare(wish["source"], wish["universe"], root, rules, step)
    except tuple(_FAULTS.values()) as error:
        kind = type(error).__name__ if type(error).__name__ in _FAULTS else InputError.__name__
        return orjson.dumps({"error": error.message, "kind": kind}), int(error.exit_code)
    except OSError as error:
        said = f"data={wish['source']}: {error.filename or 'a file'}: {error.strerror or error}"
        return orjson.dumps({"error": said, "kind": InputError.__name__}), int(ExitCode.REFUSED)
    return orjson.dumps(asdict(done)), int(ExitCode.OK)


def _store(
    source: Source,
    universe: str,
    symbols: Sequence[str],
    root: Path,
    rules: VettingRules,
    on_step: OnStep,
) -> tuple[Prepared, bool]:
    """Return what was stored, and whether nothing failed that may pass."""
    is_whole, day_max = True, latest_day(time.time())
    refused: dict[str, str] = {}
    found: dict[str, tuple[Defect, ...]] = {}
    kept: list[str] = []
    bars = 0
    with ArrayWriter(root) as writer:
        for number, raw in enumerate(source.read(symbols), 1):
            on_step(number, len(symbols))
            vetted = vet(raw, rules, day_max)
            is_whole = is_whole and not (raw.is_passing or vetted.is_passing)
            if vetted.defects:
                found[raw.symbol] = vetted.defects
            if vetted.bars is None:
                refused[raw.symbol] = vetted.refusal
                continue
            writer.add(vetted.bars)
            kept.append(raw.symbol)
            bars += len(vetted.bars)
        if not kept:
            first = next(iter(sorted(refused.items())), ("", "nothing was read"))
            raise InputError(
                f"data={source.name}: none of {len(symbols)} stocks can be used;"
                f" {first[0]}: {first[1]}",
                refused=refused,
            )
        folder = writer.finish(found)
    prepared = Prepared(
        path=str(folder),
        data_hash=folder.name,
        source=source.name,
        universe=universe,
        symbols=tuple(sorted(kept)),
        refused=dict(sorted(refused.items())),
        defects=_counted(found),
        bars=bars,
    )
    return prepared, is_whole


def _counted(found: dict[str, tuple[Defect, ...]]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for defects in found.values():
        for kind, action in sorted({(defect.kind, str(defect.action)) for defect in defects}):
            of_kind = counts.setdefault(kind, {})
            of_kind[action] = of_kind.get(action, 0) + 1
    return dict(sorted(counts.items()))


def _note_file(
    source: Source, universe: str | None, root: Path, rules: VettingRules
) -> Path | None:
    of_universe = universe or ""
    try:
        fingerprint = source.fingerprint()
        path = Path(of_universe).expanduser()
        if of_universe and path.is_file():
            of_universe = f"{path.resolve()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError:
        return None  # reading it says what is wrong
    if fingerprint is None:
        return None
    key = f"{RULES_VERSION}\0{rules}\0{fingerprint}\0{of_universe}"
    return root / KNOWN / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _known(note: Path | None) -> Prepared | None:
    if note is None or not note.exists():
        return None
    try:
        found = _read(orjson.loads(note.read_bytes()))
        ArrayStore.open(found.path)
    except (InputError, OSError, ValueError, TypeError, KeyError):
        return None  # a lost folder is made again
    return Prepared(**{**asdict(found), "is_known": True, "symbols": found.symbols})


def _read(answer: dict[str, object]) -> Prepared:
    fields = {**answer, "symbols": tuple(answer["symbols"])}  # type: ignore[arg-type]
    return Prepared(**fields)  # type: ignore[arg-type]
