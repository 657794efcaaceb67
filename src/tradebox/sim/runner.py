"""Composes the stand-in world and serves it until a signal.

Rules of this file:
- the exchange subscribes to the market first, the gateways next, the vendors last: no client can
  see a price before the exchange has acted on it;
- one JSON line on stdout says that everything listens; nothing else is printed there;
- every port is on loopback; none of them may be a real gateway's.
"""

import asyncio
import gc
import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from tradebox.config import FORBIDDEN_SIM_PORTS, Home
from tradebox.errors import ConfigInvalid, ExitCode
from tradebox.sim.alphavantage.faults import alphavantage_faults
from tradebox.sim.alphavantage.server import AlphaVantage
from tradebox.sim.calls import KeptCalls
from tradebox.sim.control.routes import Routes
from tradebox.sim.day import begin_ns, session_of
from tradebox.sim.exchange.accounts import AccountSpec
from tradebox.sim.exchange.engine import Exchange
from tradebox.sim.exchange.ledger import Ledger
from tradebox.sim.exchange.settings import ExchangeSettings
from tradebox.sim.exchange.variants import with_variants
from tradebox.sim.faults import Cues, FaultBoard, Value
from tradebox.sim.finnhub.faults import finnhub_faults
from tradebox.sim.finnhub.rest import PREFIX
from tradebox.sim.finnhub.server import FinnhubServer
from tradebox.sim.gateway.faults import Faults
from tradebox.sim.gateway.pace import PER_SECOND
from tradebox.sim.gateway.server import TwsGateway
from tradebox.sim.home import SimHome
from tradebox.sim.http import HttpServer
from tradebox.sim.market.acts import MarketActs, recall
from tradebox.sim.market.clock import SimClock
from tradebox.sim.market.data import MarketData, load
from tradebox.sim.market.market import Market
from tradebox.sim.market.more import with_symbols
from tradebox.sim.market.pump import Pump
from tradebox.sim.market.replay import Replay
from tradebox.sim.market.tape import with_tape
from tradebox.sim.script import Row, Script, read_script
from tradebox.sim.yahoo.authority import authority_file, server_context
from tradebox.sim.yahoo.faults import yahoo_faults
from tradebox.sim.yahoo.handshake import take_faults
from tradebox.sim.yahoo.server import Yahoo
from tradebox.sim.yahoo.streamer import Streamer
from tradebox.supervision.clock import Clock, MonotonicClock

HOST: Final = "127.0.0.1"
SERVERS: Final = (
    "gateway_paper",
    "gateway_live",
    "finnhub",
    "control",
    "alphavantage",
    "yahoo",
)
"""What listens, in the order of `--ports`."""

PORTS_MIN: Final = 4
"""So many must be given; those left out are any."""

CASH_USD: Final = {"paper": 1_000_000, "live": 250_000}
SPEED_MIN: Final = 0.1
SPEED_MAX: Final = 200.0


@dataclass(frozen=True, slots=True)
class SimOptions:
    """How the stand-in world runs.

    ports: one per server, 0 for any; none: those of the last time, or any.
    seed: none: the home's own.
    variants: switches of the exchange's behaviour, by name.
    script: a file of events that happen by themselves.
    symbols: so many are traded, the further ones synthetic; none: the shipped ones.
    tape: a file of recorded trades that replaces what its symbols trade.
    whole_day: 04:00 to 20:00 New York time is played, not the regular session alone.
    master_client_id: the client that hears of every client's orders; -1: none.
    day: where the market begins, YYYY-MM-DD; none: where it was, or at its first day.
    """

    home: Path
    speed: float = 20.0
    seed: int | None = None
    ports: tuple[int, ...] = ()
    as_json: bool = False
    variants: dict[str, str] = field(default_factory=dict)
    script: Path | None = None
    symbols: int | None = None
    tape: Path | None = None
    day: str | None = None
    master_client_id: int = -1
    whole_day: bool = False

    def check(self) -> None:
        """Refuse what cannot be run. Raises ConfigInvalid."""
        if self.day is not None:
            session_of(self.day)
        with_variants(ExchangeSettings(), self.variants)
        if not SPEED_MIN <= self.speed <= SPEED_MAX:
            raise ConfigInvalid(
                f"speed={self.speed} is out of range: give {SPEED_MIN} to {SPEED_MAX:g}",
                field="speed",
                value=self.speed,
            )
        if self.ports and not PORTS_MIN <= len(self.ports) <= len(SERVERS):
            raise ConfigInvalid(
                f"ports has {len(self.ports)} numbers: give {PORTS_MIN} to {len(SERVERS)}, for"
                f" {', '.join(SERVERS)}; 0 means any",
                field="ports",
                value=self.ports,
            )
        for port in self.ports:
            if not 0 <= port <= 65_535 or port in FORBIDDEN_SIM_PORTS:
                raise ConfigInvalid(
                    f"port {port} cannot be a simulator's: give 1 to 65535, but no real gateway's"
                    f" ({', '.join(map(str, sorted(FORBIDDEN_SIM_PORTS)))})",
                    field="ports",
                    value=port,
                )

        given = [port for port in self.ports if port]
        for port in given:
            if given.count(port) > 1:
                raise ConfigInvalid(
                    f"port {port} is given twice: give each server its own, or 0",
                    field="ports",
                    value=port,
                )
        for name, path in (("script", self.script), ("tape", self.tape)):
            if path is not None and not path.is_file():
                raise ConfigInvalid(
                    f"{name}={path} is no file: give the path of one", field=name, value=str(path)
                )

    def data(self) -> MarketData:
        """Return what is traded. Raises ConfigInvalid for an unusable tape or number."""
        data = load()
        if self.tape is not None:
            data = with_tape(data, self.tape)
        return data if self.symbols is None else with_symbols(data, self.symbols)


class World:
    """Everything of one simulator; it listens once started.

    Raises: HomeUnusable if the folder of the home cannot be used.
    """

    def __init__(
        self,
        home: SimHome,
        speed: float,
        ports: Sequence[int],
        settings: ExchangeSettings | None = None,
        data: MarketData | None = None,
        mono_ns: Callable[[], int] = time.monotonic_ns,
        not_before_ns: int = 0,
        *,
        whole_day: bool = False,
    ) -> None:
        assert len(ports) == len(SERVERS), ports
        timer = MonotonicClock()
        identity = home.identity
        replay = Replay(data or load(), identity.seed, is_whole=whole_day)
        ledger = Ledger(home.ledger_file, time.monotonic_ns)
        latest_ns = not_before_ns
        for row in ledger.rows():
            latest_ns = max(latest_ns, int(str(row["at_ns"])))
            recall(row, replay)
        self.home = home
        self.clock = SimClock(
            home.clock_file, speed, mono_ns, not_before_ns=latest_ns, is_whole=whole_day
        )
        self.market = Market(replay, self.clock)
        self.market.begin(self.clock.begin_ns)
        accounts = {"paper": identity.account_paper, "live": identity.account_live}
        specs = [AccountSpec(name, accounts[name], CASH_USD[name]) for name in accounts]
        self.exchange = Exchange(
            self.market, specs, ledger, identity.seed, settings, self.clock.begin_ns
        )
        gateway_faults = Faults()
        self.boards: dict[str, FaultBoard] = {
            "gateway": gateway_faults,
            "finnhub": finnhub_faults(),
            "alphavantage": alphavantage_faults(),
            "yahoo": yahoo_faults(),
            "market": MarketActs(self.market, self.exchange).board,
        }
        paper, live, finnhub, control, alphavantage, yahoo = ports
        self._open_gateways(gateway_faults, paper, live)
        self._open_vendors(timer, finnhub, alphavantage, yahoo)
        # Faults live in the time up to which everything has happened: so a script is the same
        # at any speed.
        self.cues = Cues(self.boards, lambda: self.market.present_ns)
        for gateway in self.gateways.values():
            gateway.happen = self.cues.happen
            gateway.acted_ns = lambda: self.market.present_ns
        self.script = Script(
            self.market,
            self.exchange,
            self.clock.begin_ns,
            self.set_fault,
            self.clear_fault,
            self.check_fault,
        )
        routes = Routes(self.clock, self.market, self.exchange, ledger, self.boards, self.script)
        self.control = HttpServer("control", routes, HOST, control)
        self._was_open = self.clock.is_open(self.clock.begin_ns)
        self.pump = self._make_pump(timer)
        self.addresses: dict[str, tuple[str, int]] = {}

    def _make_pump(self, timer: Clock) -> Pump:
        """Return what drives the market, stopping at each time at which something is to happen."""
        pump = Pump(self.market, self.clock, timer)
        for next_ns in (lambda: self.script.next_ns, self.cues.next_ns):
            pump.stop_at(next_ns)
        for reach in (self.exchange.on_time, self.script.run, self._cue):
            pump.on_time(reach)
        return pump

    def _open_gateways(self, gateway_faults: Faults, paper: int, live: int) -> None:
        """Make the two accounts' gateways, each on its port."""
        self.gateways = {
            f"gateway_{name}": TwsGateway(
                self.exchange,
                name,
                HOST,
                port,
                faults=gateway_faults,
                messages_per_s_max=PER_SECOND,
                keeps_time=False,
            )
            for name, port in (("paper", paper), ("live", live))
        }

    def _open_vendors(self, timer: Clock, finnhub: int, alphavantage: int, yahoo: int) -> None:
        """Make the three vendors' servers, each on its port."""
        identity, boards, market = self.home.identity, self.boards, self.market
        calls = KeptCalls(self.home.calls_file, timer.now())
        self.finnhub = FinnhubServer(
            market, identity.finnhub_key, timer, boards["finnhub"], HOST, finnhub, calls=calls
        )
        keys = identity.alphavantage_key, identity.alphavantage_premium_key
        vendor = AlphaVantage(market, *keys, boards["alphavantage"], timer.now, calls)
        self.alphavantage = HttpServer("alphavantage", vendor, HOST, alphavantage)
        charts = Yahoo(market, identity.yahoo_secret, boards["yahoo"])
        tls = server_context(self.home.tls_dir)
        take_faults(tls, self.home.tls_dir / "stranger", boards["yahoo"])
        self.streamer = Streamer(market, boards["yahoo"])
        take = self.streamer.serve
        self.yahoo = HttpServer("yahoo", charts, HOST, yahoo, tls, take_upgrade=take)

    async def start(self) -> None:
        """Listen everywhere. Raises AddressInUse."""
        self.exchange.open()
        self.exchange.on_time(self.clock.begin_ns)
        for name, gateway in self.gateways.items():
            self.addresses[name] = await gateway.start()
        self.addresses["finnhub"] = await self.finnhub.start()
        self.addresses["control"] = await self.control.start()
        self.addresses["alphavantage"] = await self.alphavantage.start()
        self.addresses["yahoo"] = await self.yahoo.start()
        self.streamer.start()
        for flush in (self.finnhub.flush, self.streamer.flush):
            self.pump.after_turn(flush)
        self.home.keep_ports(tuple(self.addresses[name][1] for name in SERVERS))

    async def stop(self) -> None:
        """Close every port and connection, and the ledger; orders rest in it."""
        await self.finnhub.stop()
        self.streamer.stop()
        for gateway in self.gateways.values():
            await gateway.stop()
        for server in (self.control, self.alphavantage, self.yahoo):
            await server.stop()
        self.exchange.close()

    def set_fault(self, name: str, arguments: dict[str, Value]) -> None:
        """Set a fault by its whole name, `board.fault`. Raises ConfigInvalid."""
        board, _, fault = name.partition(".")
        self._board(board).set(fault, **arguments)

    def clear_fault(self, name: str) -> None:
        """End a fault by its whole name. Raises ConfigInvalid."""
        board, _, fault = name.partition(".")
        self._board(board).clear(fault)

    def check_fault(self, name: str, arguments: dict[str, Value]) -> None:
        """Refuse what `set_fault` and `clear_fault` would refuse. Raises ConfigInvalid."""
        board, _, fault = name.partition(".")
        known = self._board(board)
        if fault or arguments:
            known.check(fault, **arguments)

    def _board(self, name: str) -> FaultBoard:
        if name not in self.boards:
            raise ConfigInvalid(
                f"there is no board {name!r}: give {' or '.join(self.boards)}",
                field="name",
                value=name,
            )
        return self.boards[name]

    def _cue(self, at_ns: int) -> None:
        """Let fault scripts know of the open, the close, and the time."""
        is_open = self.clock.is_open(at_ns)
        if is_open != self._was_open:
            self._was_open = is_open
            self.cues.happen("open" if is_open else "close")
        self.cues.tick()

    def ready(self) -> dict[str, object]:
        """Return the ready line: where everything is; the vendor key is in the identity file."""
        at = {name: f"{host}:{port}" for name, (host, port) in self.addresses.items()}
        identity = self.home.identity
        return {
            "gateway_paper": at["gateway_paper"],
            "gateway_live": at["gateway_live"],
            "accounts": {"paper": identity.account_paper, "live": identity.account_live},
            "finnhub": f"http://{at['finnhub']}{PREFIX}",
            "finnhub_ws": f"ws://{at['finnhub']}",
            "alphavantage": f"http://{at['alphavantage']}",
            "yahoo": f"https://{at['yahoo']}",
            "yahoo_ws": f"wss://{at['yahoo']}/?version=2",
            "yahoo_ca": str(authority_file(self.home.tls_dir)),
            "control": f"http://{at['control']}",
            "clock_file": str(self.clock.path),
            "identity_file": str(self.home.identity_file),
            "ledger_file": str(self.home.ledger_file),
            "speed": self.clock.speed,
            "seed": identity.seed,
        }


def run_sim(options: SimOptions) -> int:
    """Serve the stand-in world until SIGTERM, SIGINT or SIGHUP; return the exit code.

    Raises: ConfigInvalid, HomeUnusable or AddressInUse, before anything is printed.
    """
    options.check()
    data, rows = options.data(), read_script(options.script) if options.script else []
    home = SimHome(Home(options.home).sim_dir, options.seed)
    try:
        ports = padded(options.ports) if options.ports else free_ports(home.identity.ports)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(home, options, ports, data, rows))
    finally:
        home.close()
    return ExitCode.OK


async def _serve(
    home: SimHome, options: SimOptions, ports: Sequence[int], data: MarketData, rows: Sequence[Row]
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    settings = with_variants(ExchangeSettings(), options.variants)
    is_whole, from_ns = options.whole_day, 0
    if options.day:
        from_ns = begin_ns(options.day, home.clock_file, is_whole=is_whole)
    world = World(
        home, options.speed, ports, settings, data, not_before_ns=from_ns, whole_day=is_whole
    )
    for gateway in world.gateways.values():
        gateway.master_client_id = options.master_client_id
    try:
        world.script.add(rows)
        await world.start()
        home.say_ready(world.ready())
        # What was loaded stays: a full collection over it would hold the loop for 50 ms.
        gc.collect()
        gc.freeze()
        sys.stdout.write(ready_text(world.ready(), as_json=options.as_json))
        sys.stdout.flush()
        pump = loop.create_task(world.pump.run(), name="pump")
        ending = loop.create_task(stop.wait(), name="stop")
        await asyncio.wait((pump, ending), return_when=asyncio.FIRST_COMPLETED)
        if pump.done():
            pump.result()
        pump.cancel()
        await asyncio.wait((pump,))
    finally:
        await world.stop()


def padded(ports: Sequence[int]) -> tuple[int, ...]:
    """Return a port for each server, 0 for those that are left out."""
    return (*ports, *(0,) * (len(SERVERS) - len(ports)))


def free_ports(wanted: Sequence[int]) -> tuple[int, ...]:
    """Return the ports of the last time where they are still free, 0 for the others."""
    return tuple(port if port and _is_free(port) else 0 for port in padded(wanted[: len(SERVERS)]))


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except OSError:
            return False
    return port not in FORBIDDEN_SIM_PORTS


def ready_text(ready: dict[str, object], *, as_json: bool) -> str:
    """Return what says that the world is ready: one JSON line, or lines for a person."""
    if as_json:
        return json.dumps(ready) + "\n"
    width = max(map(len, ready))
    lines = [f"  {name:<{width}}  {value}\n" for name, value in ready.items() if value is not None]
    return "SIMULATED market, gateways and vendors are ready:\n" + "".join(lines)
