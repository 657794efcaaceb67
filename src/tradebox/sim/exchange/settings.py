"""The settings of the exchange: fees, margins, and the behaviours that real gateways differ in.

Rules of this file:
- a behaviour that public evidence leaves open is a switch with its alternatives;
- the default is the best supported one.
"""

from dataclasses import dataclass
from typing import Literal

ChildOnPartialParent = Literal["held", "armed_full", "armed_part"]
ChildOnParentCancel = Literal["dies", "shrinks", "arms"]
StopThroughMarket = Literal["fires", "refused", "held"]
RestateFilledParent = Literal["refused", "accepted"]
MarketDepth = Literal["displayed", "walks"]
OversellOutcome = Literal["goes_short", "refused"]
StopResize = Literal["accepted", "reduce_only", "refused", "cancels"]
GatewayOcaGroups = Literal["made", "none"]
InstantFillStatus = Literal["said", "omitted"]
DelayedRequest = Literal["live", "delayed"]


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """What the exchange charges, asks and does. Units: micros, parts per million, shares."""

    commission_per_share_micros: int = 5_000
    commission_min_micros: int = 1_000_000
    initial_margin_ppm: int = 500_000
    maintenance_margin_ppm: int = 250_000
    limit_collar_ppm: int = 100_000
    """How far through the market a limit may lie before it is cancelled."""
    working_orders_per_side_max: int = 15
    repeat_status_ppm: int = 300_000
    """How often a status is said twice, as real gateways do."""
    child_on_partial_parent: ChildOnPartialParent = "held"
    child_on_parent_cancel: ChildOnParentCancel = "dies"
    stop_through_market: StopThroughMarket = "fires"
    oversell: OversellOutcome = "goes_short"
    oca_for_single_child: bool = False
    stop_resize: StopResize = "accepted"
    """A change of a resting stop's size."""
    gateway_oca_groups: GatewayOcaGroups = "made"
    """Whether the gateway puts the children of one parent into a group of its own at all."""
    instant_fill_status: InstantFillStatus = "said"
    """The orderStatus of a market order that is filled as it arrives."""
    delayed_request: DelayedRequest = "live"
    """What a client gets that asks for delayed data and has live ones."""
    market_depth: MarketDepth = "displayed"
    """A market order larger than the display waits for the next quote, or walks on."""
    restate_filled_parent: RestateFilledParent = "refused"
    """A modify that still names a filled parent: code 135, or accepted."""
