"""A process that has loaded what the launcher loads serves a vendor without loading more."""

import os
import subprocess
import sys

PROGRAM = """
import asyncio, importlib, sys
from tradebox.app.run import OPTIONAL, PRELOAD
for name in OPTIONAL:
    sys.modules[name] = None
for name in PRELOAD:
    importlib.import_module(name)
import httpx
before = set(sys.modules)

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/")).text == "ok"
        server.close()
        await server.wait_closed()
        try:
            await client.get(f"http://127.0.0.1:{port}/")
        except httpx.ConnectError:
            pass
        else:
            raise AssertionError("a closed port answered")

asyncio.run(main())
print(sorted(set(sys.modules) - before))
"""


def test_a_request_to_a_vendor_loads_no_module() -> None:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert told.stdout.strip() == "[]"
