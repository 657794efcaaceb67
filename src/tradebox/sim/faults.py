"""Named faults that a part of the stand-in world can be told to have, and its seams ask for.

Rules of this file:
- every fault stands in a catalogue: its name, what it does, its arguments and their defaults;
- an argument that a seam also names in `take` narrows the fault; its default means any;
- `count` ends a fault after so many hits; 0 means until it is cleared;
- an immediate fault happens once, when it is set, and is not listed as active.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tradebox.errors import ConfigInvalid

Value = str | int | float | bool
Arguments = dict[str, Value]
Listener = Callable[[str, Mapping[str, Value]], None]

NUMBER_MAX = 1_000_000_000
"""No argument is a larger number, nor a NaN."""

_KINDS = {
    str: "text",
    bool: "true or false",
    int: f"whole number up to {NUMBER_MAX}",
    float: f"number up to {NUMBER_MAX}",
}


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One fault of a catalogue."""

    name: str
    summary: str
    defaults: Arguments
    is_immediate: bool = False


@dataclass(slots=True)
class _Active:
    arguments: Arguments
    hits: int = 0


class FaultBoard:
    """The faults of one catalogue that are set now."""

    def __init__(self, catalogue: Sequence[FaultSpec]) -> None:
        self._catalogue = tuple(catalogue)
        self._by_name = {spec.name: spec for spec in catalogue}
        self._active: dict[str, list[_Active]] = {}
        self._listeners: list[Listener] = []

    def set(self, name: str, **arguments: Value) -> None:
        """Set a fault, or let an immediate one happen.

        Raises: ConfigInvalid for an unknown name, argument, or type of value.
        """
        spec = self._spec(name)
        for key, value in arguments.items():
            default = spec.defaults.get(key)
            if default is None:
                raise ConfigInvalid(
                    f"{name} has no argument {key!r}: it has {', '.join(spec.defaults)}",
                    field=key,
                    value=value,
                )
            if not _fits(value, default):
                raise ConfigInvalid(
                    f"{name}: {key}={value!r} does not fit: give a {_KINDS[type(default)]}",
                    field=key,
                    value=value,
                )
        full: Arguments = {**spec.defaults, **arguments}
        if not spec.is_immediate:
            self._active.setdefault(name, []).append(_Active(full))
        for listener in tuple(self._listeners):
            listener(name, full)

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
                "arguments": dict(spec.defaults),
                "immediate": spec.is_immediate,
                "active": [
                    {**active.arguments, "hits": active.hits}
                    for active in self._active.get(spec.name, ())
                ],
            }
            for spec in self._catalogue
        ]

    def take(self, name: str, **context: Value) -> Mapping[str, Value] | None:
        """Return the arguments of a set fault that fits the place, and count the hit."""
        defaults = self._by_name[name].defaults
        active_faults = self._active.get(name)
        for active in active_faults or ():
            if all(
                active.arguments[key] in (defaults[key], value)
                for key, value in context.items()
                if key in defaults
            ):
                active.hits += 1
                if active_faults and active.hits == active.arguments.get("count"):
                    active_faults.remove(active)
                return active.arguments
        return None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell the listener of each fault as it is set; the result ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _spec(self, name: str) -> FaultSpec:
        spec = self._by_name.get(name)
        if spec is None:
            raise ConfigInvalid(
                f"there is no fault {name!r}: `tradebox sim fault list` names them",
                field="name",
                value=name,
            )
        return spec


def _fits(value: Value, default: Value) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, str) or isinstance(value, str):
        return isinstance(default, str) and isinstance(value, str)
    is_number = isinstance(value, int) or isinstance(default, float)
    return is_number and -NUMBER_MAX <= value <= NUMBER_MAX
