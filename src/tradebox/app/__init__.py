"""The composition root: picks adapters, writes the child specs, runs the launcher."""

from tradebox.app.options import RunOptions
from tradebox.app.run import run

__all__ = ["RunOptions", "run"]
