"""Points loguru at our files: one JSON line per event, and the same readable beside it.

Rules of this file:
- called once per process, after the fork, before anything logs;
- a log line is an event with fields: `logger.bind(plan_id=…, order_ref=…).info("order_sent")`;
- every line carries child, profile and, in profile sim, the word SIMULATED;
- nothing is rendered on the caller's thread but what loguru itself does.
"""

from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from loguru import logger

from tradebox.adapters.logs.redaction import Redactor
from tradebox.adapters.logs.writer import LineWriter, RotatingFile

if TYPE_CHECKING:
    from loguru import Message, Record


class LogFiles:
    """The open log files of one process."""

    def __init__(self, writers: Iterable[LineWriter], redactor: Redactor) -> None:
        self._writers = tuple(writers)
        self.redactor = redactor

    @property
    def dropped(self) -> int:
        """Lines lost to a full queue or a failing disk."""
        return sum(writer.dropped + writer.failed for writer in self._writers)

    def close(self) -> None:
        """Detach loguru and write out what is queued."""
        logger.remove()
        for writer in self._writers:
            writer.close()


def configure_logs(
    folder: Path,
    child: str,
    *,
    profile: str,
    level: str = "INFO",
    file_mb_max: float = 20,
    files_max: int = 10,
    secrets: Iterable[str] = (),
) -> LogFiles:
    """Send every log line of this process to folder/child.jsonl and folder/child.log.

    Units:   file_mb_max in MiB per file; files_max counts the current one.
    """
    redactor = Redactor(secrets)
    bytes_max = int(file_mb_max * 1024 * 1024)
    as_json = LineWriter(RotatingFile(folder / f"{child}.jsonl", bytes_max, files_max))
    as_text = LineWriter(RotatingFile(folder / f"{child}.log", bytes_max, files_max))
    fixed = {"child": child, "profile": profile}
    if profile == "sim":
        fixed["world"] = "SIMULATED"

    def sink(message: "Message") -> None:
        record = message.record
        as_json.put(lambda: _json_line(record, fixed, redactor))
        as_text.put(lambda: _text_line(record, fixed, redactor))

    logger.remove()
    logger.add(sink, level=level, format="{message}", backtrace=False, diagnose=False, catch=True)
    return LogFiles((as_json, as_text), redactor)


def _json_line(record: "Record", fixed: dict[str, str], redactor: Redactor) -> str:
    line: dict[str, Any] = {
        "at": record["time"].astimezone(UTC).isoformat(timespec="microseconds"),
        "level": record["level"].name,
        "event": redactor.text(record["message"]),
        **fixed,
        "where": f"{record['name']}:{record['line']}",
    }
    fields = redactor.value(dict(record["extra"]))
    if isinstance(fields, dict):
        line.update({name: item for name, item in fields.items() if name not in line})
    if record["exception"] is not None:
        line["error"] = redactor.text(_error_text(record))
    return orjson.dumps(line, default=str).decode()


def _text_line(record: "Record", fixed: dict[str, str], redactor: Redactor) -> str:
    at = record["time"].astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    fields = redactor.value(dict(record["extra"]))
    pairs = (
        " ".join(f"{name}={item}" for name, item in fields.items())
        if isinstance(fields, dict)
        else ""
    )
    world = f" {fixed['world']}" if "world" in fixed else ""
    event = redactor.text(record["message"])
    line = f"{at}Z {record['level'].name:<8}{world} {fixed['child']} {event} {pairs}".rstrip()
    if record["exception"] is not None:
        line += "\n" + redactor.text(_error_text(record))
    return line


def _error_text(record: "Record") -> str:
    import traceback

    error = record["exception"]
    assert error is not None
    return "".join(traceback.format_exception(error.type, error.value, error.traceback)).rstrip()
