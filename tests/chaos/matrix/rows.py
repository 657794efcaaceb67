"""The fault matrix as data: 64 rows, each with what is done to the system and what must hold.

Rules of this file:
- a number stands for good: a row is never renumbered, and none is left out;
- a row has a test under its number, or a sentence (`why_not`) that says why it cannot be had here;
- `is_quick` rows belong to `make test` too; all of them to `make matrix`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One row. part: gw, link, sys, feed, ctl, broker, cfg, box, pg, redis, proc or dash."""

    number: int
    title: str
    part: str
    act: str
    expect: str
    why_not: str = ""
    is_quick: bool = False


_TABLE = (
    Row(1, "gateway stopped for minutes", "gw", "SIGSTOP of the stand-in world, then SIGCONT",
        "two missed heartbeats end the link; nothing is sent; afterwards one entry, once"),
    Row(2, "TCP reset in mid-session", "link", "gateway.disconnect",
        "no order before the next reconcile; what waited enters once", is_quick=True),
    Row(3, "half-open connection", "link", "gateway.half_open while an entry leaves",
        "heartbeat ends it; the send is unknown until its absence is proved; one entry in the end"),
    Row(4, "handshake fine, snapshot mute", "gw", "gateway.mute_request of positions",
        "no flat account: entries stay blocked, a person is told, positions stay booked"),
    Row(5, "executions end missing", "gw", "gateway.omit_end of executions",
        "the snapshot is not complete: entries stay blocked, a person is told"),
    Row(6, "1100 then 1102", "sys", "gateway.link_loss code=1102",
        "nothing is sent before a reconcile; then entries go on"),
    Row(7, "1100 then 1101", "sys", "gateway.link_loss code=1101",
        "nothing is sent before a reconcile; then entries go on"),
    Row(8, "1100 five hundred times", "sys", "gateway.notice code=1100 repeats=500",
        "one transition and one alert"),
    Row(9, "a stop fills while blind", "sys", "gateway.link_loss, its pushes lost or late",
        "the fill is booked once, from the lists"),
    Row(10, "2104 while 1100 holds", "sys", "gateway.notice code=1100, then 2104",
        "still blocked until 1102", is_quick=True),
    Row(11, "1102 without ticks", "feed", "1102 that names no usfarm; finnhub.half_open",
        "no entry on a price that is not live; entries when ticks are back"),
    Row(12, "2103 and 2104 within 3 s", "feed", "gateway.notice code=2103, then 2104",
        "orders unaffected; prices go on"),
    Row(13, "data taken by another session, silently back", "feed",
        "gateway.competing_session and a silent symbol",
        "stale all along: no entry; the return is found without a word"),
    Row(14, "delayed data instead of live", "feed", "gateway.delayed_data, finnhub.stale_time",
        "no entry on delayed prices"),
    Row(15, "nightly restart as an order is sent", "gw", "gateway.nightly_restart on=order",
        "the gate is closed before the window; what left is unknown until proved; one entry"),
    Row(16, "nextValidId rolls back", "gw", "gateway.id_rollback by=4",
        "every new id is above those of the books"),
    Row(17, "nextValidId jumps up", "gw", "gateway.id_jump by=1000", "no code 103"),
    Row(18, "client id in use", "gw", "gateway.client_id_taken",
        "no other id is tried; halted and told; the other account trades on"),
    Row(19, "killed after the write, before the ack", "ctl",
        "gateway.delay_ack, SIGKILL of the engine", "the order is found and taken over; one entry"),
    Row(20, "killed after the commit, before the write", "ctl",
        "bytes into a dead connection, SIGKILL of the engine",
        "never sent, but only by two complete reads"),
    Row(21, "killed between parent and child", "ctl",
        "gateway.close_after_order at the child, SIGKILL of the engine", "nothing is transmitted"),
    Row(22, "killed at any instant of a trade", "ctl",
        "SIGKILL at seeded instants (200 of them: python -m bench.kill_drill)",
        "no order doubled, no fill lost or doubled, cover back, books equal"),
    Row(23, "two controllers on one database", "ctl", "a second run on the first one's database",
        "the second sends nothing and ends"),
    Row(24, "the claim is lost while running", "ctl",
        "the claim's connection is ended and another session takes the lock",
        "fenced before the next send; goes on when it is ours again"),
    Row(25, "statuses repeated and reordered", "gw",
        "gateway.duplicate_status, gateway.reorder_status",
        "one path of states, fills booked once"),
    Row(26, "execution before openOrder, unknown id", "gw",
        "gateway.unknown_order_id, gateway.status_before_fill", "booked by permId and orderRef"),
    Row(27, "executions replayed at three reconnects", "gw",
        "gateway.replay_executions, gateway.disconnect", "each is booked once", is_quick=True),
    Row(28, "a correction of an execution", "gw", "gateway.correct_execution",
        "the quantity is replaced, not added; the stop follows", is_quick=True),
    Row(29, "a bust of a booked fill", "gw",
        "gateway.bust_execution of an entry's part, of a slice, of an exit",
        "reversed in the books, the stop follows, a person is told; what a slice gave back stays"
        " with its plan, what an exit gave back leaves once more"),
    Row(30, "partial fills with a stop child", "gw", "gateway.partial_fills, a thin limit entry",
        "cover is exact, or a repair within its time"),
    Row(31, "a cancel meets the fill", "gw", "gateway.cancel_race",
        "filled by the stop; no exit is doubled", is_quick=True),
    Row(32, "a modify is refused", "gw", "gateway.refuse_modify code=110, 201, 2102",
        "the original lives and the books say so; never two stops"),
    Row(33, "a modify forks an order", "gw",
        "gateway.fork_modify; then gateway.cancel_by_broker of one copy",
        "told within one reconcile; the symbol is blocked; the copy that is left is the stop, and"
        " none is placed beside it"),
    Row(34, "GTC turned DAY (10349)", "gw", "gateway.preset_tif", "the order is kept and repaired"),
    Row(35, "a code nobody knows", "gw", "gateway.order_code code=10999",
        "the order is kept; reconcile; a person is told", is_quick=True),
    Row(36, "the stop child is refused after the fill", "gw", "gateway.reject_child",
        "a new stop, else an exit, else a person is told, within 10 s"),
    Row(37, "the broker cancels a stop", "gw", "gateway.cancel_by_broker", "a new stop within 5 s",
        is_quick=True),
    Row(38, "a stop fired while we were away, a day ago", "gw",
        "the engine is away over a day's end", "flat is accepted, adjusted, told; no new stop"),
    Row(39, "a trade by hand", "gw", "gateway.manual_order",
        "never touched; the symbol is blocked; a person is told and adopts", is_quick=True),
    Row(40, "a split over night", "broker", "market.split; then confirm and adopt by a person",
        "the gap is told; nothing is sent at an old price; stops come back on a person's word, not"
        " before: no source here proves a ratio, so the shares are bare until then"),
    Row(41, "paper controller at the live gateway", "cfg", "the gateways' accounts swapped",
        "refused at managedAccounts, before any send"),
    Row(42, "read-only API", "gw", "gateway.read_only", "halted and told: no stop can be had"),
    Row(43, "absurd ticks", "feed", "finnhub.zero_price, spike, and what no number is",
        "no entry, no stop and no price from them"),
    Row(44, "frozen price, advancing times", "feed",
        "gateway.repeat_price while every other source is silent (filter.frozen_s=60)",
        "suspect by value and time: an entry on it is denied"),
    Row(45, "clocks apart", "box", "gateway.clock_skew",
        "entries refused above 2 s; deadlines are monotonic"),
    Row(46, "PostgreSQL away for minutes", "pg", "SIGSTOP or kill of the server",
        "no entry; stops rest; fills are spooled and replayed"),
    Row(47, "PostgreSQL slow", "pg", "commits held up for 5 s",
        "an entry times out before its send, not after"),
    Row(48, "PostgreSQL read-only or disk full", "pg", "default_transaction_read_only",
        "not committed, not sent"),
    Row(49, "a commit without an answer", "pg", "the connection dies within COMMIT",
        "read again by its id before anything else"),
    Row(50, "Redis gone, flushed or slow", "redis", "FLUSHALL, kill, SIGSTOP",
        "no decision changes"),
    Row(51, "an actor crashes at each start", "proc", "ctl harm --how crash, again and again",
        "budget, then halt, and a person is told"),
    Row(52, "an actor hangs, the loop is blocked", "proc", "ctl harm --how hang, busy",
        "seen from outside, fenced, started anew"),
    Row(53, "memory runs out", "proc",
        "the engine may have no more memory (RLIMIT_AS) and is given plans that want it; where"
        " that does not end it, SIGKILL as by the kernel",
        "as row 22: one entry, the stop rests"),
    Row(54, "429 from a vendor", "feed",
        "finnhub.rate_limit with its reset header, finnhub.refuse_stream",
        "waited out, no storm of retries; its prices are stale: no entry on them"),
    Row(55, "malformed, cut and huge JSON", "feed", "finnhub.bad_frame, finnhub.truncated",
        "dropped and counted; the actor lives"),
    Row(56, "a websocket open and silent", "feed", "finnhub.half_open",
        "stale at its deadline, connected anew"),
    Row(57, "error 100 three times, connection closed", "link",
        "gateway.pacing, gateway.disconnect", "the burst is unknown until reconciled"),
    Row(58, "bulk requests before an exit", "link", "600 requests on other connections",
        "the exit is on its own wire in time"),
    Row(59, "1,000 intents in a second", "ctl", "1,000 plans that one price sets off",
        "the buckets stop it and the latch sets; exits leave"),
    Row(60, "the console's host is taken over", "dash",
        "its credentials against gateway, tables and commands", "all refused", is_quick=True),
    Row(61, "a login that waits for its second factor", "gw", "gateway.mute_handshake",
        "blocked and told; stops rest"),
    Row(62, "a second gateway of the same user", "gw",
        "gateway.link_loss and gateway.disconnect in turns", "no order is doubled"),
    Row(63, "a reconcile killed half-way", "ctl", "SIGKILL during the lists",
        "run again, still blocked until it is complete"),
    Row(64, "a halt while an exit is wanted", "gw",
        "market.halt, known by the prices or only by the code 154",
        "in a known halt the stop stays; one that was off already is asked for until it is back;"
        " the exit goes on resume; a person is told"),
)  # fmt: skip

ROWS = {row.number: row for row in _TABLE}
