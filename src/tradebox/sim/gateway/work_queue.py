"""Long answers one after another, so that no client's history keeps the others waiting.

Rules of this file:
- while nothing long was done just now, an answer is made at once;
- after a long one there is a pause as long as it took: the other half of the time is everybody's;
- clients take turns; one has a bounded number of requests waiting.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

WAITING_MAX = 50
"""So many requests of one client may wait, as at the real gateway."""

LONG_S = 0.005
"""An answer that took longer is followed by a pause."""

Work = Callable[[], None]


@dataclass(slots=True)
class WorkQueue:
    """The requests of one gateway that may take long, by client and request id."""

    _waiting: dict[int, deque[tuple[int, Work]]] = field(default_factory=dict)
    _timer: asyncio.TimerHandle | None = None

    def add(self, client: object, request_id: int, work: Work) -> bool:
        """Do the work now, or when its turn comes; False if the client has too many waiting."""
        if self._timer is None:
            self._do(work)
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

    def forget(self, client: object) -> None:
        """Forget every request of a client."""
        self._waiting.pop(id(client), None)

    def stop(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._timer = None
        while self._timer is None:
            key = next(iter(self._waiting), None)
            if key is None:
                return
            waiting = self._waiting.pop(key)
            if waiting:
                _, work = waiting.popleft()
                # To the end of the row: the next client is first.
                self._waiting[key] = waiting
                self._do(work)

    def _do(self, work: Work) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        work()
        took_s = loop.time() - began_s
        if took_s > LONG_S and self._timer is None:
            self._timer = loop.call_later(took_s, self._turn)
