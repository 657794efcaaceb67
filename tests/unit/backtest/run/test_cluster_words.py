"""What Dask logs when connections end is kept from people; what else is logged is not."""

import asyncio
import logging

import pytest
from distributed.comm import core as comm

from tradebox.backtest import cluster


@pytest.fixture
def heard(caplog):
    """What passes the filters of a logger, and its level."""
    before = logging.getLogger("distributed").level
    cluster.hush()
    cluster.hush()
    yield caplog
    logging.getLogger("distributed").setLevel(before)
    for name in ("asyncio", "tornado.application"):
        filters = logging.getLogger(name).filters
        assert filters.count(cluster._ENDED) == 1
        filters.remove(cluster._ENDED)


def never_awaited(error):
    """Let a loop tell of a task that failed with nobody waiting for it."""

    async def main():
        async def fail():
            raise error

        task = asyncio.get_running_loop().create_task(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task

    asyncio.run(main())


def test_a_connection_that_ends_is_not_told(heard):
    never_awaited(comm.CommClosedError("in <TCP>: Stream is closed"))
    logging.getLogger("distributed.worker").error("Failed to communicate with scheduler")
    assert heard.text == ""


def test_any_other_fault_is_told(heard):
    never_awaited(ZeroDivisionError("ours"))
    assert "ZeroDivisionError: ours" in heard.text
