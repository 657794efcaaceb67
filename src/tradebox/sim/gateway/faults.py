"""The faults that the gateway can be told to have, and the seams ask for.

Rules of this file:
- every fault is in the catalogue: its name, what it does, its arguments and their defaults;
- `account`, `client_id`, `order_id`, `message_id` and `symbol` narrow a fault; each one's default
  means any;
- `count` ends a fault after so many hits; 0 means until it is cleared;
- an immediate fault happens once, when it is set, and is not listed as active.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tradebox.errors import ConfigInvalid

Value = str | int | float | bool
Arguments = dict[str, Value]
Listener = Callable[[str, Mapping[str, Value]], None]

_ANYONE: Arguments = {"account": "", "client_id": -1, "count": 0}
_ANY_ORDER: Arguments = {**_ANYONE, "order_id": 0}


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One fault the gateway can have."""

    name: str
    summary: str
    defaults: Arguments
    is_immediate: bool = False


CATALOGUE: tuple[FaultSpec, ...] = (
    FaultSpec(
        "mute_request",
        "read the request and never answer it",
        {**_ANYONE, "message_id": 0},
    ),
    FaultSpec("mute_handshake", "accept the connection and say nothing", dict(_ANYONE)),
    FaultSpec("refuse_connection", "close a connection as soon as it is made", dict(_ANYONE)),
    FaultSpec("client_id_taken", "answer startApi with 326 and close", dict(_ANYONE)),
    FaultSpec("half_open", "read and write nothing more, keep the socket open", dict(_ANYONE)),
    FaultSpec("disconnect", "reset the connections", {"account": "", "client_id": -1}, True),
    FaultSpec(
        "notice",
        "send a message code to every client (1100, 1101, 1102, 2103 …)",
        {"account": "", "client_id": -1, "code": 1100, "text": "", "repeats": 1},
        True,
    ),
    FaultSpec("id_rollback", "say a nextValidId that is too low", {**_ANYONE, "by": 4}),
    FaultSpec("drop_ack", "take the order and say nothing about its arrival", dict(_ANY_ORDER)),
    FaultSpec(
        "delay_ack",
        "say nothing to the client for a while after its order",
        {**_ANY_ORDER, "delay_s": 1.0},
    ),
    FaultSpec(
        "close_after_order",
        "reset the connection instead of the ack; lost: before it is taken",
        {**_ANY_ORDER, "lost": False},
    ),
    FaultSpec("perm_id_zero", "say permId 0 when the order arrives", dict(_ANY_ORDER)),
    FaultSpec("duplicate_status", "say each orderStatus more often", {**_ANY_ORDER, "times": 5}),
    FaultSpec("omit_fill_status", "say no orderStatus Filled", dict(_ANY_ORDER)),
    FaultSpec("status_before_fill", "say orderStatus before its execDetails", dict(_ANY_ORDER)),
    FaultSpec(
        "reject_child",
        "take the parent and reject its child",
        {**_ANY_ORDER, "code": 201, "text": "Order rejected - reason:Stop orders are not allowed."},
    ),
    FaultSpec(
        "refuse_order",
        "refuse a new order",
        {**_ANY_ORDER, "code": 201, "text": "Order rejected - reason:Not allowed."},
    ),
    FaultSpec(
        "refuse_modify",
        "refuse a change and keep the order as it was (10326, 10327, 10341, 135, 110 …)",
        {**_ANY_ORDER, "code": 10326, "text": "OCA group revision is not allowed."},
    ),
    FaultSpec("preset_tif", "turn a new order's tif to DAY and say 10349", dict(_ANY_ORDER)),
    FaultSpec("read_only", "refuse orders, changes and cancels with 321", dict(_ANYONE)),
    FaultSpec("cancel_race", "answer a cancel with 10148 Filled, then fill it", dict(_ANY_ORDER)),
    FaultSpec("ignore_cancel", "read a cancel and do nothing", dict(_ANY_ORDER)),
    FaultSpec(
        "refuse_market_data",
        "answer a market data request with a code",
        {**_ANYONE, "symbol": "", "code": 354, "text": "Requested market data is not subscribed."},
    ),
    FaultSpec("freeze_market_data", "send no ticks", {**_ANYONE, "symbol": ""}),
)
_BY_NAME = {spec.name: spec for spec in CATALOGUE}


@dataclass(slots=True)
class _Active:
    arguments: Arguments
    hits: int = 0


@dataclass(slots=True)
class Faults:
    """The faults set now; one object serves every gateway of a simulator."""

    _active: dict[str, list[_Active]] = field(default_factory=dict)
    _listeners: list[Listener] = field(default_factory=list)

    def set(self, name: str, **arguments: Value) -> None:
        """Set a fault, or let an immediate one happen.

        Raises: ConfigInvalid for an unknown name, argument, or type of value.
        """
        spec = _BY_NAME.get(name)
        if spec is None:
            raise ConfigInvalid(f"there is no fault {name!r}", known=sorted(_BY_NAME))
        for key, value in arguments.items():
            default = spec.defaults.get(key)
            if default is None:
                raise ConfigInvalid(f"{name} has no argument {key!r}", known=sorted(spec.defaults))
            if not _fits(value, default):
                raise ConfigInvalid(f"{name}: {key}={value!r} has the wrong type")
        full: Arguments = {**spec.defaults, **arguments}
        if not spec.is_immediate:
            self._active.setdefault(name, []).append(_Active(full))
        for listener in tuple(self._listeners):
            listener(name, full)

    def clear(self, name: str = "") -> None:
        """End a fault, or every fault.

        Raises: ConfigInvalid for an unknown name.
        """
        if name and name not in _BY_NAME:
            raise ConfigInvalid(f"there is no fault {name!r}", known=sorted(_BY_NAME))
        if name:
            self._active.pop(name, None)
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
            for spec in CATALOGUE
        ]

    def take(self, name: str, **context: Value) -> Mapping[str, Value] | None:
        """Return the arguments of a set fault that fits the place, and count the hit."""
        assert name in _BY_NAME, name
        active_faults = self._active.get(name)
        if not active_faults:
            return None
        defaults = _BY_NAME[name].defaults
        for active in active_faults:
            if all(
                active.arguments[key] in (defaults[key], value)
                for key, value in context.items()
                if key in defaults
            ):
                active.hits += 1
                if active.hits == active.arguments["count"]:
                    active_faults.remove(active)
                return active.arguments
        return None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell the listener of each fault as it is set; the result ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


def _fits(value: Value, default: Value) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, type(default))
