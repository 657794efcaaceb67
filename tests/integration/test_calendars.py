"""The pandas worker against a real PostgreSQL."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tradebox.adapters.calendars.__main__ import main
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.reference import PgReference
from tradebox.domain.clock_map import ClockMap
from tradebox.domain.market import Session
from tradebox.errors import ExitCode
from tradebox.sim.market import hours
from tradebox.supervision.clock import MonotonicClock


def work(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tradebox.adapters.calendars", "--dsn-env", "DSN", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DSN": dsn},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


async def stored(dsn: str) -> tuple[Session, ...]:
    pool = PgPool(dsn, MonotonicClock())
    try:
        return await PgReference(pool).sessions("XNYS", 0, 2**62)
    finally:
        await pool.close()


def test_the_sessions_of_the_days_are_written_once(pg_dsn: str) -> None:
    for _ in range(2):
        done = work(pg_dsn, "--from", "2026-11-23", "--to", "2026-11-30")
        assert done.returncode == ExitCode.OK, done.stderr
        result = json.loads(done.stdout)
        assert (result["sessions"], result["early_closes"]) == (5, 1)
    rows = asyncio.run(stored(pg_dsn))
    assert [row.day for row in rows] == [
        "2026-11-23", "2026-11-24", "2026-11-25", "2026-11-27", "2026-11-30",
    ]  # fmt: skip
    assert [row.is_early_close for row in rows] == [False, False, False, True, False]
    assert rows[3].close_ns == 1_795_802_400_000_000_000
    assert result["horizon_ns"] == rows[-1].close_ns


def test_the_days_of_the_simulator_are_written_beside_the_asked_ones(
    pg_dsn: str, tmp_path: Path
) -> None:
    first = hours.session(0)
    path = tmp_path / "clock.json"
    path.write_text(ClockMap(first.open_ns, 0, 20_000_000, 0).encode())
    done = work(pg_dsn, "--from", "2026-11-23", "--to", "2026-11-23", "--clock-file", str(path))
    assert done.returncode == ExitCode.OK, done.stderr
    rows = asyncio.run(stored(pg_dsn))
    simulated = [row for row in rows if row.day < "2020"]
    assert rows[-1].day == "2026-11-23"
    assert len(simulated) > 500
    assert Session("XNYS", "2016-01-04", first.open_ns, first.close_ns) in simulated


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--from", "tomorrow"), "no day: give YYYY-MM-DD"),
        (("--from", "2026-02-01", "--to", "2026-01-01"), "lies before"),
        (("--clock-file", "/nowhere/clock.json"), "no market clock"),
        (("--dsn-env", "NOT_SET"), "NOT_SET is not set"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: tuple[str, ...],
    match: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRADEBOX_CALENDAR_DSN", "postgresql:///none")
    assert main(arguments) in (ExitCode.CONFIG, ExitCode.NOT_RUNNING)
    assert match in capsys.readouterr().err


def test_a_database_that_is_away_is_said(tmp_path: Path) -> None:
    done = work(f"postgresql://trade_rw@/tradebox?host={tmp_path}", "--from", "2026-11-23")
    assert done.returncode == ExitCode.STORE
    assert done.stdout == ""
    assert done.stderr.startswith("tradebox calendars: ")
    assert "Traceback" not in done.stderr
