"""A bounded mailbox with one reader and a stated answer to overflow.

Rules of this file:
1. Control messages stand in a queue of their own and are read first.
2. A put never waits and never raises; False means: not taken.
3. REFUSE turns the new message away; DROP_OLDEST forgets the oldest; CONFLATE keeps the newest
   message of each key in the key's place and refuses a new key when full; ERROR refuses, and
   the reader's next `get` raises, because a loss there is a fault.
"""

from __future__ import annotations

import asyncio
import enum
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar

from tradebox.supervision.errors import MailboxFull

M = TypeVar("M")

CONTROL_PINGS_MAX: Final = 64


class Overflow(enum.Enum):
    """What a full mailbox does with one message more."""

    REFUSE = "refuse"
    DROP_OLDEST = "drop_oldest"
    CONFLATE = "conflate"
    ERROR = "error"


class Idle:
    """What `get` returns when the idle tick came before a message."""


IDLE: Final = Idle()


class Mailbox(Generic[M]):
    """Messages for one reader, in order, at most `capacity` of them.

    Holds: length ≤ capacity; order of acceptance is kept, a conflated key keeps its place;
           accepted = delivered + waiting + dropped + conflated; control is read first.
    """

    __slots__ = (
        "_conflated_box",
        "_control",
        "_key",
        "_overflowed",
        "_queue",
        "_waiter",
        "accepted",
        "capacity",
        "closed",
        "conflated",
        "delivered",
        "dropped",
        "on_drop",
        "overflow",
        "owner",
        "refused",
    )

    def __init__(
        self,
        capacity: int = 1024,
        overflow: Overflow = Overflow.REFUSE,
        key: Callable[[M], Hashable | None] | None = None,
        owner: str = "",
    ) -> None:
        assert capacity > 0, "a mailbox holds at least one message"
        self.capacity = capacity
        self.overflow = overflow
        self.owner = owner
        self.on_drop: Callable[[M], None] | None = None
        self.accepted = self.delivered = self.dropped = self.refused = self.conflated = 0
        self.closed = False
        self._key = key
        self._queue: deque[M] = deque()
        self._conflated_box: OrderedDict[Hashable, M] | None = None
        if overflow is Overflow.CONFLATE:
            assert key is not None, "conflation needs a key"
            self._conflated_box = OrderedDict()
        self._control: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._overflowed = False

    def __len__(self) -> int:
        box = self._conflated_box
        return len(self._queue) if box is None else len(box)

    @property
    def waiting(self) -> bool:
        """True while the reader waits for a message."""
        return self._waiter is not None

    def put_nowait(self, message: M) -> bool:
        """Take the message, or say False; never waits, never raises."""
        if self.closed:
            self.refused += 1
            return False
        if self._conflated_box is not None:
            return self._put_conflated(message, self._slot_of(message), self._conflated_box)
        return self._put_plain(message)

    def put_unkeyed(self, message: M) -> bool:
        """Take a message that never conflates, under the same bound."""
        if self.closed:
            self.refused += 1
            return False
        if self._conflated_box is not None:
            return self._put_conflated(message, object(), self._conflated_box)
        return self._put_plain(message)

    def _put_plain(self, message: M) -> bool:
        if len(self._queue) >= self.capacity and not self._make_room():
            self.refused += 1
            return False
        self._queue.append(message)
        self.accepted += 1
        self._wake()
        return True

    def _make_room(self) -> bool:
        if self.overflow is Overflow.DROP_OLDEST:
            lost = self._queue.popleft()
            self.dropped += 1
            if self.on_drop is not None:
                self.on_drop(lost)
            return True
        if self.overflow is Overflow.ERROR:
            self._overflowed = True
            self._wake()
        return False

    def _slot_of(self, message: M) -> Hashable:
        assert self._key is not None
        try:
            key = self._key(message)
        except Exception:  # noqa: BLE001 - the reader's bug must not crash the sender
            key = None
        return object() if key is None else ("key", key)

    def _put_conflated(self, message: M, slot: Hashable, box: OrderedDict[Hashable, M]) -> bool:
        if slot in box:
            self.conflated += 1
        elif len(box) >= self.capacity:
            self.refused += 1
            return False
        box[slot] = message
        self.accepted += 1
        self._wake()
        return True

    def put_beyond(self, message: M) -> bool:
        """Take a message of the runtime itself, few and counted, even over capacity."""
        if self.closed:
            return False
        if self._conflated_box is not None:
            self._conflated_box[object()] = message
        else:
            self._queue.append(message)
        self.accepted += 1
        self._wake()
        return True

    def put_control(self, message: object) -> bool:
        """Take a control message; it is read before every other."""
        if self.closed:
            return False
        self._control.append(message)
        self._wake()
        return True

    @property
    def control_depth(self) -> int:
        """How many control messages wait."""
        return len(self._control)

    def poke(self) -> bool:
        """Wake a waiting reader with IDLE; False when it does not wait."""
        if self._waiter is None:
            return False
        self._wake()
        return True

    def close(self) -> list[M]:
        """Refuse everything from now on and hand back what was never read."""
        self.closed = True
        left = (
            list(self._queue) if self._conflated_box is None else list(self._conflated_box.values())
        )
        self._queue.clear()
        if self._conflated_box is not None:
            self._conflated_box.clear()
        self._control.clear()
        return left

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def get_nowait(self) -> Any:
        """Return the next message, control first, or IDLE when there is none.

        Raises: MailboxFull when policy ERROR has turned a message away.
        """
        if self._control:
            return self._control.popleft()
        if self._overflowed:
            self._overflowed = False
            raise MailboxFull(self.owner, self.capacity)
        if self._queue:
            self.delivered += 1
            return self._queue.popleft()
        if self._conflated_box:
            self.delivered += 1
            return self._conflated_box.popitem(last=False)[1]
        return IDLE

    async def get(self) -> Any:
        """Return the next message; IDLE when poked while waiting.

        Raises: MailboxFull as `get_nowait`. One reader only.
        """
        item = self.get_nowait()
        if item is not IDLE:
            return item
        assert self._waiter is None, "a mailbox has one reader"
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        try:
            await waiter
        finally:
            if self._waiter is waiter:
                self._waiter = None
        return self.get_nowait()
