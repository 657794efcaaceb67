"""What the command line adds to the settings of a run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run. run_s counts from READY; None runs until asked to stop."""

    run_s: float | None = None
    console: bool = False
    as_json: bool = False
    live_account: str = ""
    """The live account's number as a person typed it at this start."""
