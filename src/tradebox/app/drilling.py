"""Runs the broker drill against the paper account of a home, and stores what it saw.

Rules of this file:
- a live account, a live port and an account that is not empty of the symbol are refused;
- while it runs, the engine is told by a switch to leave the symbol alone.
"""

import json
import secrets
from collections.abc import Sequence
from typing import Any

from tradebox.adapters.ibkr.orders import IbOrderPort
from tradebox.adapters.ibkr.probe import QuoteProbe
from tradebox.adapters.postgres.capabilities import PgCapabilities
from tradebox.adapters.postgres.commands import PgCommands
from tradebox.adapters.postgres.pool import PgPool
from tradebox.config import Home, Settings
from tradebox.domain.capabilities import BY_NAME, gateway_build
from tradebox.domain.orders import AccountName
from tradebox.errors import ConfigInvalid, NotDone, NotRunning
from tradebox.execution.drill import DrillBench, Finding
from tradebox.execution.drill_steps import STEPS, run_steps
from tradebox.execution.identity import Identity, account_fault, address_fault
from tradebox.execution.kill_switch import drill_name
from tradebox.ports.capability_store import CapabilityRow
from tradebox.sim.home import ready_file
from tradebox.supervision.clock import MonotonicClock

ORDER_CLIENT_ID = 30
QUOTE_CLIENT_ID = 29
SETTLE_S = 2.5
"""Longer than the engine's look at its switches."""


def paper_identity(home: Home, settings: Settings) -> Identity:
    """Return the paper account of a home and where its gateway is.

    Raises:  NotRunning where the simulator has no gateway; ConfigInvalid.
    """
    if settings.profile == "sim":
        try:
            ready = json.loads(ready_file(home.sim_dir).read_bytes())
            sim_host, _colon, sim_port = str(ready["gateway_paper"]).rpartition(":")
            account = str(ready["accounts"]["paper"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NotRunning("no simulated gateway runs: start `tradebox run`") from error
        return Identity("sim", AccountName.PAPER, account, sim_host, int(sim_port))
    paper = settings.paper
    port = paper.port or 4002
    identity = Identity(settings.profile, AccountName.PAPER, paper.account, paper.host, port)
    fault = address_fault(identity)
    if fault is not None:
        raise ConfigInvalid(f"paper.port={port}: {fault}", field="paper.port", value=port)
    return identity


async def drill(
    home: Home, settings: Settings, pool: PgPool, symbol: str, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Run steps of the drill and store what they saw; return the findings."""
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        raise ConfigInvalid(f"STEP={unknown[0]}: unknown: one of {', '.join(STEPS)}")
    identity = paper_identity(home, settings)
    commands, clock = PgCommands(pool), MonotonicClock()
    assert identity.port is not None
    assert identity.account_id is not None
    port = IbOrderPort(identity.host, identity.port, ORDER_CLIENT_ID, clock)
    probe = QuoteProbe(identity.host, identity.port, QUOTE_CLIENT_ID, clock)
    switch = drill_name(AccountName.PAPER)
    await commands.switch(switch, symbol, "a drill")
    try:
        await clock.sleep(SETTLE_S)
        async with probe:
            facts: list[Any] = []
            info = await port.connect(facts.append)
            fault = account_fault(identity, info)
            if fault is not None:
                raise NotDone(f"the drill refuses this gateway: {fault}")
            instrument = await port.instrument(symbol, 5.0)
            if instrument is None:
                raise NotDone(f"{symbol}: the broker knows no such stock")
            port.close()
            bench = DrillBench(
                port,
                probe,
                instrument,
                identity.account_id,
                clock,
                secrets.token_hex(3),
                client_id=ORDER_CLIENT_ID,
            )
            bench.connected(await port.connect(bench.took))
            if await bench.position():
                raise NotDone(f"{symbol}: the account holds some already; choose another symbol")
            findings = await run_steps(bench, tuple(names or STEPS))
            build = gateway_build(info.server_version)
            rows = tuple(_row(identity.account_id, build, one) for one in findings if one.found)
            await PgCapabilities(pool).put(rows)
    finally:
        port.close()
        await commands.switch(switch, "", "the drill is over")
    return [
        {"name": one.name, "found": one.found, "proven": _proven(one), "evidence": one.evidence}
        for one in findings
    ]


def _proven(finding: Finding) -> bool:
    return finding.found in BY_NAME[finding.name].good


def _row(account_id: str, build: str, finding: Finding) -> CapabilityRow:
    return CapabilityRow(
        account_id, build, finding.name, finding.found, _proven(finding), finding.evidence
    )
