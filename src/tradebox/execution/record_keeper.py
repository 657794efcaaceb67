"""Journal first: every change is committed, or spooled where that is allowed, before it counts.

Rules of this file:
- while anything waits in the spool, nothing goes past it: order is kept;
- entries never go through the spool: no PostgreSQL, no entry;
- a plan's state may ride in a batch; it never waits in the spool, where it would grow old;
- what neither PostgreSQL nor the spool takes did not happen: nothing leaves, and a person is told;
- a commit that gave no answer in time is not trusted either way: its batch is committed again
  under the same batch id, which the store recognises.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from tradebox.domain.events import AlertRaised
from tradebox.domain.orders import AccountName
from tradebox.errors import HomeUnusable, StoreUnavailable
from tradebox.execution.record_codec import decode, encode
from tradebox.ports.clock import MarketClock
from tradebox.ports.order_store import Batch, Change, Noted, OrderStore, PlanMoved, SpoolPort
from tradebox.supervision.clock import Clock

_RETRY_S: Final = 1.0


class RecordKeeper:
    """Writes the batches of one account."""

    def __init__(
        self,
        account: AccountName,
        store: OrderStore,
        spool: SpoolPort,
        clock: Clock,
        market_clock: MarketClock,
        *,
        run_id: str,
        epoch: int,
        deadline_s: float = 2.0,
        mint: Callable[[], str] = lambda: uuid.uuid4().hex,
        publish: Callable[[object], object] = lambda _event: None,
    ) -> None:
        self._account = account
        self._store = store
        self._spool = spool
        self._clock = clock
        self._market_clock = market_clock
        self._run_id = run_id
        self._epoch = epoch
        self._deadline_s = deadline_s
        self._mint = mint
        self._publish = publish
        self._is_waiting = bool(spool.pending())
        self._retry_s = float("-inf")
        self._is_down = False
        self._rider: PlanMoved | None = None
        self._is_landed = False

    def carry(self, state: PlanMoved) -> None:
        """Take a plan's state along with the next batch that PostgreSQL takes."""
        self._rider, self._is_landed = state, False

    def has_landed(self) -> bool:
        """Say whether the state that was to be carried is in PostgreSQL, and forget it."""
        landed, self._rider, self._is_landed = self._is_landed, None, False
        return landed

    @property
    def is_up(self) -> bool:
        """PostgreSQL took the last batch, and nothing waits."""
        return not self._is_down and not self._is_waiting

    async def commit(
        self,
        changes: Sequence[Change],
        *,
        may_spool: bool,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Write the changes durably; do `meanwhile` while PostgreSQL works, if there is time then.

        Raises:  StoreUnavailable where PostgreSQL is away and the spool is not allowed, or takes
                 nothing; then the batch may still have landed: follow it with what is so.
        """
        if not changes:
            return
        batch = Batch(
            self._mint(),
            self._account,
            self._run_id,
            self._epoch,
            self._market_clock.now_ns(),
            tuple(changes),
        )
        if self._is_waiting:
            await self.replay()
        failure: StoreUnavailable | None = None
        if not self._is_waiting and not self._is_resting():
            rider = self._rider
            riding = batch if rider is None else replace(batch, changes=(rider, *batch.changes))
            try:
                await self._write(riding, meanwhile)
            except StoreUnavailable as error:
                failure = error
            else:
                if rider is not None:
                    self._rider, self._is_landed = None, True
                return
        if not may_spool:
            raise failure or StoreUnavailable("PostgreSQL is away and batches wait for it")
        try:
            self._spool.append(encode(batch))
        except HomeUnusable as error:
            self._alert("not_recorded", f"{error.message}; PostgreSQL is away too: nothing leaves")
            raise StoreUnavailable(f"PostgreSQL is away, and {error.message}") from error
        self._is_waiting = True

    async def replay(self) -> bool:
        """Commit what waits in the spool, in order; True if nothing waits any more."""
        if self._is_resting():
            return not self._is_waiting
        records = self._spool.pending()
        try:
            for record in records:
                await self._write(decode(record))
            if records:
                note = Noted("spool_replayed", data=(("batches", str(len(records))),))
                await self._write(self._note(note))
        except StoreUnavailable:
            return False
        try:
            self._spool.clear()
        except HomeUnusable as error:
            # All of it is in PostgreSQL, which knows each batch again: nothing waits for the disk.
            self._alert("spool_kept", f"{error.message}; what was in it is recorded")
        self._is_waiting = False
        return True

    async def switches(self) -> dict[str, str] | None:
        """Return what persons have switched, or None; an answer says that PostgreSQL is back."""
        if self._is_resting():
            return None
        try:
            async with asyncio.timeout(self._deadline_s):
                switches = await self._store.switches()
        except (StoreUnavailable, TimeoutError):
            self._fell()
            return None
        self._is_down = False
        if self._is_waiting:
            await self.replay()
        return switches

    def _alert(self, kind: str, text: str) -> None:
        now_ns = self._market_clock.now_ns()
        alert = AlertRaised("critical", kind, text, account=self._account, at_ns=now_ns)
        self._publish(alert)

    def _fell(self) -> None:
        self._is_down = True
        self._retry_s = self._clock.now() + _RETRY_S

    def _note(self, note: Noted) -> Batch:
        now_ns = self._market_clock.now_ns()
        return Batch(self._mint(), self._account, self._run_id, self._epoch, now_ns, (note,))

    def _is_resting(self) -> bool:
        return self._is_down and self._clock.now() < self._retry_s

    async def _write(self, batch: Batch, meanwhile: Callable[[], None] | None = None) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                if meanwhile is None:
                    await self._store.commit(batch)
                else:
                    await self._overlapped(batch, meanwhile)
        except (StoreUnavailable, TimeoutError) as error:
            self._fell()
            if isinstance(error, StoreUnavailable):
                raise
            raise StoreUnavailable(
                f"no commit in {self._deadline_s} s", deadline_s=self._deadline_s
            ) from error
        self._is_down = False

    async def _overlapped(self, batch: Batch, work: Callable[[], None]) -> None:
        """Commit; by the next turn of the loop the statement is on its way, and there is time."""
        begun = asyncio.get_running_loop().call_soon(work)
        try:
            await self._store.commit(batch)
        finally:
            begun.cancel()
