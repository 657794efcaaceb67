"""The worker's owner: late, dead and babbling processes cost a wish, never the caller."""

import asyncio
import os
import sys

import pytest

from support.finnhub_double import eventually
from tradebox.adapters.yahoo.quotes import YahooQuotes
from tradebox.adapters.yahoo.worker import YahooWorker
from tradebox.domain.market import Source
from tradebox.errors import VendorUnavailable
from tradebox.ports.ticks import NoQuote, NoQuoteReason, Quote, QuotePort
from tradebox.supervision.clock import MonotonicClock

HEAD = "import json, os, sys, time\ndef say(x): print(json.dumps(x), flush=True)\n"
READY = HEAD + "say({'ready': True, 'folder': ''})\n"
LOOP = READY + "for line in sys.stdin:\n    wish = json.loads(line)\n    "
ECHO = LOOP + "say({'id': wish['id'], 'ok': {'said': wish['do'], 'pid': os.getpid()}})"


def worker(script, **fields):
    return YahooWorker(MonotonicClock(), command=(sys.executable, "-c", script), **fields)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.asyncio
async def test_one_process_answers_wish_after_wish():
    one = worker(ECHO)
    try:
        told = [await one.ask(do=str(number)) for number in range(3)]
    finally:
        await one.close()
    assert [each["said"] for each in told] == ["0", "1", "2"]
    assert len({each["pid"] for each in told}) == 1
    assert one.started == 1
    assert not is_alive(told[0]["pid"])


@pytest.mark.asyncio
async def test_a_process_that_does_not_answer_is_killed_and_the_next_wish_has_a_fresh_one(tmp_path):
    flag = tmp_path / "hang"
    flag.touch()
    hang = LOOP + (
        f"time.sleep(3600 if os.path.exists({str(flag)!r}) else 0)\n"
        "    say({'id': wish['id'], 'ok': {'said': 'fine'}})"
    )
    one = worker(hang, answer_s_max=0.2)
    try:
        with pytest.raises(VendorUnavailable, match=r"no answer within 0.2 s: killed"):
            await one.ask(do="quote")
        assert one.killed == 1
        assert one.pid is None
        flag.unlink()
        one._answer_s_max = 30.0
        assert await one.ask(do="quote") == {"said": "fine"}
        assert one.started == 2
    finally:
        await one.close()


@pytest.mark.asyncio
async def test_a_process_that_keeps_dying_is_started_again_more_and_more_slowly():
    one = worker(READY + "sys.stdin.readline()")
    for _ in range(2):
        with pytest.raises(VendorUnavailable, match="ended"):
            await one.ask(do="quote")
    with pytest.raises(VendorUnavailable, match="started again in"):
        await one.ask(do="quote")
    assert one.started == 2
    await one.close()


@pytest.mark.parametrize(
    "script",
    [
        "raise SystemExit(1)",
        "print('no json', flush=True)",
        READY + "sys.stdin.readline(); print('[]', flush=True)",
        READY + "sys.stdin.readline(); say({'id': 7, 'ok': {}})",
        READY + "sys.stdin.readline(); say({'id': 1, 'ok': None})",
        READY + "sys.stdin.readline(); print('x' * (1 << 25), flush=True)",
        "/no/such/program",
    ],
)
@pytest.mark.asyncio
async def test_whatever_it_says_instead_is_the_vendors_fault(script):
    one = worker(script)
    with pytest.raises(VendorUnavailable):
        await one.ask(do="quote", symbol="AAPL")
    await one.close()


@pytest.mark.asyncio
async def test_a_wish_that_is_given_up_leaves_no_process_and_no_folder(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    hello = HEAD + f"say({{'ready': True, 'folder': {str(folder)!r}}})\n"
    one = worker(LOOP.replace(READY, hello) + "time.sleep(3600)")
    asking = asyncio.ensure_future(one.ask(do="quote"))
    await eventually(lambda: one._folder)
    pid = one.pid
    asking.cancel()
    await asyncio.sleep(0)
    asking.cancel()  # whoever ends it does not wait until it has ended
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not folder.exists()
    await eventually(lambda: not is_alive(pid))
    await one.close()


class Told:
    """A worker that has its answers given."""

    def __init__(self, answer):
        self.answer = answer
        self.is_closed = False

    async def ask(self, **wish):
        self.wish = wish
        return self.answer

    async def close(self):
        self.is_closed = True


GOOD = {"price": "261.74", "previous": "259.45", "at_s": 1_582_641_000, "delay_s": 0}


@pytest.mark.parametrize(
    ("answer", "quote"),
    [
        (GOOD, Quote("AAPL", 261_740_000, 259_450_000, 1_582_641_000 * 10**9)),
        (
            {**GOOD, "delay_s": 900, "previous": ""},
            Quote("AAPL", 261_740_000, 0, 1_582_641_000 * 10**9, delay_s=900),
        ),
        ({"no": "empty", "said": "x"}, NoQuote("AAPL", NoQuoteReason.EMPTY)),
        ({"no": "throttled", "said": "x"}, NoQuote("AAPL", NoQuoteReason.THROTTLED, 60.0)),
    ],
)
@pytest.mark.asyncio
async def test_what_the_worker_tells_is_a_quote_or_a_reason(answer, quote):
    port = YahooQuotes(Told(answer))
    assert isinstance(port, QuotePort)
    assert port.source is Source.YAHOO
    assert await port.quote("AAPL") == quote
    await port.close()
    assert port._worker.is_closed


@pytest.mark.parametrize(
    "answer",
    [
        {"no": "failed", "said": "down"},
        {**GOOD, "price": "nan"},
        {**GOOD, "price": "0"},
        {**GOOD, "at_s": None},
        {**GOOD, "delay_s": "15"},
    ],
)
@pytest.mark.asyncio
async def test_no_usable_answer_is_a_fault(answer):
    with pytest.raises(VendorUnavailable):
        await YahooQuotes(Told(answer)).quote("AAPL")
