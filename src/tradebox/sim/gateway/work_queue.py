"""Long answers one after another, so that no client's history keeps the others waiting.

Rules of this file:
- while nothing long was done just now, an answer is made at once;
- after a long one there is a pause as long as it took: the other half of the time is everybody's;
- work that is an iterator is done piece by piece, with such a pause wherever it gets long;
- clients take turns; one has a bounded number of requests waiting.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

WAITING_MAX = 50
"""So many requests of one client may wait, as at the real gateway."""

LONG_S = 0.005
"""An answer that took longer is followed by a pause."""

Work = Callable[[], Iterator[None] | None]


@dataclass(slots=True)
class WorkQueue:
    """The requests of one gateway that may take long, by client and request id."""

    _waiting: dict[int, deque[tuple[int, Work]]] = field(default_factory=dict)
    _timer: asyncio.TimerHandle | None = None
    _begun: tuple[int, int, Iterator[None]] | None = None
    """Client, request and the rest of the work that was begun."""

    def add(self, client: object, request_id: int, work: Work) -> bool:
        """Do the work now, or when its turn comes; False if the client has too many waiting."""
        if self._timer is None:
            self._do(id(client), request_id, work)
            return True
        waiting = self._waiting.setdefault(id(client), deque())
        if len(waiting) >= WAITING_MAX:
            return False
        waiting.append((request_id, work))
        return True

    def cancel(self, client: object, request_id: int) -> None:
        """Forget a request that waits."""
        waiting = self._waiting.get(id(client), deque())
        for one in [one for one in waiting if one[0] == request_id]:
            waiting.remove(one)
        if self._begun is not None and self._begun[:2] == (id(client), request_id):
            self._begun = None

    def forget(self, client: object) -> None:
        """Forget every request of a client."""
        self._waiting.pop(id(client), None)
        if self._begun is not None and self._begun[0] == id(client):
            self._begun = None

    def stop(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._begun = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._timer = None
        if self._begun is not None:
            self._go_on()
        while self._timer is None:
            key = next(iter(self._waiting), None)
            if key is None:
                return
            waiting = self._waiting.pop(key)
            if waiting:
                request_id, work = waiting.popleft()
                # To the end of the row: the next client is first.
                self._waiting[key] = waiting
                self._do(key, request_id, work)

    def _do(self, key: int, request_id: int, work: Work) -> None:
        began_s = asyncio.get_running_loop().time()
        rest = work()
        if rest is None:
            self._pause_after(began_s)
        else:
            self._begun = (key, request_id, rest)
            self._go_on()

    def _go_on(self) -> None:
        """Do what was begun until it gets long, or is done."""
        assert self._begun is not None
        rest, began_s = self._begun[2], asyncio.get_running_loop().time()
        for _ in rest:
            if self._pause_after(began_s):
                return
        self._begun = None
        self._pause_after(began_s)

    def _pause_after(self, began_s: float) -> bool:
        """Let the others have as long a turn, if this one was long; say whether it was."""
        loop = asyncio.get_running_loop()
        took_s = loop.time() - began_s
        if took_s <= LONG_S:
            return False
        if self._timer is None:
            self._timer = loop.call_later(took_s, self._turn)
        return True
