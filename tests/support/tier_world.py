"""A tier machine under watch: every promise is judged from what went in and came out.

Rules of this file:
- what is judged is kept here anew: times heard, switches, shown prices;
- times are seconds after T0 and advance only by `wait`; each source's event times never fall.
"""

from support.ticks import T0, USD, S
from tradebox.config import FilterSettings, TierSettings
from tradebox.domain.breaker import ProviderKind, ProviderTold
from tradebox.domain.filter_values import Check, Judged, Verdict
from tradebox.domain.market import Quality, Source, Tick
from tradebox.domain.staleness import Hours
from tradebox.domain.tier_values import SourceSwitched, SwitchReason, TierLimits
from tradebox.domain.tiers import TierMachine

SYMBOL = "AAPL"
IB, FINNHUB = Source.IB, Source.FINNHUB
AV, YAHOO = Source.ALPHAVANTAGE, Source.YAHOO
HOUR_S = 3600.0
LIVE_S = {IB: 5.0, FINNHUB: 15.0, AV: 130.0, YAHOO: 90.0}
"""The oldest live price of each."""
LIMITS = TierLimits.of(TierSettings(), FilterSettings())
LIVE = Judged(Verdict.ACCEPT, Check.NONE, Quality.LIVE)
RANK = {source: place for place, source in enumerate(LIMITS.order)}


class TierWorld:
    """One machine, one symbol that is followed, and what was seen of it.

    judged: the promises that are looked at, by default all.
    """

    judged = frozenset(f"T{number}" for number in range(1, 9))

    def __init__(self, limits=LIMITS, *, is_near=False, hours=Hours.REGULAR):
        self.machine = TierMachine(limits)
        self.twin = None
        self.limits = limits
        self.now_s = 0.0
        self.hours = hours
        self.number = 0
        self.heard = {}
        self.down_since = {}
        self.up_since = {}
        self.last = {}
        self.switches = []
        self.served = None
        self.since_s = 0.0
        self.shown = None
        self.notes = []
        self.machine.clock(self.at_ns(), hours)
        near = frozenset({SYMBOL}) if is_near else frozenset()
        self.machine.subscribed(frozenset({SYMBOL}), near)

    def must(self, holds, promise):
        assert holds or promise.partition(":")[0] not in self.judged, promise

    def at_ns(self, at_s=None):
        return T0 + round((self.now_s if at_s is None else at_s) * S)

    # --- what happens ---------------------------------------------------------------------------

    def fork(self):
        """Let a copy go on beside: it must know the same for ever."""
        self.twin = self.machine.copy()

    def wait(self, seconds, *, step_s=1.0):
        """Let time pass, told as the monitor tells it."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s = min(end_s, self.now_s + step_s)
            self.each(lambda machine: machine.clock(self.at_ns(), self.hours))

    def each(self, act):
        notes = act(self.machine)
        if self.twin is not None:
            act(self.twin)
            same = self.twin.fingerprint() == self.machine.fingerprint()
            self.must(same, "T7: a copy that hears the same knows the same")
        self.notes.extend(notes)
        self.check_polled()
        return notes

    def tell(self, source, kind, symbol=""):
        """A provider says something; usable or not is judged by the machine's breaker alone."""
        news = ProviderTold(source, kind, self.at_ns(), symbol)
        self.each(lambda machine: machine.provider(news))

    def tick(self, source, price=100.0, lag_s=0.2, *, passes=True, delay_s=0, is_eod=False):
        """One tick, received now; its event lies lag_s back, never before an older one."""
        self.number += 1
        event_ns = max(self.at_ns(self.now_s - lag_s), self.last.get(source, (0, 0))[0])
        tick = Tick(SYMBOL, round(price * USD), 100, event_ns, self.at_ns(), source, self.number,
                    delay_s=delay_s, is_eod=is_eod)  # fmt: skip
        before_usable = self.machine.is_up(source)
        rulings = []

        def rule(machine):
            rulings.append(machine.tick(tick, passes=passes))
            return rulings[-1].notes

        notes = self.each(rule)
        ruling = rulings[0]
        for note in notes:
            if isinstance(note, SourceSwitched):
                self.on_switch(note, tick, before_usable=before_usable)
        self.must(ruling.serves == (source is self.served), "T1: another than the serving source")
        if passes:
            self.last[source] = (event_ns, tick.price_micros)
            if ruling.serves:
                self.on_shown(tick)
        self.heard.setdefault(source, []).append(self.now_s)
        return ruling

    # --- what is judged ---------------------------------------------------------------------------

    def on_switch(self, note, tick, *, before_usable):
        source = tick.source
        self.must(
            before_usable or self.machine.is_up(source), "T8: taken by a provider that is down"
        )
        if note.before is None:
            self.served, self.since_s = source, self.now_s
            return
        recent = [at for at in self.switches if self.now_s - at < HOUR_S]
        self.must(len(recent) < self.limits.switches_max, "T2: too many switches in an hour")
        if note.reason is SwitchReason.RECOVERED:
            self.judge_failback(tick)
        elif note.reason is not SwitchReason.BETTER:
            self.must(self.quiet_s(note.before) >= 5.0 or self.is_left(note.before),
                      "T5: left though it was well")  # fmt: skip
        if self.shown is not None and tick.event_ns < self.shown[0]:
            age_s = (self.at_ns() - self.shown[0]) / S
            is_stale = age_s > LIVE_S[note.before]
            self.must(is_stale, "T4: back in event time over a price that is not stale")
        self.switches.append(self.now_s)
        self.served, self.since_s = source, self.now_s
        self.shown = None

    def judge_failback(self, tick):
        self.must(self.now_s - self.since_s >= 120.0, "T3: back before the dwell time")
        times = self.heard.get(tick.source, [])
        self.must(times and self.now_s - times[0] >= 60.0, "T3: back before it was well for long")
        spans = [late - early for early, late in zip(times, [*times[1:], self.now_s], strict=True)
                 if self.now_s - late < 60.0]  # fmt: skip
        self.must(max(spans, default=0.0) <= 120.0, "T3: back though it had been silent")
        if self.shown is not None and tick.event_ns - self.shown[0] <= 5 * S:
            apart = abs(tick.price_micros - self.shown[1]) / self.shown[1]
            self.must(apart <= 0.0051, "T6: back though the prices differ")

    def quiet_s(self, source):
        times = self.heard.get(source)
        return self.now_s if not times else self.now_s - times[-1]

    def is_left(self, source):
        return (
            not self.machine.is_up(source) or self.machine.bad_since_ns(SYMBOL, source) is not None
        )

    def on_shown(self, tick):
        if self.shown is not None:
            self.must(tick.event_ns >= self.shown[0], "T4: back in event time")
        self.shown = (tick.event_ns, tick.price_micros)

    def check_polled(self):
        for source, symbols in self.machine.polled().items():
            state = self.machine.breaker(source).state
            if state == "open":
                self.must(not symbols, "T8: asked though its breaker is open")
            elif state == "half_open":
                self.must(symbols == {"SPY"}, "T8: asked for more than the probe")

    # --- shorthand --------------------------------------------------------------------------------

    def stream(self, source, seconds, price=100.0, every_s=1.0, **fields):
        """Ticks of a source all the while."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.wait(every_s)
            self.tick(source, price, **fields)

    def close(self, source):
        self.tell(source, ProviderKind.CLOSED)

    def open(self, source):
        self.tell(source, ProviderKind.OPENED)
