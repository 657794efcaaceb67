"""When an entry passed the stations of its way to the wire, for those who look for lost time.

Rules of this file:
- a station costs one reading of the clock, whoever listens;
- what was measured is told after the bytes have left, and no decision reads it.
"""

import json
from collections.abc import Callable
from typing import Final

from tradebox.domain.events import EntrySent
from tradebox.domain.gate_checks import ENTRY_CHECKS
from tradebox.domain.orders import AccountName
from tradebox.domain.path import EnterRequest, Evidence
from tradebox.supervision.clock import Clock

_NS_PER_S: Final = 1_000_000_000


class SendTimes:
    """The stations of one entry at a time. Units: ns of the monotonic clock.

    turn_ns: the controller took the price up. asked_ns: the plan has decided. passed_ns: the
    gate has approved. committed_ns: PostgreSQL has the intent.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.turn_ns = self.asked_ns = self.passed_ns = self.committed_ns = 0

    def _now_ns(self) -> int:
        return int(self._clock.now() * _NS_PER_S)

    def turn(self) -> None:
        """Note that a price is taken up now."""
        self.turn_ns = self._now_ns()

    def asked(self) -> None:
        """Note that a plan asks for an entry now."""
        self.asked_ns = self._now_ns()

    def passed(self) -> None:
        """Note that the gate has approved it now."""
        self.passed_ns = self._now_ns()

    def committed(self) -> None:
        """Note that the intent is durable now."""
        self.committed_ns = self._now_ns()

    def tell(
        self,
        publish: Callable[[object], object],
        account: AccountName,
        order_ref: str,
        req: EnterRequest,
    ) -> None:
        """Tell of an entry whose bytes have just left."""
        evidence = req.evidence
        publish(
            EntrySent(
                account=account,
                order_ref=order_ref,
                plan_id=req.plan_id,
                symbol=req.symbol,
                socket_ns=0 if evidence is None else evidence.mono_ns,
                mailbox_ns=0 if evidence is None else evidence.mailbox_mono_ns,
                turn_ns=self.turn_ns,
                asked_ns=self.asked_ns,
                passed_ns=self.passed_ns,
                committed_ns=self.committed_ns,
                sent_ns=self._now_ns(),
            )
        )


def evidence_text(evidence: Evidence | None) -> str:
    """Return the price a decision was taken on, as JSON."""
    if evidence is None:
        return ""
    return json.dumps(
        {
            "price": str(evidence.price),
            "source": evidence.source.value,
            "quality": evidence.quality.value,
            "event_ns": evidence.event_ns,
            "checks": len(ENTRY_CHECKS),
            "mono_ns": evidence.mono_ns,
            "mailbox_mono_ns": evidence.mailbox_mono_ns,
        }
    )
