"""The day on which a simulator's market begins, as its user says it.

Rules of this file:
- the day of a home lies at or after what it has reached: market time never goes back;
- a day without a session is refused, and the next one that has one is named.
"""

from datetime import date
from pathlib import Path

from tradebox.domain.clock_map import ClockMap
from tradebox.errors import ConfigInvalid
from tradebox.sim.market import hours

LAST_DAY = date(2099, 12, 31)


def session_of(text: str) -> hours.Hours:
    """Return the session of a day, YYYY-MM-DD. Raises ConfigInvalid."""
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise _refusal(text, "is no date: give YYYY-MM-DD") from error
    if not hours.FIRST_DAY <= day <= LAST_DAY:
        raise _refusal(text, f"is out of range: give {hours.FIRST_DAY} to {LAST_DAY}")
    session = hours.session(hours.number_of(day))
    if session.day != day:
        following = hours.session(session.number + 1).day
        raise _refusal(text, f"has no session: the next one is {following}")
    return session


def begin_ns(text: str, clock_file: Path, *, is_whole: bool = False) -> int:
    """Return when a day begins that a home's market has not left behind.

    is_whole: the day begins with the trading before its session.
    Raises: ConfigInvalid for any other day.
    """
    session = session_of(text)
    first_ns = session.begin_ns(is_whole=is_whole)
    try:
        reached_ns = ClockMap.decode(clock_file.read_bytes()).end_ns()
    except (OSError, ValueError):
        # A new home, or one whose clock the simulator itself refuses next.
        return first_ns
    if reached_ns > session.end_ns(is_whole=is_whole):
        reached = hours.session_of(reached_ns, is_whole=is_whole).day
        raise _refusal(
            text,
            f"is past: the market of this home has reached {reached} and never goes back;"
            " give a later day or another --home",
        )
    return first_ns


def _refusal(text: str, why: str) -> ConfigInvalid:
    return ConfigInvalid(f"day={text} {why}", field="day", value=text)
