"""The faults that the gateway can be told to have.

Rules of this file:
- `account`, `client_id`, `order_id`, `message_id` and `symbol` narrow a fault; each one's default
  means any;
- one object serves both gateways of a simulator.
"""

from tradebox.sim.faults import Arguments, FaultBoard, FaultSpec

_ACCOUNT: Arguments = {"account": ""}
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
    FaultSpec(
        "double_perm_id",
        "say the permId of the order before it when the order arrives",
        dict(_ANY_ORDER),
    ),
    FaultSpec(
        "oca_account",
        "refuse an order of an OCA group that names no account, with 10224",
        dict(_ANY_ORDER),
    ),
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
    FaultSpec(
        "omit_end",
        "leave out the end marker of a list (52, 53, 54, 55, 62, 64, 72, 74, 102)",
        {**_ANYONE, "message_id": 0},
    ),
    FaultSpec(
        "link_loss",
        "say 1100, and `code` at the end; what is pushed meanwhile waits, or is lost, or passes",
        {**_ACCOUNT, "count": 0, "code": 1102, "pushes": "wait"},
    ),
    FaultSpec(
        "nightly_restart",
        "say 1100, reset the connections, and take none for some real seconds",
        {**_ACCOUNT, "down_s": 5.0},
        True,
    ),
    FaultSpec("id_jump", "say a nextValidId that is too high", {**_ANYONE, "by": 1000}),
    FaultSpec("reorder_status", "say the statuses of one moment backwards", dict(_ANY_ORDER)),
    FaultSpec("unknown_order_id", "say executions under an id that nobody used", dict(_ANY_ORDER)),
    FaultSpec("replay_executions", "say today's executions again", dict(_ACCOUNT), True),
    FaultSpec(
        "correct_execution",
        "correct the latest execution (of an order); price 0 keeps its price",
        {**_ACCOUNT, "order_id": 0, "shares": 1, "price": 0.0},
        True,
    ),
    FaultSpec(
        "bust_execution",
        "bust the latest execution (of an order)",
        {**_ACCOUNT, "order_id": 0},
        True,
    ),
    FaultSpec(
        "partial_fills", "fill an order in these parts first", {**_ANY_ORDER, "sizes": "1,7,92"}
    ),
    FaultSpec(
        "fork_modify",
        "let a change make a second live order, and leave the first",
        dict(_ANY_ORDER),
    ),
    FaultSpec(
        "hold_modify",
        "hold a change back: the order stays as it was; say a code, or nothing for 0",
        {**_ANY_ORDER, "code": 0, "text": "The change is held by a precautionary setting."},
    ),
    FaultSpec(
        "order_code",
        "say a code about a new order and keep the order",
        {**_ANY_ORDER, "code": 10999, "text": "A message nobody knows."},
    ),
    FaultSpec(
        "mass_errors",
        "say a code about every live order, many times",
        {**_ACCOUNT, "code": 10326, "text": "OCA group revision is not allowed.", "times": 20},
        True,
    ),
    FaultSpec(
        "cancel_by_broker",
        "cancel live orders by the broker's own will, with 202; 0 and none mean every one",
        {**_ACCOUNT, "order_id": 0, "perm_id": 0, "order_type": ""},
        True,
    ),
    FaultSpec(
        "manual_order",
        "place a market order by hand, as a person at a terminal",
        {**_ACCOUNT, "symbol": "AAPL", "side": "BUY", "quantity": 10},
        True,
    ),
    FaultSpec("clock_skew", "say a current time that is off", {**_ANYONE, "skew_s": 3600}),
    FaultSpec("pacing", "answer a message with error 100 and drop it", dict(_ANYONE)),
    FaultSpec(
        "competing_session",
        "say 10197 about every stream, and send no ticks",
        {**_ACCOUNT, "count": 0},
    ),
    FaultSpec("delayed_data", "say 10167 and send delayed tick types", {**_ANYONE, "symbol": ""}),
    FaultSpec(
        "bad_tick",
        "send a trade's tick with this price (0, -1, NaN, Infinity, 1e-9 …)",
        {**_ANYONE, "symbol": "", "price": "NaN"},
    ),
    FaultSpec(
        "repeat_price",
        "send the same trade price and no new quote while times go on",
        {**_ANYONE, "symbol": ""},
    ),
)


class Faults(FaultBoard):
    """The gateway's faults that are set now."""

    def __init__(self) -> None:
        super().__init__(CATALOGUE)
