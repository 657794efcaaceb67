"""The sanity filter of ticks: a pure function of (state, tick), where time is the tick's time.

Rules of this file:
- nothing here reads a clock: two feeds with the same messages hold the same state (`fingerprint`);
- spans between ticks (confirmation, hold, median window) are market seconds as they stand;
- what measures transport, our socket's time against the vendor's (future, stale, late,
  duplicate window), is given in real seconds and multiplied by the market
  clock's speed, since one real second of latency is `speed` market seconds there;
- the twenty checks by number: 1 type, 2 sentinel, 3 duplicate, 4 future, 5 late, 6 stale,
  7 session, 8 size, 9 conditions, 10 crossed and locked, 11 wide, 12 outside the quote, 13 spike,
  14 first price, 15 LULD, 16 split, 17 halt, 18 frozen, 19 disputed, 20 bars (`bar_check`, of
  `minute_bars`).
"""

from collections.abc import Mapping
from dataclasses import replace

from tradebox.domain import luld
from tradebox.domain.filter_checks import (
    HALTED,
    has_condition,
    is_late,
    is_odd_lot,
    refusal,
    remembered,
)
from tradebox.domain.filter_hold import Known, gap_after, hold, is_lasting
from tradebox.domain.filter_jump import REOPEN_GAP_NS, find_jump
from tradebox.domain.filter_quotes import (
    after_quote,
    holds_level,
    is_crossed_for_long,
    is_outside_quote,
)
from tradebox.domain.filter_sources import after_source, is_disputed, is_frozen
from tradebox.domain.filter_values import (
    MEDIAN_TICKS,
    NOWHERE,
    Answer,
    Around,
    Check,
    FilterLimits,
    Judged,
    Jump,
    KnownSplit,
    Rest,
    Split,
    SymbolState,
    Verdict,
    bps,
)
from tradebox.domain.market import Quality, Source, Tick
from tradebox.domain.splits import (
    NIGHT_NS,
    adjusted,
    after_old_price,
    is_old_level,
    split_like,
)

__all__ = [
    "Around",
    "Check",
    "FilterLimits",
    "Judged",
    "KnownSplit",
    "SymbolState",
    "Verdict",
    "fingerprint",
    "is_blocked",
    "is_halted",
    "judge",
    "with_level_confirmed",
    "with_previous_close",
    "with_split",
]

RESUMED = "resumed"
CONTESTED_HELD = 2
"""So many that wait at another level make the next price of the old one no more than unconfirmed:
an error may look like the old level just when the market has left it."""


ACCEPTED = Judged(Verdict.ACCEPT, Check.NONE, Quality.LIVE)
FLAGGED = {
    check: Judged(Verdict.FLAG, check, quality)
    for check, quality in (
        (Check.EOD, Quality.EOD),
        (Check.DELAYED, Quality.DELAYED),
        (Check.SESSION, Quality.CLOSED),
        (Check.HALT, Quality.SUSPECT),
        (Check.STALE, Quality.STALE),
        (Check.DISPUTED, Quality.DISPUTED),
        (Check.SPLIT, Quality.SUSPECT),
        (Check.CROSSED, Quality.SUSPECT),
        (Check.WIDE, Quality.SUSPECT),
        (Check.FROZEN, Quality.SUSPECT),
        (Check.REGIME, Quality.UNCONFIRMED),
        (Check.CONTESTED, Quality.UNCONFIRMED),
        (Check.LOCKED, Quality.LIVE),
        (Check.ODD_LOT, Quality.LIVE),
    )
}
"""What passes with a remark, and what it is worth then; the first that fits is said."""


def judge(
    state: SymbolState | None,
    tick: Tick,
    limits: FilterLimits,
    *,
    is_open: bool | None = None,
    around: Around = NOWHERE,
) -> Answer:
    """Judge one tick of one symbol.

    Shape:   state None: the symbol is not subscribed. is_open: whether the regular session was
             open at the event time, None where the hours are not known (then not judged).
             around: what is known beside the symbol, from messages that both feeds got.
    Holds:   same state and tick give the same answer; a dropped tick changes nothing but what
             was seen; an isolated jump never passes; a genuine new level passes once confirmed;
             nothing later than the limit passes; is_open changes the quality, never the state;
             the state is bounded.
    """
    if state is None:
        return SymbolState(), _drop(Check.SUBSCRIBED)
    if tick.delay_s or tick.is_eod:
        return _judge_slow(state, tick, limits, is_open=is_open)
    refused = refusal(state, tick, limits)
    if refused is not None:
        return state, _drop(refused)
    seen = remembered(state, tick, limits)
    if is_late(state, tick, limits):
        return state._replace(seen=seen), _drop(Check.LATE)
    rest, odd = state.rest, Check.NONE
    if tick.bid_micros or tick.ask_micros:
        rest, odd = after_quote(rest, tick, limits)
        if odd is Check.CROSSED and is_crossed_for_long(rest, tick, limits):
            return state._replace(seen=seen, rest=rest), _hold(Check.CROSSED)
    if state.source is not None and (rest.said or tick.source is not state.source):
        rest = after_source(state, rest, tick, limits)
    if tick.conditions or rest.halt_ns:
        rest = _after_halt(rest, tick)
    state, rest, jump = _after_split(state, rest, tick, limits)
    if jump is None:
        jump = _find_doubt(state, rest, tick, limits, around)
    elif jump.check is Check.SPLIT:
        return state._replace(seen=seen, rest=rest), _hold(Check.SPLIT)
    if jump is not None and holds_level(tick, state.last_price_micros):
        return state._replace(seen=seen, rest=rest), _hold(Check.WIDE)
    known = Known(seen, rest)
    if jump is None:
        if len(state.held) >= CONTESTED_HELD and odd is Check.NONE:
            odd = Check.CONTESTED
        state = _book(state, tick, limits, known, around)
    else:
        quote = state.rest.quote
        state, is_confirmed = hold(state, tick, jump, limits, known)
        if not is_confirmed:
            # The sides of a quote that is itself in doubt are no measure of trades (12).
            if tick.is_quote and state.rest.quote is not quote:
                state = state._replace(rest=state.rest._replace(quote=quote))
            return state, _hold(jump.check)
    return state, _grade(state, tick, limits, odd, is_open=is_open, around=around)


def _drop(check: Check) -> Judged:
    return Judged(Verdict.DROP, check, Quality.SUSPECT)


def _hold(check: Check) -> Judged:
    return Judged(Verdict.HOLD, check, Quality.SUSPECT)


def _judge_slow(
    state: SymbolState, tick: Tick, limits: FilterLimits, *, is_open: bool | None
) -> Answer:
    """Judge a price that is late by contract by its own kind alone: it moves no live level.

    A new level that only such prices have shown is told as unconfirmed, as any other is.
    """
    slow = state.rest.slow
    if slow is None:
        slow = SymbolState(
            previous_close_micros=state.last_price_micros or state.previous_close_micros
        )
    plain = replace(tick, delay_s=0, is_eod=False)
    slow, judged = judge(slow, plain, limits, is_open=is_open)
    state = state._replace(rest=state.rest._replace(slow=slow))
    if not judged.passes:
        return state, judged
    if tick.is_eod:
        return state, FLAGGED[Check.EOD]
    if is_open is not False and slow.regime_ns:
        return state, FLAGGED[Check.REGIME]
    return state, FLAGGED[Check.SESSION if is_open is False else Check.DELAYED]


def _after_halt(rest: Rest, tick: Tick) -> Rest:
    """Note the begin or the end of a halt (17); what comes after it is a reopening.

    IB says of each tick whether its symbol is halted; of others a word ends it, or nothing does.
    """
    if HALTED in tick.conditions:
        return rest if rest.halt_ns else rest._replace(halt_ns=tick.event_ns)
    if rest.halt_ns and (tick.source is Source.IB or RESUMED in tick.conditions):
        return rest._replace(halt_ns=0, is_reopening=True)
    return rest


def _after_split(
    state: SymbolState, rest: Rest, tick: Tick, limits: FilterLimits
) -> tuple[SymbolState, Rest, Jump | None]:
    """Look for a split at the first price of a day (16), or stand by one that was found."""
    blocked = Jump(Check.SPLIT)
    if rest.split is not None:
        if not is_old_level(rest.split, tick.price_micros, limits):
            return state, rest, blocked
        return state, rest._replace(split=after_old_price(rest.split, tick.event_ns, limits)), None
    last = state.last_price_micros
    if last and tick.event_ns - state.last_event_ns < NIGHT_NS:
        return state, rest, None
    reference = last or state.previous_close_micros
    if not reference or bps(tick.price_micros, reference) <= limits.spike_bps_max:
        return state, rest, None
    found = split_like(tick.price_micros, reference, limits)
    if found is None:
        return state, rest, None
    known = rest.known_split
    if known is not None and known[:2] == found and known.from_ns <= tick.event_ns < known.until_ns:
        rest = rest._replace(known_split=None)
        return _at_split(state, reference, *found), rest, None
    return state, rest._replace(split=Split(*found, reference, tick.event_ns)), blocked


def _at_split(state: SymbolState, reference: int, numerator: int, denominator: int) -> SymbolState:
    """Forget the old level; the next price is judged as a first one against the new close."""
    return state._replace(
        last_price_micros=0,
        previous_close_micros=adjusted(reference, numerator, denominator),
        recent_micros=(),
        held=(),
        regime_ns=0,
        regime_source=None,
        bucket=(0, 0, 0),
    )


def _find_doubt(
    state: SymbolState, rest: Rest, tick: Tick, limits: FilterLimits, around: Around
) -> Jump | None:
    """Return why the price must be confirmed: first or spike, outside the quote, beyond LULD."""
    event_ns, price = tick.event_ns, tick.price_micros
    if (
        rest.band is not None
        and around.is_regular(event_ns)
        and luld.is_outside(state, event_ns, price)
        and not (rest.is_reopening or has_condition(limits.auction, tick))
    ):
        return Jump(Check.LULD, is_doubtful=True)
    jump = find_jump(state, rest, tick, limits)
    if jump is None and rest.quote is not None and is_outside_quote(rest, tick, limits):
        return Jump(Check.OUTSIDE, is_soft=True)
    return jump


def _book(
    state: SymbolState, tick: Tick, limits: FilterLimits, known: Known, around: Around
) -> SymbolState:
    """Book a tick of the known level: it clears what was held and may confirm the level."""
    price, event_ns, rest = tick.price_micros, tick.event_ns, known.rest
    regime_ns, regime_source = state.regime_ns, state.regime_source
    if regime_ns:
        is_seconded = (
            tick.source is not regime_source
            and bps(price, state.last_price_micros) <= limits.confirm_bps
        )
        if is_seconded or is_lasting(state, event_ns, limits):
            regime_ns, regime_source = 0, None
            rest = rest._replace(before=None)
    if rest.is_reopening:
        rest = rest._replace(is_reopening=False)
    bucket = state.bucket
    if around.is_regular(event_ns):
        bucket, means, band = luld.counted(state, event_ns, price, around, limits)
        if means is not rest.means or band is not rest.band:
            rest = rest._replace(means=means, band=band)
    recent = state.recent_micros
    if len(recent) >= MEDIAN_TICKS:
        recent = recent[1:]
    is_same = price == state.last_price_micros and event_ns - state.last_event_ns < REOPEN_GAP_NS
    return SymbolState(
        max(event_ns, state.last_event_ns),
        price,
        state.previous_close_micros,
        (*recent, price),
        known.seen,
        (),
        regime_ns,
        regime_source,
        tick.source,
        gap_after(state, event_ns),
        state.level_ns if is_same else event_ns,
        bucket,
        rest,
    )


def _grade(
    state: SymbolState,
    tick: Tick,
    limits: FilterLimits,
    odd: Check,
    *,
    is_open: bool | None,
    around: Around,
) -> Judged:
    """Say what a price that passes is worth; the gravest remark first."""
    rest = state.rest
    found = Check.NONE
    if is_open is False:
        found = Check.SESSION
    elif rest.halt_ns:
        found = Check.HALT
    elif tick.recv_ns - tick.event_ns > limits.stale_ns_max:
        found = Check.STALE
    elif rest.dispute_ns and is_disputed(rest, limits):
        found = Check.DISPUTED
    elif rest.split is not None:
        found = Check.SPLIT
    elif odd is Check.CROSSED or odd is Check.WIDE:
        found = odd
    elif around.movers and is_frozen(state, tick, around, limits):
        found = Check.FROZEN
    elif state.regime_ns:
        found = Check.REGIME
    elif odd is Check.LOCKED or odd is Check.CONTESTED:
        found = odd
    elif is_odd_lot(tick):
        found = Check.ODD_LOT
    return FLAGGED[found] if found else ACCEPTED


# --- what both feeds are told -------------------------------------------------------------------


def with_previous_close(state: SymbolState, close_micros: int) -> SymbolState:
    """Return the state told of the last close; harmless once prices are known."""
    return state._replace(previous_close_micros=close_micros) if close_micros > 0 else state


def with_split(state: SymbolState, split: KnownSplit) -> SymbolState:
    """Return the state told of a split by a calendar; one that waits for it is confirmed."""
    waiting = state.rest.split
    if waiting is not None and (waiting.numerator, waiting.denominator) == split[:2]:
        return with_level_confirmed(state)
    return state._replace(rest=state.rest._replace(known_split=split))


def with_level_confirmed(state: SymbolState) -> SymbolState:
    """Return the state told by a person or a calendar that the new level is right.

    Holds:   without a block nothing changes; the next price is judged against the new close.
    """
    waiting = state.rest.split
    if waiting is None:
        return state
    state = _at_split(state, waiting.reference_micros, waiting.numerator, waiting.denominator)
    return state._replace(rest=state.rest._replace(split=None))


def is_blocked(state: SymbolState) -> bool:
    """Say whether the symbol waits for a person or a calendar (16)."""
    return state.rest.split is not None


def is_halted(state: SymbolState) -> bool:
    """Say whether trading of the symbol is halted (17): then silence is no fault."""
    return state.rest.halt_ns > 0


def fingerprint(states: Mapping[str, SymbolState]) -> int:
    """Return a number that is equal, within one process, for equal filter states."""
    return hash(frozenset(states.items()))
