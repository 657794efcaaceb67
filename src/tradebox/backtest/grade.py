"""A letter from fixed thresholds, and every reason for it.

Rules of this file:
- thresholds come from the stored config alone: the same metrics give the same letter for ever;
- a letter is reached only where every line of it holds; what reaches none is F;
- a metric that is missing or not finite fails its line: unknown is never good.

Public names: LINES, Line, Graded, grade, lines_of.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tradebox.backtest.records import Grade, Reason

LAYER: Final = "grade"
LETTERS: Final[tuple[Grade, ...]] = ("A", "B", "C", "D")

LINES: Final[Mapping[str, tuple[str, bool]]] = {
    "trades_min": ("trades", True),
    "expectancy_r_min": ("expectancy_r", True),
    "profit_factor_min": ("profit_factor", True),
    "drawdown_r_max": ("drawdown_r", False),
    "sharpe_min": ("sharpe", True),
    "psr_min": ("psr", True),
    "dsr_min": ("dsr", True),
    "costs_doubled_expectancy_r_min": ("costs_doubled_expectancy_r", True),
    "neighbour_share_min": ("neighbour_share", True),
    "positive_splits_min": ("positive_splits", True),
}
"""Threshold → (metric, whether it is a least value rather than a highest)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One threshold of one letter against what was observed; None = not measured."""

    letter: Grade
    threshold: str
    metric: str
    limit: float
    observed: float | None
    holds: bool

    @property
    def text(self) -> str:
        """Words for people: "sharpe 0.31 < 0.50"."""
        if self.observed is None:
            return f"{self.metric} was not measured (limit {self.limit:g})"
        is_least = LINES[self.threshold][1]
        sign = (">=" if self.holds else "<") if is_least else ("<=" if self.holds else ">")
        return f"{self.metric} {self.observed:.4g} {sign} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Graded:
    """A letter with its reasons."""

    letter: Grade
    reasons: tuple[Reason, ...]


def grade(
    metrics: Mapping[str, float], grades: Mapping[str, Any], *, is_verified: bool | None = None
) -> Graded:
    """Return the letter of out-of-sample metrics.

    grades: section [backtest.grades] as plain values, letters by their lower-case names.
    is_verified: False = the verifying engine disagreed, or the strategy knows the future: an F,
    whatever was made.
    Holds:   better metrics never give a worse letter.
    """
    if is_verified is False:
        text = "F: a check disagrees with the simulation, so the figures count for nothing"
        return Graded("F", (Reason(LAYER, text),))
    missed: list[Line] = []
    for letter in LETTERS:
        failing = [line for line in lines_of(letter, metrics, grades) if not line.holds]
        if not failing:
            return Graded(letter, _reasons(letter, missed))
        missed = failing
    return Graded("F", _reasons("F", missed))


def lines_of(
    letter: Grade, metrics: Mapping[str, float], grades: Mapping[str, Any]
) -> tuple[Line, ...]:
    """Return every threshold of a letter with what was observed."""
    limits: Mapping[str, float] = grades[letter.lower()]
    found = []
    for threshold, (metric, is_least) in LINES.items():
        limit = float(limits[threshold])
        value = metrics.get(metric)
        known = value is not None and math.isfinite(value)
        observed = float(value) if value is not None and known else None
        holds = observed is not None and (observed >= limit if is_least else observed <= limit)
        found.append(Line(letter, threshold, metric, limit, observed, holds))
    return tuple(found)


def is_passing(letter: Grade, grades: Mapping[str, Any]) -> bool:
    """Tell whether a letter is at least the passing one of the config."""
    return letter in LETTERS[: LETTERS.index(grades["passing"]) + 1]


def _reasons(letter: Grade, missed: list[Line]) -> tuple[Reason, ...]:
    if not missed:
        return (Reason(LAYER, f"{letter}: every threshold holds"),)
    better = missed[0].letter
    return tuple(Reason(LAYER, f"{letter}, not {better}: {line.text}") for line in missed)
