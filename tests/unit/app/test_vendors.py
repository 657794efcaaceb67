"""Which vendors are polled, by profile and keys; nothing of profile sim leaves the box."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tradebox.actors.market_hub import MarketHub
from tradebox.actors.poller import Poller
from tradebox.actors.sessions import SessionBook
from tradebox.adapters.finnhub.pair import FinnhubPair
from tradebox.adapters.finnhub.stream import FinnhubStream
from tradebox.app.vendors import (
    alphavantage_key,
    finnhub_stream,
    polled,
    secrets_of,
    yahoo_route,
)
from tradebox.config import Endpoints, Settings
from tradebox.sim.home import SimHome
from tradebox.supervision.clock import ManualClock

PAPER = {"profile": "paper", "paper": {"account": "DU1", "port": 4002}, "finnhub": {"key": "one"}}
SIM_PLACES = Endpoints(
    finnhub_ws="ws://127.0.0.1:1", alphavantage="http://127.0.0.1:2",
    yahoo="https://127.0.0.1:3", yahoo_ca="/sim/tls/ca.crt",
)  # fmt: skip


@pytest.fixture
def identity(tmp_path):
    home = SimHome(tmp_path / "sim")
    yield home.identity
    home.close()


def plant_of(tmp_path: Path, places=SIM_PLACES, speed=20.0, **settings):
    return SimpleNamespace(
        settings=Settings.model_validate(settings),
        places=places,
        home=SimpleNamespace(sim_dir=tmp_path / "sim"),
        market_clock=SimpleNamespace(speed=speed, refresh=lambda: None),
        clock=ManualClock(),
        hub=MarketHub(SimpleNamespace(speed=speed, now_ns=lambda: 0), 1),
        slot=None,
        sessions=SessionBook(),
        pool=None,
        finnhub_key=lambda: "one",
    )


def test_profile_sim_polls_its_own_stand_ins(tmp_path, identity):
    plant = plant_of(tmp_path)
    found = polled(plant)
    assert set(found) == {"alphavantage", "yahoo"}
    pollers = {name: make() for name, make in found.items()}
    assert all(isinstance(one, Poller) and one.source == name for name, one in pollers.items())
    assert yahoo_route(plant) == "3,/sim/tls/ca.crt"
    assert pollers["yahoo"]._port._worker._route == "3,/sim/tls/ca.crt"
    assert pollers["yahoo"]._rules.poll_s == 1.0, "polled as fast as its market goes"
    assert alphavantage_key(plant) == identity.alphavantage_key
    premium = plant_of(tmp_path, alphavantage={"plan": "realtime"})
    assert alphavantage_key(premium) == identity.alphavantage_premium_key


@pytest.mark.parametrize(
    "places",
    [
        Endpoints(),
        Endpoints(yahoo="https://127.0.0.1:3"),
        Endpoints(yahoo_ca="/sim/tls/ca.crt"),
    ],
)
def test_profile_sim_without_a_stand_in_polls_nobody(tmp_path, identity, places):
    assert polled(plant_of(tmp_path, places)) == {}


def test_other_profiles_poll_whom_they_have_a_key_for(tmp_path):
    alone = plant_of(tmp_path, Endpoints(), 1.0, **PAPER)
    assert set(polled(alone)) == {"yahoo"}
    assert yahoo_route(alone) == ""
    keyed = {**PAPER, "alphavantage": {"key": "two"}, "yahoo": {"enabled": False}}
    places = Endpoints(alphavantage="https://www.alphavantage.co")
    assert set(polled(plant_of(tmp_path, places, 1.0, **keyed))) == {"alphavantage"}


def test_a_second_key_makes_a_second_socket_outside_of_the_sim(tmp_path):
    two = {**PAPER, "finnhub": {"key": "one", "key_second": "two"}}
    assert isinstance(finnhub_stream(plant_of(tmp_path, Endpoints(), 1.0, **two)), FinnhubPair)
    assert isinstance(finnhub_stream(plant_of(tmp_path, Endpoints(), 1.0, **PAPER)), FinnhubStream)
    sim = {"finnhub": {"key_second": "two"}}
    assert isinstance(finnhub_stream(plant_of(tmp_path, **sim)), FinnhubStream)


def test_every_key_is_known_to_the_logs_redaction():
    settings = Settings.model_validate(
        {"finnhub": {"key": "one", "key_second": "two"}, "alphavantage": {"key": "three"}}
    )
    assert secrets_of(settings) == ["one", "two", "three"]
