"""What a gateway does where public evidence leaves it open: the questions, and what we build on.

Rules of this file:
- a capability is unproven until a drill saw it on this account and gateway build;
- unproven and "proven no" mean the same to the order path: the safe way;
- the words of the alternatives are those of the drill, the store and the simulator.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capability:
    """One question. good: the answers on which a convenient way may build; use: which one."""

    name: str
    question: str
    answers: tuple[str, ...]
    good: frozenset[str]
    use: str
    is_played: bool = True
    """Whether the simulator has a switch of this name; the others are asked of a real gateway."""


CAPABILITIES: tuple[Capability, ...] = (
    Capability(
        "child_on_partial_parent",
        "a stop whose parent is partly filled",
        ("held", "armed_full", "armed_part"),
        frozenset({"armed_part"}),
        "none: a partly filled entry is short-lived, its stop counts by whyHeld and size",
    ),
    Capability(
        "child_on_parent_cancel",
        "the stop of a partly filled parent that is cancelled",
        ("dies", "shrinks", "arms"),
        frozenset({"dies", "shrinks"}),
        "cancel the rest of an entry at once; else its stop is made to fit first",
    ),
    Capability(
        "stop_through_market",
        "a trigger that is moved through the market",
        ("fires", "refused", "held"),
        frozenset({"fires"}),
        "leave by moving the stop's own trigger; else cancel, read, send a limit",
    ),
    Capability(
        "stop_resize",
        "a change of a resting stop's size",
        ("accepted", "reduce_only", "refused", "cancels"),
        frozenset({"accepted"}),
        "resize the stop in place; where it is refused: cancel, and a new stop",
    ),
    Capability(
        "restate_filled_parent",
        "a change that still names a filled parent",
        ("refused", "accepted"),
        frozenset({"accepted"}),
        "none: a filled parent is never named again",
    ),
    Capability(
        "oca_for_single_child",
        "whether a single child is put into a group",
        ("no", "yes"),
        frozenset({"no"}),
        "none: no group is ever named in a change",
    ),
    Capability(
        "gateway_oca_groups",
        "whether two children are put into a group",
        ("made", "none"),
        frozenset({"none"}),
        "none: an entry has one child",
    ),
    Capability(
        "oversell",
        "selling more than is held",
        ("goes_short", "refused"),
        frozenset({"refused"}),
        "none: never relied upon, shares for sale never exceed the position",
    ),
    Capability(
        "market_depth",
        "a market order larger than the display",
        ("displayed", "walks"),
        frozenset({"displayed"}),
        "none: exits are limits inside a collar",
    ),
    Capability(
        "instant_fill_status",
        "the orderStatus of an order that fills as it arrives",
        ("said", "omitted"),
        frozenset({"said"}),
        "none: executions are what counts",
    ),
    Capability(
        "delayed_request",
        "asking for delayed data where live ones are due",
        ("delayed", "live"),
        frozenset({"live"}),
        "none: a delayed price never opens anything",
    ),
    Capability(
        "buy_stop_through_market",
        "the trigger of a short position's stop that is moved through the market",
        ("fires", "refused", "held", "no_short"),
        frozenset({"fires"}),
        "as stop_through_market, for short plans",
        is_played=False,
    ),
    Capability(
        "stop_to_market",
        "a resting stop that is changed into a market order",
        ("accepted", "refused"),
        frozenset({"accepted"}),
        "none: an exit is an order of its own",
        is_played=False,
    ),
    Capability(
        "exit_pair",
        "a stop is cancelled, the position read, and all of it sold by a limit at once",
        ("sold", "part", "refused"),
        frozenset({"sold"}),
        "none: every exit goes this way where nothing else is proven",
        is_played=False,
    ),
    Capability(
        "slice",
        "a stop is made smaller, and the freed shares are sold by a limit at once",
        ("sold", "part", "refused"),
        frozenset({"sold"}),
        "none: every slice goes this way",
        is_played=False,
    ),
    Capability(
        "order_ref",
        "an orderRef of 20, 32 and 36 letters, digits and dashes",
        ("whole", "cut", "refused"),
        frozenset({"whole"}),
        "none: ours have twenty characters at most",
        is_played=False,
    ),
)

BY_NAME: Mapping[str, Capability] = {one.name: one for one in CAPABILITIES}


@dataclass(frozen=True, slots=True)
class Proven:
    """What was found for one account and gateway build; a name that is absent is unproven."""

    found: Mapping[str, str]

    def allows(self, name: str) -> bool:
        """Say whether the convenient way of a capability was proven."""
        answer = self.found.get(name)
        return answer is not None and answer in BY_NAME[name].good


UNPROVEN = Proven({})


def gateway_build(server_version: int) -> str:
    """Return the name under which a gateway's findings are kept."""
    return f"server {server_version}"
