"""The behaviours that real gateways differ in, as named switches with their alternatives.

Rules of this file:
- every switch is a field of the settings; its first alternative is the default;
- what is known of a behaviour, and how well, stands beside it and goes into the documentation.
"""

from dataclasses import dataclass, replace
from typing import get_args

from tradebox.errors import ConfigInvalid
from tradebox.sim.exchange import settings as words
from tradebox.sim.exchange.settings import ExchangeSettings


@dataclass(frozen=True, slots=True)
class Variant:
    """One switch: its name, its alternatives with the default first, and what supports it."""

    name: str
    alternatives: tuple[str, ...]
    summary: str
    source: str


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "child_on_partial_parent",
        get_args(words.ChildOnPartialParent),
        "a stop whose parent is partly filled: waits, is armed whole, or armed in part",
        "IB's order pages: a child is active once the parent is completely filled; one report of"
        " nautilus_trader (#2704) shows a child that fired before. No log settles it.",
    ),
    Variant(
        "child_on_parent_cancel",
        get_args(words.ChildOnParentCancel),
        "a child whose partly filled parent is cancelled: dies, shrinks to the fill, or is armed",
        "An unfilled parent takes its child along (ib_insync #636); of a partly filled one nothing"
        " is published. The default is the most dangerous case.",
    ),
    Variant(
        "stop_through_market",
        get_args(words.StopThroughMarket),
        "a trigger moved through the market: fires, is refused (403), or waits to be crossed again",
        "IB's stop page: a stop is elected when last reaches it, read literally at once; a change"
        " across the market is not described.",
    ),
    Variant(
        "oversell",
        get_args(words.OversellOutcome),
        "selling more than is held: a margin account goes short, a cash account refuses (201)",
        "Reports of both (a 182-share short in a paper margin account; 201 in a small account).",
    ),
    Variant(
        "oca_for_single_child",
        ("no", "yes"),
        "whether the gateway puts a single child into an OCA group of its own",
        "Captures show the group for two children; for one there is only a claim.",
    ),
    Variant(
        "gateway_oca_groups",
        get_args(words.GatewayOcaGroups),
        "whether the gateway makes an OCA group (type 3) of the children of one parent",
        "Captures show ocaGroup = the parent's permId and ocaType 3 where the client sent none;"
        " a client of another setting may see none.",
    ),
    Variant(
        "stop_resize",
        get_args(words.StopResize),
        "a change of a resting stop's size: accepted, accepted where it shrinks, refused (201, the"
        " order stays), or refused and the stop cancelled",
        "A capture shows a limit order reduced from 5 to 3; of a stop child nothing is published."
        " Bulk changes were once answered with 'Revision rejected due to unapproved modification"
        " followed by cancelled order'.",
    ),
    Variant(
        "instant_fill_status",
        get_args(words.InstantFillStatus),
        "orderStatus Filled of a market order that fills as it arrives: said, or left out",
        "IB's pages (by pysystemtrade #188): there may be no orderStatus; captures mostly show it.",
    ),
    Variant(
        "delayed_request",
        get_args(words.DelayedRequest),
        "a client that asks for delayed data (type 3) though the account has live ones: gets"
        " live ticks, or delayed ones",
        "IB's page on market data types: a request for delayed data is ignored where live data are"
        " available. Turn it, or set `gateway.delayed_data`, to try a program on delayed data.",
    ),
    Variant(
        "restate_filled_parent",
        get_args(words.RestateFilledParent),
        "a change that still names a filled parent: code 135, or accepted",
        "ib_insync #647 and ib_async #89: 135, cured by leaving the parent out.",
    ),
    Variant(
        "market_depth",
        get_args(words.MarketDepth),
        "a market order beyond the display: waits for the next quote, or walks on at worse prices",
        "IB's paper trading page: simulated fills come from the top of the book.",
    ),
)


def with_variants(settings: ExchangeSettings, chosen: dict[str, str]) -> ExchangeSettings:
    """Return the settings with some switches turned. Raises ConfigInvalid."""
    known = {variant.name: variant for variant in VARIANTS}
    for name, value in chosen.items():
        variant = known.get(name)
        if variant is None or value not in variant.alternatives:
            wanted = variant.alternatives if variant else tuple(known)
            raise ConfigInvalid(
                f"variant {name}={value} is unknown: give one of {', '.join(wanted)}",
                field=name,
                value=value,
            )
    values: dict[str, object] = dict(chosen)
    if "oca_for_single_child" in chosen:
        values["oca_for_single_child"] = chosen["oca_for_single_child"] == "yes"
    return replace(settings, **values)  # type: ignore[arg-type]  # checked against the literals


def chosen_variants(settings: ExchangeSettings) -> dict[str, str]:
    """Return the present position of every switch."""
    found: dict[str, str] = {}
    for variant in VARIANTS:
        value = getattr(settings, variant.name)
        found[variant.name] = {True: "yes", False: "no"}.get(value, value)
    return found
