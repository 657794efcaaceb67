"""The broker's library tells a person's terminal nothing: what is to be said, we say."""

import subprocess
import sys

from support.run_bench import python_path

LOST = """
import asyncio
from tradebox.adapters.ibkr.orders.sliced_client import SlicedClient

class Wrapper:
    def __getattr__(self, name):
        return lambda *arguments: None

async def lose():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    client = SlicedClient(Wrapper())
    host, port = server.sockets[0].getsockname()
    await client.conn.connectAsync(host, port)
    client.connState = SlicedClient.CONNECTED
    await asyncio.sleep(0.2)  # the end of the connection is a turn or two of the loop away
    server.close()

asyncio.run(lose())
"""


def test_a_lost_connection_is_not_told_on_stderr():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOST],
        env={"PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
