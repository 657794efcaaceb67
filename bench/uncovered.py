"""Uncovered time by cause: while the engine lived, and across its deaths.

Rules of this file:
- an engine is away from its kill until its link is CLEAN again, account by account; deaths before
  that make one absence of several;
- a span that no absence touches is calm; of the others the time after CLEAN is told apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.ledger_fold import Span
from bench.machine import spread

MS_NS = 1e6


@dataclass(frozen=True)
class Absence:
    """From a kill to CLEAN. kills: how many fell into it. Units: monotonic ns."""

    account: str
    begin_ns: int
    clean_ns: int
    kills: int = 1

    @property
    def lasted_ms(self) -> float:
        """How long nothing could be sent."""
        return (self.clean_ns - self.begin_ns) / MS_NS


def absences(cleans: Mapping[str, Sequence[int]], kills_ns: Sequence[int]) -> list[Absence]:
    """Return every absence that has ended, in order of account and time."""
    found: list[Absence] = []
    for account, clean_ns in sorted(cleans.items()):
        begin_ns, kills = 0, 0
        for number, killed_ns in enumerate(kills_ns):
            begin_ns, kills = begin_ns or killed_ns, kills + 1
            next_ns = kills_ns[number + 1] if number + 1 < len(kills_ns) else float("inf")
            back = [at_ns for at_ns in clean_ns if killed_ns < at_ns < next_ns]
            if back:
                found.append(Absence(account, begin_ns, back[0], kills))
                begin_ns, kills = 0, 0
    return found


def after_clean_ns(span: Span, away: Sequence[Absence]) -> int | None:
    """Return how long a span went on while the engine was back; None where it is calm."""
    mine = [one for one in away if one.account == span.key[0]]
    touching = [one for one in mine if one.begin_ns < span.end_ns and one.clean_ns > span.begin_ns]
    if not touching:
        return None
    ends = [one.begin_ns for one in mine] + [span.end_ns]
    longest = 0
    for one in touching:
        until_ns = min(end for end in ends if end >= min(one.clean_ns, span.end_ns))
        longest = max(longest, min(until_ns, span.end_ns) - one.clean_ns)
    return max(longest, 0)


def uncovered(spans: Iterable[Span], away: Sequence[Absence]) -> dict[str, Any]:
    """Return totals by cause. Units stand in the names."""
    calm: dict[str, list[float]] = {}
    across: dict[str, list[tuple[float, float]]] = {}
    for span in spans:
        after_ns = after_clean_ns(span, away)
        if after_ns is None:
            calm.setdefault(span.cause, []).append(span.lasted_s * 1000)
        else:
            across.setdefault(span.cause, []).append((span.lasted_s * 1000, after_ns / MS_NS))
    return {
        "engine_up": {cause: _totals(each) for cause, each in sorted(calm.items())},
        "across_a_kill": {
            cause: {
                **_totals([lasted for lasted, _ in each]),
                "after_clean_ms": spread([after for _, after in each], 1),
            }
            for cause, each in sorted(across.items())
        },
    }


def _totals(lasted_ms: Sequence[float]) -> dict[str, Any]:
    return {
        "total_s": round(sum(lasted_ms) / 1000, 3),
        "longest_s": round(max(lasted_ms) / 1000, 3),
        "lasted_ms": spread(lasted_ms, 1),
    }
