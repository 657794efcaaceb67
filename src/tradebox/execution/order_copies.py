"""The copies of one order at the broker: one, unless a change forked it into several permIds.

Rules of this file:
- an order is over when the last copy that works has ended; the end of one says nothing of another;
- a copy works, and ends, by facts that name its permId; one that ended works again only by the
  proof that its end was a mistake;
- which copies work is not kept: the first look after a start tells it anew.
"""

from collections.abc import Iterable
from typing import Final

from tradebox.domain.order_table import Move

_WORKS: Final = frozenset({Move.HELD, Move.LIVE, Move.PART_FILLED})
_ENDS: Final = frozenset({Move.ALL_FILLED, Move.CANCELLED, Move.REFUSED, Move.ENDED})


class Copies:
    """What was said of each permId of one order.

    Holds:   while a copy works, no end of another one ends the order; after the last has ended,
             the order is over; a copy that is shown at work calls back an order that was over.
    """

    __slots__ = ("_ended", "_working")

    def __init__(self, ended: Iterable[int] = ()) -> None:
        self._working: set[int] = set()
        self._ended = set(ended)

    @property
    def is_forked(self) -> bool:
        """Several copies are at work."""
        return len(self._working) > 1

    @property
    def is_split(self) -> bool:
        """One copy has ended and another one is at work."""
        return bool(self._ended and self._working)

    def at_work(self, apart_from: Iterable[int] = ()) -> set[int]:
        """Return the permIds that were shown at work and whose end was not heard."""
        return self._working.difference(apart_from)

    def have_ended(self, perm_id: int) -> bool:
        """Say whether this copy's end was heard, and no other one works."""
        return perm_id in self._ended and not self._working

    def hear(self, perm_id: int, move: Move | None, *, is_over: bool = False) -> Move | None:
        """Return what a fact about one copy means for the order; None: nothing.

        perm_id 0: the fact names no copy. is_over: the books have ended the order.
        """
        if move in _ENDS:
            return self._end(perm_id, move)
        if move in _WORKS and perm_id and perm_id not in self._ended:
            self._working.add(perm_id)
            if is_over and self._ended:
                return Move.COPY_LIVES
        return move

    def revive(self, perm_ids: Iterable[int]) -> None:
        """Take copies for working whose end was told or inferred by mistake."""
        self._ended.difference_update(perm_ids)
        self._working.update(perm_ids)

    def forget(self) -> None:
        """No list of the broker knows any copy."""
        self._ended |= self._working
        self._working.clear()

    def _end(self, perm_id: int, move: Move) -> Move | None:
        if perm_id:
            self._working.discard(perm_id)
            if move is not Move.REFUSED:
                self._ended.add(perm_id)
        elif len(self._working) == 1:
            self.forget()
        if not self._working:
            return move
        return Move.PART_FILLED if move is Move.ALL_FILLED else None
