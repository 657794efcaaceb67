import threading
import traceback

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from tradebox.adapters.logs import Redactor, configure_logs
from tradebox.adapters.logs.writer import LineWriter, RotatingFile


@pytest.fixture
def log_files(tmp_path):
    files = configure_logs(tmp_path, "engine", profile="sim", secrets=["hunter2-secret"])
    yield files
    files.close()


def lines_of(path):
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_a_line_is_an_event_with_its_ids_and_says_simulated(tmp_path, log_files):
    logger.bind(plan_id="p1", order_ref="r1", epoch=7).info("order_sent")
    log_files.close()
    (line,) = lines_of(tmp_path / "engine.jsonl")
    assert (line["event"], line["plan_id"], line["order_ref"]) == ("order_sent", "p1", "r1")
    assert (line["epoch"], line["child"], line["world"]) == (7, "engine", "SIMULATED")
    assert "SIMULATED engine order_sent plan_id=p1" in (tmp_path / "engine.log").read_text()


def test_secrets_are_masked_by_value_by_key_and_in_exceptions(tmp_path, log_files):
    logger.bind(note="xx hunter2-secret yy", api_key="short", deep={"password": "p"}).info("a")
    logger.info("postgresql://me:unknown-pass@box/db wss://ws?token=abc123")
    try:
        raise ValueError("hunter2-secret broke")
    except ValueError:
        logger.exception("failed")
    log_files.close()
    for name in ("engine.jsonl", "engine.log"):
        text = (tmp_path / name).read_text()
        for secret in ("hunter2-secret", "short", "unknown-pass", "abc123"):
            assert secret not in text
        assert "ValueError" in text


@given(st.text(min_size=6, max_size=30), st.text(max_size=40), st.text(max_size=40))
def test_no_registered_value_survives(secret, before, after):
    shown = Redactor([secret]).text(before + secret + after)
    assert secret not in shown or secret in "***"


def test_the_folder_stays_under_its_cap(tmp_path):
    file = RotatingFile(tmp_path / "x.log", bytes_max=1000, files_max=3)
    for number in range(500):
        file.write(f"line {number:04d} {'x' * 40}")
    file.close()
    sizes = sorted((p.name, p.stat().st_size) for p in tmp_path.iterdir())
    assert [name for name, _ in sizes] == ["x.log", "x.log.1", "x.log.2"]
    assert all(size <= 1000 for _, size in sizes)
    assert (tmp_path / "x.log").stat().st_mode & 0o777 == 0o600
    assert "line 0499" in (tmp_path / "x.log").read_text()


def test_a_stuck_disk_blocks_nobody_and_drops_are_counted(tmp_path):
    stuck = threading.Event()
    file = RotatingFile(tmp_path / "x.log", 10_000, 2)
    writer = LineWriter(file, lines_max=10)

    def first():
        stuck.wait(10)
        return "first"

    writer.put(first)
    for number in range(100):
        writer.put(lambda number=number: f"line {number}")
    assert writer.dropped >= 80
    stuck.set()
    assert writer.close(10)
    text = (tmp_path / "x.log").read_text()
    assert "line 99" in text
    assert "log_lines_dropped" in text


def test_a_full_disk_never_raises_into_the_program(tmp_path):
    writer = LineWriter(RotatingFile(tmp_path / "no" / "x.log", 10_000, 2))
    (tmp_path / "no").write_text("a file where the folder should be")
    try:
        writer.put(lambda: "lost")
    except OSError:
        pytest.fail(traceback.format_exc())
    assert writer.close(10)
    assert writer.failed >= 1
