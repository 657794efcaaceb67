"""What is kept of a death."""

from dataclasses import replace

from tradebox.supervision.postmortem import FILES_MAX, Death, describe, write_post_mortem
from tradebox.supervision.shm import LOOP_SLOT, SlotReading
from tradebox.supervision.spawn import Exit

DEATH = Death(
    generation=3,
    pid=4,
    cause="hung: loop silent for 90 ms, limit 80 ms",
    how=Exit(None, 9),
    process_state="R",
    died_ns=1_000_000_000,
    lived_s=2.5,
    slots=(SlotReading(LOOP_SLOT, 910_000_000, 80_000_000, 3),),
    stacks='File "x.py", line 1 in stuck',
    last_lines=("last word",),
)


def test_the_report_tells_all_that_is_known():
    text = describe(DEATH, {"starts": 3})
    for words in ("signal SIGKILL", "90.0 ms before", "in stuck", "last word", "starts  3"):
        assert words in text
    nothing = replace(DEATH, slots=(), stacks="", how=Exit(1, None))
    text = describe(nothing, {})
    for words in ("never", "none were written", "exit code 1"):
        assert words in text


def test_only_the_newest_are_kept(tmp_path):
    folder = tmp_path / "dead"
    for generation in range(FILES_MAX + 5):
        path = write_post_mortem(folder, "engine", replace(DEATH, generation=generation), "text")
        assert path is not None
        assert path.stat().st_mode & 0o777 == 0o600
    left = sorted(int(path.stem.rpartition("-")[2]) for path in folder.iterdir())
    assert left == list(range(5, FILES_MAX + 5))


def test_a_folder_that_cannot_be_used_costs_the_file_only(tmp_path):
    (tmp_path / "file").write_text("")
    assert write_post_mortem(tmp_path / "file" / "dead", "engine", DEATH, "text") is None
