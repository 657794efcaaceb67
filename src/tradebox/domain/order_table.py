"""The table of legal moves of an order, fed by facts only.

Rules of this file:
- a move is named by the fact that causes it; error codes and timeouts are no facts, so the
  only thing a lost connection or a missing answer can do is to make an order SENT_UNKNOWN;
- the table admits real life: statuses repeat, come late and out of order, a fill may follow a
  cancel (CANCELLED -> FILLED is legal), and no cancel ever undoes a fill;
- SENT_UNKNOWN is left by evidence or by the absence proof, never by time.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from tradebox.domain.orders import OrderState


class Move(StrEnum):
    """What was learnt about an order."""

    COMMITTED = "committed"
    """Its row is in the journal; its bytes may leave now."""
    LOST = "lost"
    """It was handed to a connection that died or never answered."""
    HELD = "held"
    """The broker echoed it, and it does not work yet (a child of an unfilled parent)."""
    LIVE = "live"
    """The broker echoed it as working, nothing filled."""
    COPY_LIVES = "copy_lives"
    """It was forked: the copy that ended is not the only one, and another permId of it works."""
    PART_FILLED = "part_filled"
    """Some of it is filled, some of it still works."""
    ALL_FILLED = "all_filled"
    """All of it is filled."""
    CANCELLED = "cancelled"
    """The broker said that the rest works no more."""
    REFUSED = "refused"
    """The broker lists it as inactive or rejected, and not among its working orders."""
    ENDED = "ended"
    """Its time in force ran out."""
    ABSENT = "absent"
    """Two complete reads of the account do not know it."""
    NOT_SENT = "not_sent"
    """This process knows that its bytes never left."""


_S = OrderState
_M = Move

TERMINAL = frozenset({_S.FILLED, _S.CANCELLED, _S.REJECTED, _S.EXPIRED, _S.NEVER_SENT})
"""States in which an order works no more. Only a fill may still follow."""

UNKNOWN = frozenset({_S.SENDING, _S.SENT_UNKNOWN})
"""States in which the broker may or may not have the order."""

LIVE = frozenset({_S.ACKED, _S.WORKING, _S.PARTIAL})
"""States in which the broker has the order."""

_EVIDENCE = {
    _M.HELD: _S.ACKED,
    _M.LIVE: _S.WORKING,
    _M.PART_FILLED: _S.PARTIAL,
    _M.ALL_FILLED: _S.FILLED,
    _M.CANCELLED: _S.CANCELLED,
    _M.REFUSED: _S.REJECTED,
    _M.ENDED: _S.EXPIRED,
}

_OVER = {_M.PART_FILLED: None, _M.ALL_FILLED: _S.FILLED, _M.COPY_LIVES: _S.WORKING}

_TABLE: dict[OrderState, dict[Move, OrderState | None]] = {
    _S.RECORDED: {_M.COMMITTED: _S.SENDING, _M.NOT_SENT: _S.NEVER_SENT},
    _S.SENDING: {
        **_EVIDENCE,
        _M.LOST: _S.SENT_UNKNOWN,
        _M.ABSENT: _S.NEVER_SENT,
        _M.NOT_SENT: _S.NEVER_SENT,
    },
    _S.SENT_UNKNOWN: {**_EVIDENCE, _M.LOST: None, _M.ABSENT: _S.NEVER_SENT},
    _S.ACKED: {**_EVIDENCE, _M.HELD: None, _M.ABSENT: _S.CANCELLED},
    _S.WORKING: {**_EVIDENCE, _M.HELD: None, _M.LIVE: None, _M.ABSENT: _S.CANCELLED},
    _S.PARTIAL: {
        _M.HELD: None,
        _M.LIVE: None,
        _M.PART_FILLED: None,
        _M.ALL_FILLED: _S.FILLED,
        _M.CANCELLED: _S.CANCELLED,
        _M.REFUSED: _S.CANCELLED,
        _M.ENDED: _S.EXPIRED,
        _M.ABSENT: _S.CANCELLED,
    },
    _S.FILLED: {
        **dict.fromkeys(
            (_M.HELD, _M.LIVE, _M.PART_FILLED, _M.ALL_FILLED, _M.CANCELLED, _M.REFUSED, _M.ENDED)
        ),
        _M.COPY_LIVES: _S.PARTIAL,
    },
    _S.CANCELLED: {**_OVER, _M.CANCELLED: None, _M.REFUSED: None, _M.ENDED: None},
    _S.EXPIRED: {**_OVER, _M.CANCELLED: None, _M.REFUSED: None, _M.ENDED: None},
    # A refusal or an absence that was wrong: the broker has the order after all.
    _S.REJECTED: {**_EVIDENCE, _M.REFUSED: None, _M.CANCELLED: None, _M.ENDED: None},
    _S.NEVER_SENT: {**_EVIDENCE, _M.ABSENT: None, _M.NOT_SENT: None},
}

MOVES: Mapping[OrderState, Mapping[Move, OrderState | None]] = MappingProxyType(
    {state: MappingProxyType(row) for state, row in _TABLE.items()}
)
"""state -> move -> next state; None: the move says nothing new. A move not listed is illegal."""


def is_legal(state: OrderState, move: Move) -> bool:
    """Return whether the table knows this move from this state."""
    return move in MOVES[state]


def next_state(state: OrderState, move: Move) -> OrderState:
    """Return the state after a move; a move that is not in the table changes nothing.

    Holds:   a fill is never undone: from FILLED every move leads to FILLED, but that another copy
             of the order works (PARTIAL, its shares filled as they are);
             SENT_UNKNOWN is never left by LOST;
             a terminal order comes back to life only by evidence that it lives.
    """
    following = MOVES[state].get(move)
    return state if following is None else following
