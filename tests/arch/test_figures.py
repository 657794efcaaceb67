"""The README quotes what was measured, and nothing else."""

import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PERSONAL = re.compile(r"/(home|root|tmp|work|Users)/|hostname|@")


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("bench.report")


def test_the_readme_says_what_the_newest_results_say(report):
    readme = (ROOT / "README.md").read_text()
    assert report.with_figures(readme, report.newest()) == readme, "run `make bench`"


def test_each_bench_has_a_row_and_each_row_a_bench(report):
    benches = importlib.import_module("bench.__main__").BENCHES
    assert set(report.ROWS) == set(benches)
    for name in benches:
        assert (ROOT / "bench" / f"bench_{name}.py").is_file()


def test_the_documentation_explains_each_bench(report):
    told = (ROOT / "docs" / "benchmarks.md").read_text()
    assert [name for name in report.ROWS if f"`{name}`" not in told] == []


def test_results_name_their_machine_and_nobody(report):
    results = sorted((ROOT / "bench" / "results").glob("*.json"))
    for path in results:
        assert report.NAME.fullmatch(path.name), path.name
        text = path.read_text()
        assert not PERSONAL.search(text), path.name
        result = json.loads(text)
        assert path.name == f"{result['date']}-{result['name']}.json"
        assert result["machine"]["cores"] >= 1
        assert result["versions"]["python"]
        assert len(result["measured"]["load_during"]) == 3


def test_figures_follow_the_results(report, tmp_path):
    for day, p50 in (("2026-01-02", 111.0), ("2026-01-01", 222.0)):
        measured = {
            "load_during": [0.5, 0.5, 0.5],
            "crash_to_replacement_us": {"p50": p50, "p99": 1234.5},
            "tells_per_s": 9_999,
            "asks_per_s": 1_999,
            "floor": {
                "task_turn_us": {"p50": 3.21},
                "queue_items_per_s": 20_000,
                "futures_per_s": 4_000,
            },
            "ratio_crash_to_task_turn": 34.58,
            "ratio_queue_to_tell": 2.0,
            "ratio_future_to_ask": 2.0,
        }
        box = {"cores": 2, "processor": "a processor", "memory_gb": 4.0}
        result = {"date": day, "machine": box, "measured": measured}
        (tmp_path / f"{day}-runtime.json").write_text(json.dumps(result))
    text = report.figures(report.newest(tmp_path))
    assert "on 2026-01-02: 2 cores of a processor, 4.0 GB;" in text
    row = "| actor crash → replacement ready | 111 µs | 1.24 ms |"
    assert f"{row} a bare task's first turn 3.21 µs | 34.58 |" in text
    assert "| tells | 9,000/s |" in text
    assert "222" not in text


@pytest.mark.parametrize(
    ("value_us", "text"),
    [(0.0421, "0.0421 µs"), (999.1, "1000 µs"), (1001.0, "1.01 ms"), (2_500_000, "2.50 s")],
)
def test_times_are_rounded_up(report, value_us, text):
    assert report.span_us(value_us) == text


def test_a_readme_without_its_section_is_refused(report):
    with pytest.raises(ValueError, match="no section"):
        report.with_figures("# tradebox\n", {})
