"""Profiles paper and live from an empty database: nothing that profile sim seeds is needed.

Rules of this file:
- the gateway, the vendors and the day are a `tradebox sim` of its own, reached by configuration
  alone; the clock is the only thing that is not the real one.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.integration.test_sim_process import running

from support.books import account, settled
from support.run_bench import Bench, bench, python_path

PLAN = """
symbol = "SPY"
side = "long"
size = { quantity = 5 }
entry = { type = "market", valid_until = 300 }
stop = { atr_multiple = 3 }
"""
IDENTITY = {
    "account_paper": "DU1234567",
    "account_live": "U7654321",
    "finnhub_key": "0123456789abcdef0123",
    "seed": 1,
    "ports": [],
}
SHIFTED = str(Path(__file__).parents[2] / "support" / "shifted")


@contextmanager
def stand_in(box: Bench) -> Iterator[dict[str, str]]:
    """Run the world beside; yield the settings that lead to it."""
    folder = box.home / "sim"
    folder.mkdir(parents=True)
    (folder / "identity.json").write_text(json.dumps(IDENTITY))
    with running(box.home, "--speed", "20") as (_, ready):
        places = {name: str(ready[f"gateway_{name}"]).rpartition(":") for name in ("paper", "live")}
        yield {
            "PYTHONPATH": os.pathsep.join([SHIFTED, python_path()]),
            "SHIFTED_CLOCK_FILE": str(folder / "clock.json"),
            "TRADEBOX_FINNHUB_KEY": IDENTITY["finnhub_key"],
            "TRADEBOX_FINNHUB_REST_URL": ready["finnhub"],
            "TRADEBOX_FINNHUB_WS_URL": ready["finnhub_ws"],
            "TRADEBOX_YAHOO_ENABLED": "false",
            "TRADEBOX_PAPER_ACCOUNT": IDENTITY["account_paper"],
            "TRADEBOX_PAPER_HOST": places["paper"][0],
            "TRADEBOX_PAPER_PORT": places["paper"][2],
            "TRADEBOX_LIVE_ENABLED": "true",
            "TRADEBOX_LIVE_ACCOUNT": IDENTITY["account_live"],
            "TRADEBOX_LIVE_CONFIRM": IDENTITY["account_live"],
            "TRADEBOX_LIVE_HOST": places["live"][0],
            "TRADEBOX_LIVE_PORT": places["live"][2],
        }


ARGUMENTS = {"paper": (), "live": ("--live-account", IDENTITY["account_live"])}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("profile", ["paper", "live"])
def test_a_plan_is_entered_and_covered_without_any_seed(profile: str) -> None:
    with bench() as box, stand_in(box) as world:
        settings = {**world, "TRADEBOX_PROFILE": profile}
        run = box.run(*ARGUMENTS[profile], **settings).ready()
        run.wait_event("LinkChanged", account=profile, state="CLEAN")
        file = box.folder / "plan.toml"
        file.write_text(PLAN)
        added = box.json("plan", "add", str(file), "--account", profile, **settings)
        run.wait_event("PlanStepTaken", plan_id=added["plan_id"], kind="entry")
        settled(box, "the entry")
        held = {name: account(box, name)["positions"] for name in ("paper", "live")}
        assert [row["quantity"] for row in held.pop(profile)] == [5]
        assert list(held.values()) == [[]]
        run.stop()
