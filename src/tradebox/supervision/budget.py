"""How long a handler may hold the loop: its own CPU time, message by message.

Rules of this file:
1. Only the handler's own steps count: what others do while it waits is theirs.
2. One long message is no fault; OVERRUNS_MAX of them among MESSAGES in a row are.
3. CPU time, not wall time: a busy machine must not make a quick handler look slow.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final

from tradebox.supervision.errors import BudgetSpent

OVERRUNS_MAX: Final = 3
MESSAGES: Final = 30


class Budget:
    """Runs one actor's handlers and measures them.

    Units:  limit_s seconds of CPU for one message.
    Holds:  a handler is cut off with its third overrun among 30 messages, never before.
    """

    __slots__ = ("_cpu", "_limit_s", "_name", "_number", "_overruns", "worst_s")

    def __init__(
        self, name: str, limit_s: float, cpu: Callable[[], float] = time.thread_time
    ) -> None:
        self._name = name
        self._limit_s = limit_s
        self._cpu = cpu
        self._number = 0
        self._overruns: deque[int] = deque(maxlen=OVERRUNS_MAX)
        self.worst_s = 0.0

    async def run(self, handler: Coroutine[Any, Any, Any]) -> None:
        """Run a handler to its end. Raises: BudgetSpent, and what the handler raises."""
        metered = _Metered(handler, self._cpu)
        try:
            await metered
        finally:
            spent_s = metered.spent_s
            self._number += 1
            self.worst_s = max(self.worst_s, spent_s)
        if spent_s <= self._limit_s:
            return
        self._overruns.append(self._number)
        if len(self._overruns) == OVERRUNS_MAX and self._number - self._overruns[0] < MESSAGES:
            raise BudgetSpent(self._name, self._limit_s, spent_s)


class _Metered:
    """Awaits a coroutine and adds up the CPU time of its steps."""

    __slots__ = ("_coro", "_cpu", "spent_s")

    def __init__(self, coro: Coroutine[Any, Any, Any], cpu: Callable[[], float]) -> None:
        self._coro = coro
        self._cpu = cpu
        self.spent_s = 0.0

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = lambda: self._coro.send(None)  # noqa: E731 - replaced below
        while True:
            began_s = self._cpu()
            try:
                awaited = step()
            except StopIteration as end:
                return end.value
            finally:
                self.spent_s += self._cpu() - began_s
            try:
                sent = yield awaited
            except GeneratorExit:
                self._coro.close()
                raise
            except BaseException as error:  # noqa: BLE001 - handed in, as await does
                step = _throwing(self._coro, error)
            else:
                step = _sending(self._coro, sent)


def _sending(coro: Coroutine[Any, Any, Any], value: Any) -> Callable[[], Any]:
    return lambda: coro.send(value)


def _throwing(coro: Coroutine[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: coro.throw(error)
