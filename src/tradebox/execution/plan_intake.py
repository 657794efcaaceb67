"""What stands behind `tradebox plan add`: a document is read, checked, and stored as a request.

Rules of this file:
- everything is checked before anything is written; a refusal leaves nothing behind;
- the controller checks again when it arms the plan: the market may have moved on.
"""

from typing import Final

from tradebox.domain.orders import AccountName
from tradebox.domain.plan_check import PlanContext, check_alone, check_plan
from tradebox.domain.plan_document import parse_document
from tradebox.execution.plan_arming import FindInstrument, known_instrument
from tradebox.ports.plan_store import PlanStore
from tradebox.ports.reference import ReferencePort

VENUE: Final = "XNYS"
SESSIONS_AHEAD_NS: Final = 400 * 86_400 * 1_000_000_000


async def add_plan(
    text: bytes | str,
    account: AccountName,
    store: PlanStore,
    reference: ReferencePort,
    *,
    now_ns: int,
    author: str,
    find: FindInstrument | None = None,
) -> str:
    """Return the id of a plan made of a TOML or JSON document.

    Units:   now_ns is market time.
    Raises:  PlanInvalid with field, value and fix; StoreUnavailable.
    """
    document = parse_document(text)
    check_alone(document)
    instrument = await known_instrument(reference, document.symbol, find)
    sessions = await reference.sessions(VENUE, now_ns, now_ns + SESSIONS_AHEAD_NS)
    check_plan(document, PlanContext(instrument, now_ns, sessions))
    return await store.request_plan(document, account, now_ns=now_ns, author=author)
