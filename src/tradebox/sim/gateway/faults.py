"""The faults that the gateway can be told to have.

Rules of this file:
- `account`, `client_id`, `order_id`, `message_id` and `symbol` narrow a fault; each one's default
  means any;
- one object serves both gateways of a simulator.
"""

from tradebox.sim.faults import Arguments, FaultBoard, FaultSpec

_ANYONE: Arguments = {"account": "", "client_id": -1, "count": 0}
_ANY_ORDER: Arguments = {**_ANYONE, "order_id": 0}

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


class Faults(FaultBoard):
    """The gateway's faults that are set now."""

    def __init__(self) -> None:
        super().__init__(CATALOGUE)
