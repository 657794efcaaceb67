"""The spool keeps what it acknowledged, whatever happens to the end of its file."""

import asyncio
import os
import random
import resource
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.stores import make_home
from tradebox.adapters.spool import Spool
from tradebox.config import Home
from tradebox.errors import ExitCode, HomeUnusable

RECORDS = st.lists(st.binary(max_size=80), max_size=12)


@pytest.fixture(scope="module")
def place():
    home = make_home()
    yield home.root
    shutil.rmtree(home.root)


def fresh(place):
    return Home(Path(tempfile.mkdtemp(dir=place)))


def filled(home, records):
    """Return a closed spool that holds the records; it opens again when it is used."""
    spool = Spool(home, "paper")
    spool.pending()
    for record in records:
        spool.append(record)
    spool.close()
    return spool


def stored(home):
    """Return what a restarted process would find."""
    spool = Spool(home, "paper")
    try:
        return spool.pending()
    finally:
        spool.close()


@given(records=RECORDS)
@settings(max_examples=60, deadline=None)
def test_pending_is_what_was_appended_in_order_after_a_restart(place, records):
    home = fresh(place)
    filled(home, records)
    assert stored(home) == tuple(records)


@given(records=RECORDS, cut=st.integers(0, 3000), more=st.binary(max_size=20))
@settings(max_examples=120, deadline=None)
def test_a_file_cut_anywhere_keeps_its_whole_records_and_takes_more(place, records, cut, more):
    home = fresh(place)
    spool = filled(home, records)
    content = spool.path.read_bytes()[:cut]
    spool.path.write_bytes(content)
    whole = content.count(b"\n")
    again = Spool(home, "paper")
    assert again.pending() == tuple(records[:whole])
    assert again.damaged == 0
    again.append(more)
    again.close()
    assert stored(home) == (*records[:whole], more)


@given(records=st.lists(st.binary(max_size=30), min_size=1, max_size=8), data=st.data())
@settings(max_examples=120, deadline=None)
def test_a_changed_byte_loses_at_most_its_own_lines_and_never_invents_one(place, records, data):
    home = fresh(place)
    spool = filled(home, records)
    content = bytearray(spool.path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    spool.path.write_bytes(bytes(content))
    again = Spool(home, "paper")
    found = list(again.pending())
    left = list(records)
    for record in found:
        assert record in left, "an invented record"
        left = left[left.index(record) + 1 :]
    assert len(records) - len(found) <= 2
    if again.damaged:
        assert again.path.with_suffix(".damaged").stat().st_size > 0
    again.append(b"next")
    assert again.pending()[-1] == b"next"
    again.close()


@given(records=RECORDS, fails_at=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_replay_that_fails_keeps_all_and_one_that_succeeds_forgets_all(place, records, fails_at):
    home = fresh(place)
    spool = filled(home, records)
    seen = []

    async def commit(record):
        if len(seen) == fails_at:
            raise ConnectionError("away again")
        seen.append(record)

    async def keep(record):
        seen.append(record)

    if fails_at < len(records):
        with pytest.raises(ConnectionError):
            asyncio.run(spool.replay(commit))
        assert seen == records[:fails_at]
        spool.close()
        assert stored(home) == tuple(records)
        seen.clear()
    assert asyncio.run(spool.replay(keep)) == len(records)
    assert seen == records
    spool.close()
    assert stored(home) == ()
    spool.append(b"later")
    spool.close()
    assert stored(home) == (b"later",)


def test_records_appended_during_a_replay_are_replayed_too(place):
    spool = filled(fresh(place), [b"1", b"2"])
    seen = []

    async def commit(record):
        seen.append(record)
        if len(seen) < 4:
            spool.append(str(len(seen) + 2).encode())

    assert asyncio.run(spool.replay(commit)) == 5
    assert seen == [b"1", b"2", b"3", b"4", b"5"]
    assert spool.pending() == ()
    spool.close()


def test_a_full_disk_refuses_and_leaves_no_half_record(place):
    home = fresh(place)
    spool = filled(home, [b"kept"])
    before = spool.path.read_bytes()
    assert spool.pending() == (b"kept",)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
        with pytest.raises(HomeUnusable, match="cannot be written") as caught:
            spool.append(b"too much" * 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.exit_code is ExitCode.HOME
    assert spool.path.read_bytes() == before
    spool.append(b"fits again")
    spool.close()
    assert stored(home) == (b"kept", b"fits again")


def test_a_killed_writer_loses_nothing_it_acknowledged(place):
    home = fresh(place)
    for turn in range(3):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            spool, number = Spool(home, "paper"), 0
            while True:
                spool.append(f"{turn}-{number}".encode())
                os.write(writer, b"x")
                number += 1
        os.close(writer)
        wanted = random.Random(turn).randint(1, 40)
        acknowledged = 0
        while acknowledged < wanted:
            acknowledged += len(os.read(reader, wanted - acknowledged))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while rest := os.read(reader, 4096):
            acknowledged += len(rest)
        os.close(reader)
        mine = [r for r in stored(home) if r.startswith(b"%d-" % turn)]
        assert mine[:acknowledged] == [b"%d-%d" % (turn, n) for n in range(acknowledged)]
        assert len(mine) - acknowledged in {0, 1}


def test_two_accounts_never_share_a_file_and_files_are_private(place):
    home = fresh(place)
    paper, live = Spool(home, "paper"), Spool(home, "live")
    paper.append(b"p")
    assert live.pending() == ()
    live.close()
    paper.close()
    assert paper.path != live.path
    assert paper.path.stat().st_mode & 0o777 == 0o600
    assert home.spool_dir.stat().st_mode & 0o777 == 0o700
