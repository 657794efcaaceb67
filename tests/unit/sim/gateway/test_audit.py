"""The ledger as the outside truth: the bytes of every order message, and what was said of it."""

import json

import pytest

from support.tws_bench import tws
from tradebox.sim.exchange.ledger import Ledger
from tradebox.sim.gateway.session import Session


def kept(path, kind):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


@pytest.mark.asyncio
async def test_every_order_message_is_kept_byte_by_byte_with_its_time(tmp_path):
    path = tmp_path / "ledger"
    async with tws(path) as bench:
        client = await bench.client()
        client.place(1, "BUY", 10, "LMT", limit="99.0", order_ref="mine")
        client.place(1, "BUY", 0, "LMT", limit="99.0")
        client.send(4, 1, 1, "")
        client.send(58, 1)
        client.send(61, 1)
        client.send(3, 2, "this is no order")
        await client.sync()
        bench.faults.set("mute_request", message_id=3)
        client.place(3, "BUY", 10, "MKT")
        client.place(4, "BUY", 10, "LMT", limit="99.0", transmit="0")
        await client.sync()
        rows = kept(path, "message")
        payloads = [bytes.fromhex(row["payload"]).decode().split("\0") for row in rows]
        assert [payload[:2] for payload in payloads] == [
            ["3", "1"], ["3", "1"], ["4", "1"], ["58", "1"], ["3", "2"], ["3", "3"], ["3", "4"],
        ]  # fmt: skip
        assert "mine" in payloads[0]
        assert [row["message_id"] for row in rows] == [3, 3, 4, 58, 3, 3, 3]
        assert {row["client_id"] for row in rows} == {1}
        times = [row["mono_ns"] for row in rows]
        assert times == sorted(times)


@pytest.mark.asyncio
async def test_an_order_is_on_disk_in_one_write_before_anything_is_said_of_it(
    tmp_path, monkeypatch
):
    path = tmp_path / "ledger"
    happened = []
    write, send = Ledger._write, Session.send

    def written(self, data):
        write(self, data)
        happened.append("disk")

    def sent(self, fields):
        happened.append(str(fields[0]))
        send(self, fields)

    async with tws(path) as bench:
        client = await bench.client()
        monkeypatch.setattr(Ledger, "_write", written)
        monkeypatch.setattr(Session, "send", sent)
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        await client.until(3, "Submitted")
        assert happened == ["disk", "5", "3"]
        rows = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
        kinds = [kind for kind in rows if kind not in ("account_opened", "day_started")]
        assert kinds == ["message", "id_used", "order_placed", "order_state"]


@pytest.mark.asyncio
async def test_every_code_about_an_order_is_kept(tmp_path):
    path = tmp_path / "ledger"
    async with tws(path) as bench:
        client = await bench.client()
        client.place(1, "BUY", 10, "LMT", limit="99.001")
        client.place(2, "BUY", 10, "LMT", limit="99.0")
        client.send(4, 1, 2, "")
        client.send(4, 1, 2, "")
        client.send(4, 1, 77, "")
        await client.sync()
        rows = kept(path, "order_code")
        said = [fields[2:4] for fields in client.messages if fields[0] == "4" and fields[2] > "0"]
        assert [[str(row["order_id"]), str(row["code"])] for row in rows] == said
        assert [row["code"] for row in rows] == [110, 202, 10148, 10147]
