"""Which failures forbid an automatic restart: the rule the runtime asks for each crash."""

from tradebox.errors import HaltError
from tradebox.supervision.kernel import Verdict
from tradebox.supervision.reasons import Crash, ExitReason


def verdict_of(reason: ExitReason) -> Verdict:
    """Return HALT for a crash by HaltError, also inside a group; RESTART for all else."""
    if isinstance(reason, Crash) and _halts(reason.error):
        return Verdict.HALT
    return Verdict.RESTART


def _halts(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_halts(each) for each in error.exceptions)
    return isinstance(error, HaltError)
