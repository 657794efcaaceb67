"""Who holds the places of one connection: the most needed always, the others in turn.

Rules of this file:
- pure but for its memory: the time is given;
- where all fit, all are in; else the last places go round, each for its time, to whoever has
  waited longest;
- a symbol that falls out of the needed ones keeps its place where one is free: no needless change.
"""

from collections.abc import Collection, Sequence


class Slots:
    """The places of one connection.

    Units:   seconds of one monotonic clock. rotating: places that go round.
    Holds:   at most `cap` symbols, each once, all of them wanted; the first cap - rotating of the
             wanted are in; a rotating place is kept for rotate_s while its symbol is wanted and
             the cap stays; everyone who waits gets a place in the end.
    """

    def __init__(self, rotating: int, rotate_s: float) -> None:
        self._rotating = rotating
        self._rotate_s = rotate_s
        self._since_s: dict[str, float] = {}
        self._left_s: dict[str, float] = {}

    def target(
        self, wanted: Sequence[str], cap: int, now_s: float, held: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Return who is to hold a place now, most needed first.

        wanted: most needed first. held: who has a place at this moment.
        """
        if len(wanted) <= cap:
            self._since_s.clear()
            self._left_s.clear()
            return tuple(wanted)
        rotating = min(self._rotating, cap - 1)
        fixed, rest = wanted[: cap - rotating], wanted[cap - rotating :]
        self._forget(set(rest), now_s)
        while len(self._since_s) > rotating:
            self._leave(max(self._since_s, key=self._since_s.__getitem__), now_s)
        waiting = [symbol for symbol in rest if symbol not in self._since_s]
        rank = {symbol: place for place, symbol in enumerate(waiting)}
        waiting.sort(key=lambda one: (self._left_s.get(one, 0.0), one not in held, rank[one]))
        for symbol in waiting[: rotating - len(self._since_s)]:
            self._since_s[symbol] = now_s
        return (*fixed, *(symbol for symbol in rest if symbol in self._since_s))

    @property
    def due_s(self) -> float | None:
        """When the next place is to change hands; None: nobody waits."""
        return min(self._since_s.values()) + self._rotate_s if self._since_s else None

    def _forget(self, rest: set[str], now_s: float) -> None:
        """Empty the places whose time is over, and those of symbols that need none any more."""
        for symbol, since_s in list(self._since_s.items()):
            if symbol not in rest:
                del self._since_s[symbol]
            elif now_s - since_s >= self._rotate_s:
                self._leave(symbol, now_s)
        for symbol in self._left_s.keys() - rest:
            del self._left_s[symbol]

    def _leave(self, symbol: str, now_s: float) -> None:
        del self._since_s[symbol]
        self._left_s[symbol] = now_s
