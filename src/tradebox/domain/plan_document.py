"""The position plan as a person writes it: a TOML or JSON document, read strictly.

Rules of this file:
- unknown keys, wrong types, NaN, infinity and duplicate keys are refused, never repaired;
- a refusal is PlanInvalid with field, value and fix; the first fault found is told;
- a document says what is wanted and nothing of what happened; it never changes once stored.

Public names: PlanDocument and its parts, parse_document, refusal.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tradebox.domain.orders import Side
from tradebox.errors import PlanInvalid

DOCUMENT_BYTES_MAX = 64 * 1024
STEPS_MAX = 20
BREAK_EVEN = "break_even"
SESSION = "session"
DAY_S = 86_400


def refusal(field: str, value: object, problem: str, fix: str) -> PlanInvalid:
    """Return the one shape every refusal of a plan has."""
    shown = f"{value!s}"[:80]
    return PlanInvalid(f"{field} = {shown}: {problem}; {fix}", field=field, value=shown, fix=fix)


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")  # noqa: TRY004 - pydantic's way
    if isinstance(value, float):
        return Decimal(str(value))
    return value


def _deadline(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("minutes, a time or 'session' is needed")  # noqa: TRY004 - pydantic's way
    return value.isoformat() if isinstance(value, datetime) else value


def _time(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


Number = Annotated[Decimal, BeforeValidator(_number), Field(allow_inf_nan=False)]
Price = Annotated[Number, Field(gt=0, le=10_000_000, decimal_places=6)]
Percent = Annotated[Number, Field(gt=0, le=50)]
Multiple = Annotated[Number, Field(gt=0, le=50)]
Period = Annotated[int, Field(ge=2, le=200, strict=True)]
IntervalS = Annotated[int, Field(ge=1, le=DAY_S, strict=True)]


class Part(BaseModel):
    """A frozen group of keys that refuses unknown ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SizeTerms(Part):
    """How much: shares, or the share of the net liquidation value that the stop may lose."""

    quantity: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] | None = None
    risk_share_of_nlv: Annotated[Number, Field(gt=0, le=Decimal("0.1"))] | None = None


class EntryTerms(Part):
    """How to get in, and until when: "session", an ISO time in UTC, or minutes from arming."""

    type: Literal["market", "limit", "stop"]
    price: Price | None = None
    valid_until: Annotated[
        Annotated[str, Field(max_length=40)]
        | Annotated[int, Field(ge=1, le=1_000_000, strict=True)],
        BeforeValidator(_deadline),
    ] = SESSION


class Distance(Part):
    """A distance from a price: percent of it, or a multiple of the average true range."""

    percent: Percent | None = None
    atr_multiple: Multiple | None = None
    atr_period: Period = 14
    interval_s: IntervalS = DAY_S


class StopTerms(Distance):
    """The initial stop: a price, or a distance from the entry."""

    price: Price | None = None


class TrailTerms(Distance):
    """A trailing stop: a distance from the best price since the trail began.

    chandelier_multiple: that many average true ranges from the best price since the entry.
    """

    chandelier_multiple: Multiple | None = None

    @property
    def ranges(self) -> Decimal | None:
        """How many average true ranges it is away; None for a percentage."""
        return self.atr_multiple or self.chandelier_multiple


class StepLevel(Part):
    """Where a step is taken: a multiple of R from the entry, or a price."""

    r: Annotated[Number, Field(gt=0, le=100)] | None = None
    price: Price | None = None


class MoveStopTerms(Part):
    """Move the stop to the entry ("break_even") or to a price."""

    to: Literal["break_even"] | Price


class TakeTerms(Part):
    """Take a fraction of the quantity that was entered."""

    fraction: Annotated[Number, Field(gt=0, le=1)]


class StepTerms(Part):
    """One step: at a level, do exactly one thing."""

    at: StepLevel
    move_stop: MoveStopTerms | None = None
    take: TakeTerms | None = None
    trail: TrailTerms | None = None


class TimeExitTerms(Part):
    """When to leave whatever the price: after minutes, at a time, or before the close."""

    after_minutes: Annotated[Number, Field(gt=0, le=1_000_000)] | None = None
    at: Annotated[str, Field(max_length=40), BeforeValidator(_time)] | None = None
    session_close: Literal[True] | None = None


class PlanDocument(Part):
    """A whole position plan. Prices in quote currency, times in UTC."""

    symbol: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9.\-]{0,11}$")]
    side: Literal["long", "short"]
    size: SizeTerms
    entry: EntryTerms
    stop: StopTerms
    steps: Annotated[tuple[StepTerms, ...], Field(max_length=STEPS_MAX)] = ()
    time_exit: TimeExitTerms | None = None

    @property
    def order_side(self) -> Side:
        """The side of the entry order."""
        return Side.BUY if self.side == "long" else Side.SELL

    @property
    def distances(self) -> tuple[Distance, ...]:
        """Every distance the plan uses: the stop's, then the trails'."""
        return (self.stop, *(step.trail for step in self.steps if step.trail is not None))

    @property
    def atr_keys(self) -> frozenset[tuple[int, int]]:
        """(period, interval in seconds) of each average true range the plan needs."""
        chandeliers = (d for d in self.distances if isinstance(d, TrailTerms))
        used = [d for d in self.distances if d.atr_multiple is not None]
        used += [d for d in chandeliers if d.chandelier_multiple is not None]
        return frozenset((d.atr_period, d.interval_s) for d in used)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values that parse_document reads back to an equal document."""
        return self.model_dump(mode="json", exclude_none=True)


_FIXES = {
    "extra_forbidden": "remove it, or look the keys up in docs/plans.md",
    "missing": "add it",
    "finite_number": "give a finite number",
    "string_pattern_mismatch": "write the symbol in capitals, e.g. AAPL",
}


def parse_document(text: bytes | str) -> PlanDocument:
    """Return the plan that a TOML or JSON text describes; JSON starts with a brace.

    Raises:  PlanInvalid naming field, value and fix. Nothing about the market is checked here:
             see plan_check.py.
    """
    return document_from(_values(_decoded(text)))


def document_from(values: Mapping[str, Any]) -> PlanDocument:
    """Return the plan of already parsed values; raises PlanInvalid as parse_document."""
    try:
        return PlanDocument.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(_plain_parts(first["loc"])) or "plan"
        value = first["input"] if first["type"] != "missing" else "(absent)"
        fix = _FIXES.get(first["type"], "correct it (docs/plans.md)")
        problem = str(first["msg"]).removeprefix("Value error, ")
        raise refusal(field, value, problem[:1].lower() + problem[1:], fix) from None
    except RecursionError:
        raise refusal("plan", "(document)", "nested too deeply", "flatten it") from None


def _plain_parts(location: tuple[int | str, ...]) -> list[str]:
    """Drop what pydantic adds for the branches of a union: no key of ours has a bracket or dash."""
    known = {"str", "int", "decimal", "literal['break_even']"}
    return [str(part) for part in location if str(part) not in known and "[" not in str(part)]


def _decoded(text: bytes | str) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > DOCUMENT_BYTES_MAX:
        limit = f"shorten it to at most {DOCUMENT_BYTES_MAX} bytes"
        raise refusal("plan", f"{size} bytes", "the document is too long", limit)
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise refusal("plan", "(document)", "it is not UTF-8 text", "save it as UTF-8") from None


def _values(text: str) -> dict[str, Any]:
    is_json = text.lstrip().startswith(("{", "["))
    read: Callable[[str], Any] = _read_json if is_json else _read_toml
    kind = "JSON" if is_json else "TOML"
    try:
        values = read(text)
    except PlanInvalid:
        raise
    except (ValueError, ArithmeticError) as error:
        reason = f"it is not {kind}: {error}"[:200]
        raise refusal("plan", "(document)", reason, f"correct the {kind}") from None
    except RecursionError:
        raise refusal("plan", "(document)", "nested too deeply", "flatten it") from None
    if not isinstance(values, dict):
        raise refusal("plan", "(document)", "it is no object", "write keys and values")
    return values


def _read_toml(text: str) -> Any:
    return tomllib.loads(text, parse_float=Decimal)


def _read_json(text: str) -> Any:
    return json.loads(
        text, parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=_unique_keys
    )


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise refusal(twice, values[twice], "the key stands twice", "keep one")
    return values
