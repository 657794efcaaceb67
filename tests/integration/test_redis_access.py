"""What each Redis user may do, and what the client makes of failures."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from tradebox.adapters.redis.bus import RedisBus
from tradebox.adapters.redis.client import make_client, mapped
from tradebox.errors import BusUnavailable, ConfigInvalid, ExitCode

CONSOLE_FORBIDDEN = [
    ("SET", "md:q:SPY", "1"),
    ("DEL", "md:q:SPY"),
    ("EXPIRE", "md:q:SPY", "1"),
    ("GETDEL", "md:q:SPY"),
    ("HSET", "rm:v1:header", "a", "b"),
    ("GET", "other"),
    ("MGET", "md:q:SPY", "other"),
    ("PUBLISH", "md:t", "x"),
    ("PUBLISH", "rm:v1", "x"),
    ("SUBSCRIBE", "other"),
    ("PSUBSCRIBE", "*"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("RANDOMKEY",),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "console", "+@all"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "LIST"),
    ("CLIENT", "PAUSE", "1"),
    ("SHUTDOWN", "NOSAVE"),
    ("DEBUG", "SLEEP", "0"),
    ("EVAL", "return 1", "0"),
    ("SCRIPT", "LOAD", "return 1"),
    ("FUNCTION", "LIST"),
    ("SAVE",),
    ("REPLICAOF", "NO", "ONE"),
    ("MONITOR",),
]
ENGINE_FORBIDDEN = [
    ("SET", "other", "1"),
    ("GET", "other"),
    ("PUBLISH", "other", "x"),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("KEYS", "*"),
    ("CONFIG", "GET", "*"),
    ("ACL", "SETUSER", "engine", "+@all"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("SHUTDOWN", "NOSAVE"),
    ("DEBUG", "SLEEP", "0"),
    ("MODULE", "LIST"),
]


async def allowed(client, commands):
    """Return those commands that were not refused for lack of rights."""
    passed = []
    for command in commands:
        try:
            await client.execute_command(*command)
        except NoPermissionError:
            continue
        except ResponseError as error:
            if "unknown command" not in str(error) and "not allowed" not in str(error):
                passed.append((command, str(error)))
        else:
            passed.append((command, "done"))
    return passed


@pytest.mark.asyncio
async def test_console_reads_its_keys_and_channels_and_nothing_else(redis_url, redis_console_url):
    async with make_client(redis_url) as engine, make_client(redis_console_url) as console:
        await engine.set("md:q:SPY", "1", px=60_000)
        await engine.set("rm:v1:header", "2", px=60_000)
        assert await console.mget("md:q:SPY", "rm:v1:header") == [b"1", b"2"]
        async with console.pubsub() as listener:
            await listener.subscribe("md:t", "rm:v1")
            for _ in range(2):
                await listener.get_message(timeout=5)
            await engine.publish("rm:v1", "row")
            message = await listener.get_message(timeout=5)
            assert message["data"] == b"row"
        assert await allowed(console, CONSOLE_FORBIDDEN) == []
        assert await engine.get("md:q:SPY") == b"1"


@pytest.mark.asyncio
async def test_engine_writes_its_keys_and_may_not_administer(redis_url):
    async with make_client(redis_url) as engine:
        script = (
            "redis.call('SET', KEYS[1], ARGV[1], 'PX', 1000)"
            " return redis.call('PUBLISH', 'md:t', 1)"
        )
        assert await engine.eval(script, 1, "md:q:SPY", "x") == 0
        loaded = await engine.script_load(script)
        assert await engine.evalsha(loaded, 1, "md:q:SPY", "y") == 0
        assert "valkey_version" in await engine.info("server")
        assert await allowed(engine, ENGINE_FORBIDDEN) == []
        with pytest.raises(ResponseError):
            await engine.eval("return redis.call('SET', KEYS[1], '1')", 1, "other")


@pytest.mark.asyncio
@pytest.mark.parametrize("user", ["engine", "console", "owner", "default"])
@pytest.mark.parametrize("secret", ["", "wrong"])
async def test_no_login_without_its_password(redis_url, user, secret):
    at = redis_url.split("@", 1)[1]
    async with Redis.from_url(f"unix://{user}:{secret}@{at}", protocol=3) as client:
        with pytest.raises(RedisError):
            await client.get("md:q:SPY")


@pytest.mark.asyncio
async def test_without_any_login_only_ping_answers(redis_url):
    more = [("GET", "md:q:SPY"), ("INFO",), ("ECHO", "x"), ("CLIENT", "ID")]
    async with Redis.from_url(f"unix://{redis_url.split('@', 1)[1]}", protocol=2) as client:
        assert await client.execute_command("PING")
        assert await allowed(client, [*CONSOLE_FORBIDDEN, *more]) == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "url",
    [
        "unix://engine:hunter2@/nonexistent/valkey.sock",
        "redis://engine:hunter2@127.0.0.1:1/0",
    ],
)
async def test_an_absent_redis_is_named_without_its_password(url):
    bus = RedisBus(url)
    with pytest.raises(BusUnavailable) as caught:
        await bus.probe()
    assert caught.value.exit_code is ExitCode.STORE
    assert "hunter2" not in str(caught.value) + str(caught.value.fields)
    await bus.close()


@pytest.mark.asyncio
async def test_a_wrong_password_is_bus_unavailable(redis_url):
    bus = RedisBus(redis_url.replace("engine:", "engine:x"))
    with pytest.raises(BusUnavailable):
        await bus.probe()
    await bus.close()


@pytest.mark.asyncio
async def test_a_wrong_command_is_not_an_outage(redis_url):
    bus = RedisBus(redis_url)
    with pytest.raises(NoPermissionError), bus.client() as redis:
        await redis.set("other", "1")
    with bus.client() as redis:
        await redis.set("md:q:SPY", "1", px=1000)
    assert bus.is_up
    with pytest.raises(ZeroDivisionError), mapped(redis_url):
        _ = 1 / 0
    await bus.close()


@pytest.mark.parametrize("url", ["http://x", "nonsense", "redis://h:port/0"])
def test_a_malformed_url_is_a_configuration_error(url):
    with pytest.raises(ConfigInvalid, match=r"redis\.url") as caught:
        make_client(url)
    assert caught.value.exit_code is ExitCode.CONFIG
