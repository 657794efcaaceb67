"""Redis is disposable: dead for a minute or flushed, the decisions stay the same to the tick."""

import asyncio

import orjson
import pytest

from support.decisions import SYMBOLS, DecisionWorld
from support.finnhub_double import eventually
from support.stores import SETTINGS, redis_command
from tradebox.adapters.embedded import valkey
from tradebox.adapters.embedded.addresses import redis_url
from tradebox.adapters.embedded.secrets import Login
from tradebox.adapters.redis.client import make_client

SEED, MINUTES = 7, 12


async def played(home, disturb=None):
    """Return the decisions of one run and its world; `disturb` acts on it at two thirds."""
    world = DecisionWorld(redis_url(home, SETTINGS, Login.REDIS_ENGINE), SEED, MINUTES)
    await world.start()
    try:
        third = len(world.ticks) // 3
        await world.play(0, third)
        if disturb is None:
            await world.play(third, 3 * third)
        else:
            await disturb(world, third)
        gate = world.gate
        await eventually(lambda: gate.outbox.committed == gate.outbox.admitted)
        return world.decisions(), world, await shown(home)
    finally:
        await world.stop()


async def shown(home):
    """What the bus says of each symbol: price and event time."""
    client = make_client(redis_url(home, SETTINGS, Login.REDIS_ENGINE))
    try:
        found = await client.mget([f"md:q:{symbol}" for symbol in SYMBOLS])
    finally:
        await client.aclose()
    return [None if one is None else (orjson.loads(one)["p"], orjson.loads(one)["e"])
            for one in found]  # fmt: skip


@pytest.mark.asyncio
async def test_decisions_are_the_same_with_redis_dead_for_a_minute_and_flushed(home):
    valkey.start(home, 64)
    undisturbed, quiet, prices = await played(home)
    kinds = {kind for _, kind, _, _ in undisturbed}
    assert {"entry", "break_even", "scale_out"} <= kinds, "there is something to decide"
    assert len(undisturbed) > 20

    async def kill(world, third):
        """Dead from one third on, for well over a minute of the market's time."""
        valkey.stop(home)
        began_ns = world.market.now_ns()
        await world.play(third, 2 * third)
        assert world.market.now_ns() - began_ns > 60e9
        await eventually(lambda: world.publisher.failures >= 2)
        assert not world.publisher.is_up
        await asyncio.to_thread(valkey.start, home, 64)
        await world.play(2 * third, 3 * third)

    redis_command(home, "FLUSHALL")
    without, killed, after_kill = await played(home, kill)
    assert without == undisturbed
    assert killed.gate.outbox.conflated > quiet.gate.outbox.conflated

    async def flush(world, third):
        await world.play(third, 2 * third)
        redis_command(home, "FLUSHALL")
        await world.play(2 * third, 3 * third)

    redis_command(home, "FLUSHALL")
    flushed, _, after_flush = await played(home, flush)
    assert flushed == undisturbed
    assert prices == after_kill == after_flush, "what watchers see in the end"
    assert None not in prices


@pytest.mark.asyncio
async def test_another_seed_decides_otherwise(home):
    valkey.start(home, 64)
    redis = redis_url(home, SETTINGS, Login.REDIS_ENGINE)
    found = []
    for seed in (SEED, SEED + 1):
        world = DecisionWorld(redis, seed, 4)
        await world.start()
        try:
            await world.play(0, len(world.ticks))
            found.append(world.decisions())
        finally:
            await world.stop()
        redis_command(home, "FLUSHALL")
    assert found[0] != found[1]
