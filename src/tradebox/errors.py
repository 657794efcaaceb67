"""The errors of tradebox and the exit codes they end a command with.

Rules of this file:
- the class says what the program then does; its docstring ends with "Answer: …";
- every error carries fields (ids, limits, observed), never only prose;
- refusals by our own risk or by the broker are values, not errors.

TradeboxError
├── RetryError     BrokerUnavailable · StoreUnavailable · BusUnavailable · VendorUnavailable
├── RestartError   WireInvalid · HeartbeatMissed
├── HaltError      AccountMismatch · ClientIdInUse
└── InputError     ConfigInvalid · NameAmbiguous · PlanInvalid · NotRunning · NotDone
                   · HomeUnusable · AddressInUse
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """The one table of exit codes; `tradebox --help` and docs/cli.md print it."""

    OK = 0
    FAILED = 1
    CONFIG = 2
    NOT_RUNNING = 3
    REFUSED = 4
    HOME = 5
    STORE = 6
    ADDRESS = 7
    CRASH_LOOP = 8
    VENDOR = 9


EXIT_CODE_MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done, or ended in order by Ctrl-C, SIGTERM or --for",
    ExitCode.FAILED: "a bug or an unforeseen failure; the log has the details",
    ExitCode.CONFIG: "the command line or the configuration was refused",
    ExitCode.NOT_RUNNING: "nothing runs on this home, or what was asked for does not exist",
    ExitCode.REFUSED: "a document (plan) or a request was refused; nothing was written",
    ExitCode.HOME: "the home cannot be used: taken by another run, read-only, full",
    ExitCode.STORE: "PostgreSQL or Redis: not reached, login refused, or another engine's",
    ExitCode.ADDRESS: "an address is in use or cannot be bound",
    ExitCode.CRASH_LOOP: "the engine died too often and was given up",
    ExitCode.VENDOR: "a vendor of prices or history did not answer, or refused",
}


class TradeboxError(Exception):
    """Root of every error we raise on purpose; `fields` holds what a log line needs.

    Answer: none by itself; the subclasses decide.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields


class RetryError(TradeboxError):
    """Something outside is away for now.

    Answer: this actor retries in place, bounded, with jitter.
    """


class BrokerUnavailable(RetryError):
    """The gateway does not answer or closed the connection.

    Answer: this actor retries in place, bounded, with jitter.
    """


class StoreUnavailable(RetryError):
    """PostgreSQL does not answer.

    Answer: no entries; exits, stop repairs and fills go through the local spool.
    """

    exit_code = ExitCode.STORE


class BusUnavailable(RetryError):
    """Redis does not answer.

    Answer: go on without it; nothing that decides depends on it.
    """

    exit_code = ExitCode.STORE


class VendorUnavailable(RetryError):
    """A vendor of prices gave no usable answer.

    Answer: this actor asks again later; prices age and say so meanwhile.
    """

    exit_code = ExitCode.VENDOR


class RestartError(TradeboxError):
    """The state of this actor can no longer be trusted.

    Answer: let it crash; the supervisor restarts it from the journal.
    """


class WireInvalid(RestartError):
    """A peer sent bytes that cannot be what the protocol says.

    Answer: let it crash; the supervisor reconnects from a clean state.
    """


class HeartbeatMissed(RestartError):
    """A peer stopped answering heartbeats.

    Answer: let it crash; the supervisor reconnects and reconciles.
    """


class HaltError(TradeboxError):
    """Going on could lose money.

    Answer: open no risk, leave protective stops working, alert a person; no automatic restart.
    """


class AccountMismatch(HaltError):
    """Account, gateway, port and profile do not all name the same book.

    Answer: send nothing; alert a person.
    """


class ClientIdInUse(HaltError):
    """The gateway has another session under our client id; a second id is never taken.

    Answer: send nothing; alert a person, who ends the other session or restarts the gateway.
    """


class InputError(TradeboxError):
    """A person gave something that cannot be used; the message names field, value and fix.

    Answer: refuse before anything is written, exit with the class's code.
    """

    exit_code = ExitCode.REFUSED


class ConfigInvalid(InputError):
    """A setting is unknown, of the wrong type, or impossible beside another.

    Answer: refuse to start, exit code 2.
    """

    exit_code = ExitCode.CONFIG


class NameAmbiguous(InputError):
    """A name stands for several things; the message names them, `candidates` holds them.

    Answer: do nothing, exit code 2.
    """

    exit_code = ExitCode.CONFIG


class PlanInvalid(InputError):
    """A plan document was refused.

    Answer: nothing is stored, exit code 4.
    """


class NotRunning(InputError):
    """Nothing runs on this home, or the id does not exist.

    Answer: say so, exit code 3.
    """

    exit_code = ExitCode.NOT_RUNNING


class NotDone(InputError):
    """What runs, or the machine, refused what was asked; nothing changed.

    Answer: say why, exit code 4.
    """


class HomeUnusable(InputError):
    """The home is taken, read-only, full, or cannot be traversed.

    Answer: refuse to start, exit code 5.
    """

    exit_code = ExitCode.HOME


class AddressInUse(InputError):
    """A port that was asked for is taken.

    Answer: refuse to start, exit code 7.
    """

    exit_code = ExitCode.ADDRESS
