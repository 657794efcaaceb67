"""Named faults that a part of the stand-in world can be told to have, and its seams ask for.

Rules of this file:
- every fault stands in a catalogue: its name, what it does, its arguments and their defaults;
- an argument that a seam also names in `take` narrows the fault; its default means any;
- `count` ends a fault after so many hits; 0 means until it is cleared;
- an immediate fault happens once, when its time has come, and is not listed as active;
- what cannot be is refused when it is set, not when it is due; what turns out impossible only
  then stays listed with the reason and happens not: the simulator goes on;
- every fault may wait: for a cue (`on`), then some market seconds (`after_s`), then some places
  that fit (`skip`); and may end by itself after some market seconds (`for_s`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tradebox.errors import ConfigInvalid, InputError

Value = str | int | float | bool
Arguments = dict[str, Value]
Ranges = Mapping[str, tuple[float, float]]
Listener = Callable[[str, Mapping[str, Value]], None]
Check = Callable[[str, Mapping[str, Value]], None]

NUMBER_MAX = 1_000_000_000
"""No argument is a larger number, nor a NaN."""

CUES = ("order", "modify", "cancel", "fill", "connect", "disconnect", "open", "close")
"""What a fault can wait for; the first that happens after it was set."""

WHEN: Arguments = {"on": "", "after_s": 0.0, "for_s": 0.0, "skip": 0}
"""The arguments of every fault that say when, and their defaults: now, without end."""

_WHEN_RANGES: Ranges = dict.fromkeys(("after_s", "for_s", "skip", "count"), (0, NUMBER_MAX))
NEVER_NS = 2**62
_SECOND_NS = 1_000_000_000
_KINDS = {
    str: "text",
    bool: "true or false",
    int: f"whole number up to {NUMBER_MAX}",
    float: f"number up to {NUMBER_MAX}",
}


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One fault of a catalogue. ranges: the least and the greatest value of a number."""

    name: str
    summary: str
    defaults: Arguments
    is_immediate: bool = False
    ranges: Ranges = field(default_factory=dict)


@dataclass(slots=True)
class _Active:
    spec: FaultSpec
    arguments: Arguments
    when: Arguments
    due_ns: int | None = None
    """When it begins; None while it waits for its cue."""
    is_begun: bool = False
    skipped: int = 0
    hits: int = 0
    refused: str = ""
    """Why it could not happen when it was due."""

    def is_over(self, now_ns: int) -> bool:
        """Say whether its time has passed."""
        for_ns = round(float(self.when["for_s"]) * _SECOND_NS)
        return self.is_begun and for_ns > 0 and now_ns >= (self.due_ns or 0) + for_ns

    def next_ns(self) -> int:
        """Return when it begins or ends by its time; far away if time alone does neither."""
        if self.due_ns is None:
            return NEVER_NS
        if not self.is_begun:
            return self.due_ns
        for_ns = round(float(self.when["for_s"]) * _SECOND_NS)
        return self.due_ns + for_ns if for_ns > 0 else NEVER_NS

    def row(self) -> dict[str, object]:
        """Return what a listing says of it."""
        timing = {name: value for name, value in self.when.items() if value != WHEN[name]}
        waiting: dict[str, object] = {} if self.is_begun else {"waits": True}
        if self.refused:
            waiting["refused"] = self.refused
        return {**self.arguments, **timing, **waiting, "hits": self.hits}


class FaultBoard:
    """The faults of one catalogue that are set now."""

    def __init__(
        self, catalogue: Sequence[FaultSpec], now_ns: Callable[[], int] = lambda: 0
    ) -> None:
        self.catalogue = tuple(catalogue)
        self.now_ns = now_ns
        self._by_name = {spec.name: spec for spec in catalogue}
        self._active: dict[str, list[_Active]] = {}
        self._listeners: list[Listener] = []
        self._checks: list[Check] = []

    def set(self, name: str, **arguments: Value) -> None:
        """Set a fault, or let an immediate one happen.

        Raises: ConfigInvalid for an unknown name, argument, cue, or value.
        """
        active = self._checked(name, arguments)
        self._active.setdefault(name, []).append(active)
        if not active.when["on"]:
            self._cue(active)

    def check(self, name: str, **arguments: Value) -> None:
        """Refuse what `set` would refuse, and set nothing. Raises ConfigInvalid."""
        self._checked(name, arguments)

    def check_by(self, check: Check) -> None:
        """Let a part of the simulator refuse arguments that it could not act upon."""
        self._checks.append(check)

    def clear(self, name: str = "") -> None:
        """End a fault, or every fault. Raises ConfigInvalid for an unknown name."""
        if name:
            self._active.pop(self._spec(name).name, None)
        else:
            self._active.clear()

    def listing(self) -> list[dict[str, object]]:
        """Return every fault of the catalogue with what is set of it now."""
        return [
            {
                "name": spec.name,
                "summary": spec.summary,
                "arguments": {**spec.defaults, **WHEN},
                "immediate": spec.is_immediate,
                "active": [active.row() for active in self._active.get(spec.name, ())],
            }
            for spec in self.catalogue
        ]

    def take(self, name: str, **context: Value) -> Mapping[str, Value] | None:
        """Return the arguments of a set fault that fits the place, and count the hit."""
        if not self._active:
            return None
        found = self._fitting(name, context)
        if found is None:
            return None
        if found.skipped < int(found.when["skip"]):
            found.skipped += 1
            return None
        found.hits += 1
        if found.hits == found.arguments.get("count"):
            self._drop(found)
        return found.arguments

    def is_set(self, name: str, **context: Value) -> bool:
        """Say whether a fault that fits the place is in force, and count nothing."""
        return self._fitting(name, context) is not None

    def happen(self, cue: str) -> None:
        """Let the faults that wait for a cue know that it happened."""
        assert cue in CUES, cue
        for active in self._all():
            if active.due_ns is None and active.when["on"] == cue:
                self._begin_late(active, partial(self._cue, active))

    def next_ns(self) -> int:
        """Return when the next fault begins or ends by its time; far away if none does."""
        return min((active.next_ns() for active in self._all()), default=NEVER_NS)

    def tick(self) -> None:
        """Begin what is due, and end what has lasted its time."""
        now_ns = self.now_ns()
        for active in self._all():
            self._begin_late(active, partial(self._begin_if_due, active, now_ns))
            if active.is_over(now_ns):
                self._drop(active)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell the listener of each fault as it begins; the result ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _checked(self, name: str, arguments: Mapping[str, Value]) -> _Active:
        spec = self._spec(name)
        known: Arguments = {**spec.defaults, **WHEN}
        for key, value in arguments.items():
            default = known.get(key)
            if default is None:
                raise ConfigInvalid(
                    f"{name} has no argument {key!r}: it has {', '.join(known)}",
                    field=key,
                    value=value,
                )
            if not _fits(value, default):
                raise ConfigInvalid(
                    f"{name}: {key}={value!r} does not fit: give a {_KINDS[type(default)]}",
                    field=key,
                    value=value,
                )
            least, greatest = {**_WHEN_RANGES, **spec.ranges}.get(key, (value, value))
            if not least <= value <= greatest:  # type: ignore[operator]  # a range is of a number
                raise ConfigInvalid(
                    f"{name}: {key}={value} is out of range: give {least} to {greatest}",
                    field=key,
                    value=value,
                )
        full: Arguments = {**spec.defaults}
        when: Arguments = {**WHEN}
        for key, value in arguments.items():
            (full if key in spec.defaults else when)[key] = value
        cue = when["on"]
        if cue and cue not in CUES:
            raise ConfigInvalid(
                f"{name}: on={cue!r} is no cue: give one of {', '.join(CUES)}",
                field="on",
                value=cue,
            )
        for check in self._checks:
            check(name, full)
        return _Active(spec, full, when)

    def _fitting(self, name: str, context: Mapping[str, Value]) -> _Active | None:
        defaults = self._by_name[name].defaults
        active_faults = self._active.get(name)
        if not active_faults:
            return None
        now_ns = self.now_ns()
        for active in tuple(active_faults):
            self._begin_if_due(active, now_ns)
            if not active.is_begun or active.refused or active.is_over(now_ns):
                continue
            if all(
                active.arguments[key] in (defaults[key], value)
                for key, value in context.items()
                if key in defaults
            ):
                return active
        return None

    def _all(self) -> list[_Active]:
        return [active for actives in self._active.values() for active in actives]

    def _cue(self, active: _Active) -> None:
        now_ns = self.now_ns()
        active.due_ns = now_ns + round(float(active.when["after_s"]) * _SECOND_NS)
        self._begin_if_due(active, now_ns)

    def _begin_if_due(self, active: _Active, now_ns: int) -> None:
        if active.is_begun or active.due_ns is None or now_ns < active.due_ns:
            return
        active.is_begun = True
        if active.spec.is_immediate:
            self._drop(active)
        for listener in tuple(self._listeners):
            listener(active.spec.name, active.arguments)

    def _begin_late(self, active: _Active, begin: Callable[[], None]) -> None:
        """Begin what was set before; what cannot happen any more is kept with its reason."""
        try:
            begin()
        except InputError as error:
            active.refused = error.message
            self._drop(active)
            self._active.setdefault(active.spec.name, []).append(active)

    def _drop(self, active: _Active) -> None:
        actives = self._active.get(active.spec.name, [])
        if active in actives:
            actives.remove(active)
        if not actives:
            self._active.pop(active.spec.name, None)

    def _spec(self, name: str) -> FaultSpec:
        spec = self._by_name.get(name)
        if spec is None:
            raise ConfigInvalid(
                f"there is no fault {name!r}: `tradebox sim fault list` names them",
                field="name",
                value=name,
            )
        return spec


class Cues:
    """Every board of a simulator: what happens to one part can set off a fault of another."""

    def __init__(self, boards: Mapping[str, FaultBoard], now_ns: Callable[[], int]) -> None:
        self._boards = tuple(boards.values())
        for board in self._boards:
            board.now_ns = now_ns

    def happen(self, cue: str) -> None:
        """Tell every board of a cue."""
        for board in self._boards:
            board.happen(cue)

    def next_ns(self) -> int:
        """Return when the next fault of any board begins or ends by its time."""
        return min((board.next_ns() for board in self._boards), default=NEVER_NS)

    def tick(self) -> None:
        """Let time pass on every board."""
        for board in self._boards:
            board.tick()


def _fits(value: Value, default: Value) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, str) or isinstance(value, str):
        return isinstance(default, str) and isinstance(value, str)
    is_number = isinstance(value, int) or isinstance(default, float)
    return is_number and -NUMBER_MAX <= value <= NUMBER_MAX
