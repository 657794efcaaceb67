"""Questions about regular trading hours, answered from session rows.

Rules of this file:
- rows are [open_ns, close_ns) of one venue, in any order; a day without a row is closed;
- "not known" is None: the caller refuses, it never guesses hours.
"""

from collections.abc import Iterable

from tradebox.domain.market import Session

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS


def session_at(sessions: Iterable[Session], now_ns: int) -> Session | None:
    """Return the session that is open now, or None."""
    for session in sessions:
        if session.open_ns <= now_ns < session.close_ns:
            return session
    return None


def last_close_ns(sessions: Iterable[Session], now_ns: int) -> int | None:
    """Return the close of the session that ended last, or None if no row says so."""
    return max((s.close_ns for s in sessions if s.close_ns <= now_ns), default=None)


def next_close_ns(sessions: Iterable[Session], now_ns: int) -> int | None:
    """Return the close of the open session, else of the next one, or None if no row says so."""
    return min((s.close_ns for s in sessions if s.close_ns > now_ns), default=None)
