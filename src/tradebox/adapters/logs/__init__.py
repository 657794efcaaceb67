"""Log files by loguru: JSON lines for machines, a readable form for people."""

from tradebox.adapters.logs.redaction import Redactor
from tradebox.adapters.logs.setup import LogFiles, configure_logs

__all__ = ["LogFiles", "Redactor", "configure_logs"]
