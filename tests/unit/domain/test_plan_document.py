"""Plan documents: what is read, and every refusal with its field and fix."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tradebox.domain.market import Instrument, Session
from tradebox.domain.plan_check import PlanContext, check_plan, instant_ns
from tradebox.domain.plan_document import DOCUMENT_BYTES_MAX, document_from, parse_document
from tradebox.errors import ExitCode, PlanInvalid

NOW_NS = 1_451_917_800_000_000_000  # 2016-01-04T14:30:00Z
HOUR_NS = 3600 * 10**9
CONTEXT = PlanContext(
    Instrument("AAPL", 1, "NASDAQ", "USD", Decimal("0.01"), "Apple"),
    NOW_NS,
    (Session("XNYS", "2016-01-04", NOW_NS - HOUR_NS, NOW_NS + 5 * HOUR_NS),),
)
TOML = """
symbol = "AAPL"
side = "long"

[size]
risk_share_of_nlv = 0.005

[entry]
type = "limit"
price = 187.20
valid_until = 2016-01-04T18:00:00Z

[stop]
price = 185.00

[[steps]]
at = { r = 0.5 }
move_stop = { to = "break_even" }

[[steps]]
at = { price = 189.40 }
take = { fraction = 0.5 }

[[steps]]
at = { r = 1.5 }
trail = { atr_multiple = 2, atr_period = 14, interval_s = 60 }

[time_exit]
session_close = true
"""


def plan(**changes: object) -> dict[str, object]:
    values: dict[str, object] = {
        "symbol": "AAPL",
        "side": "long",
        "size": {"quantity": 10},
        "entry": {"type": "limit", "price": "100"},
        "stop": {"price": "99"},
        "steps": [{"at": {"r": "1"}, "take": {"fraction": "0.5"}}],
    } | changes
    return {key: value for key, value in values.items() if value is not None}


def step(at: object, **action: object) -> dict[str, object]:
    return {"at": at, **action}


HALF = {"fraction": "0.5"}


def test_toml_and_json_say_the_same():
    read = parse_document(TOML)
    check_plan(read, CONTEXT)
    assert read.entry.price == Decimal("187.20")
    assert read.atr_keys == {(14, 60)}
    again = parse_document(json.dumps(read.to_json()))
    assert again == read
    assert document_from(read.to_json()) == read
    assert parse_document(b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode()) == read


def test_a_refusal_is_an_input_error_with_exit_code_4():
    with pytest.raises(PlanInvalid) as caught:
        parse_document("symbol = 1")
    assert caught.value.exit_code is ExitCode.REFUSED
    assert {"field", "value", "fix"} <= caught.value.fields.keys()


MARKET = {"type": "market"}
REFUSED = [
    ("unknown key", plan(colour="red"), "colour", "remove it"),
    ("unknown inner key", plan(size={"quantity": 1, "max": 2}), "size.max", "remove it"),
    ("missing side", plan(side=None), "side", "add it"),
    ("side", plan(side="up"), "side", "'long' or 'short'"),
    ("small symbol", plan(symbol="aapl"), "symbol", "capitals"),
    ("no symbol", plan(symbol=""), "symbol", "capitals"),
    ("long symbol", plan(symbol="A" * 13), "symbol", ""),
    ("size 0", plan(size={"quantity": 0}), "size.quantity", "greater than or equal to 1"),
    ("size below 0", plan(size={"quantity": -5}), "size.quantity", ""),
    ("size as text", plan(size={"quantity": "10"}), "size.quantity", "integer"),
    ("half a share", plan(size={"quantity": 1.5}), "size.quantity", "integer"),
    ("size true", plan(size={"quantity": True}), "size.quantity", "integer"),
    ("two sizes", plan(size={"quantity": 1, "risk_share_of_nlv": "0.01"}), "size", "one"),
    ("no size", plan(size={}), "size", "exactly one"),
    ("risk 0", plan(size={"risk_share_of_nlv": 0}), "size.risk_share_of_nlv", "greater than 0"),
    ("risk 50 %", plan(size={"risk_share_of_nlv": "0.5"}), "size.risk_share_of_nlv", "0.1"),
    ("NaN risk", plan(size={"risk_share_of_nlv": float("nan")}), "risk_share_of_nlv", "finite"),
    ("NaN price", plan(stop={"price": "NaN"}), "stop.price", "finite"),
    ("infinite price", plan(stop={"price": "inf"}), "stop.price", "finite"),
    ("no number", plan(stop={"price": "dear"}), "stop.price", ""),
    ("true price", plan(stop={"price": True}), "stop.price", "not true or false"),
    ("price 0", plan(stop={"price": 0}), "stop.price", "greater than 0"),
    ("price below 0", plan(stop={"price": -1}), "stop.price", "greater than 0"),
    ("huge price", plan(stop={"price": "1e30"}), "stop.price", ""),
    ("fine price", plan(stop={"price": "98.0000001"}), "stop.price", "decimal places"),
    ("market with price", plan(entry={"type": "market", "price": "1"}), "entry.price", "remove"),
    ("limit without price", plan(entry={"type": "limit"}), "entry.price", "add it"),
    ("entry type", plan(entry={"type": "moc"}), "entry.type", "'market', 'limit' or 'stop'"),
    ("two stops", plan(stop={"price": "99", "percent": "1"}), "stop", "exactly one"),
    ("no stop", plan(stop={}), "stop", "exactly one"),
    ("stop above a long", plan(stop={"price": "101"}), "stop.price", "below the entry"),
    ("stop at the entry", plan(stop={"price": "100"}), "stop.price", "below the entry"),
    ("stop below a short", plan(side="short"), "stop.price", "above the entry"),
    ("stop of 60 %", plan(stop={"percent": "60"}), "stop.percent", "50"),
    ("ATR of 1", plan(stop={"atr_multiple": "2", "atr_period": 1}), "stop.atr_period", ""),
    ("fractions", plan(steps=[step({"r": "1"}, take={"fraction": "0.6"})] * 2),
     "steps.1.take.fraction", "add up to 1.2"),
    ("fraction 0", plan(steps=[step({"r": "1"}, take={"fraction": 0})]), "take.fraction", ""),
    ("fraction 2", plan(steps=[step({"r": "1"}, take={"fraction": 2})]), "take.fraction", ""),
    ("no action", plan(steps=[step({"r": "1"})]), "steps.0", "exactly one"),
    ("two actions", plan(steps=[step({"r": "1"}, take=HALF, trail={"percent": "1"})]),
     "steps.0", "exactly one"),
    ("no level", plan(steps=[step({}, take=HALF)]), "steps.0.at", "exactly one"),
    ("r of 0", plan(steps=[step({"r": 0}, take=HALF)]), "steps.0.at.r", "greater than 0"),
    ("r below 0", plan(steps=[step({"r": "-1"}, take=HALF)]), "steps.0.at.r", "greater than 0"),
    ("step below a long", plan(steps=[step({"price": "99.5"}, take=HALF)]),
     "steps.0.at.price", "above the entry"),
    ("step below the stop", plan(entry=MARKET, steps=[step({"price": "98"}, take=HALF)]),
     "steps.0.at.price", "above the stop"),
    ("r out of order", plan(steps=[step({"r": "2"}, take=HALF), step({"r": "1"}, take=HALF)]),
     "steps.1.at.r", "in the order"),
    ("prices out of order", plan(steps=[step({"price": "103"}, take=HALF),
                                        step({"price": "102"}, take=HALF)]),
     "steps.1.at.price", "in the order"),
    ("stop loosened", plan(steps=[step({"r": "1"}, move_stop={"to": "98"})]),
     "steps.0.move_stop.to", "above the stop"),
    ("stop beyond its step", plan(steps=[step({"price": "101"}, move_stop={"to": "102"})]),
     "steps.0.move_stop.to", "below the step"),
    ("stop to nowhere", plan(steps=[step({"r": "1"}, move_stop={"to": "entry"})]),
     "steps.0.move_stop.to", ""),
    ("21 steps", plan(steps=[step({"r": "1"}, trail={"percent": "1"})] * 21), "steps", "20"),
    ("two exits", plan(time_exit={"after_minutes": 5, "session_close": True}), "time_exit", "one"),
    ("exit false", plan(time_exit={"session_close": False}), "time_exit.session_close", ""),
    ("exit in 0", plan(time_exit={"after_minutes": 0}), "time_exit.after_minutes", ""),
    ("off the grid", plan(stop={"price": "98.994"}), "stop.price", "nearest price is 98.99"),
    ("step off the grid", plan(steps=[step({"price": "101.005"}, take=HALF)]),
     "steps.0.at.price", "nearest price is 101.0"),
    ("entry in the past", plan(entry={"type": "market", "valid_until": "2016-01-04T14:00:00Z"}),
     "entry.valid_until", "has passed"),
    ("exit in the past", plan(time_exit={"at": "2016-01-04T14:30:00Z"}),
     "time_exit.at", "has passed"),
    ("no zone", plan(time_exit={"at": "2016-01-05T14:30:00"}), "time_exit.at", "no zone"),
    ("no time", plan(time_exit={"at": "noon"}), "time_exit.at", "no ISO time"),
    ("valid for 0", plan(entry={"type": "market", "valid_until": 0}), "entry.valid_until", ""),
    ("valid true", plan(entry={"type": "market", "valid_until": True}), "entry.valid_until", ""),
]  # fmt: skip


@pytest.mark.parametrize(("values", "field", "text"), [r[1:] for r in REFUSED],
                         ids=[r[0] for r in REFUSED])  # fmt: skip
def test_refusals(values, field, text):
    with pytest.raises(PlanInvalid) as caught:
        check_plan(document_from(values), CONTEXT)
    assert field in str(caught.value.fields["field"])
    assert text in caught.value.message
    assert str(caught.value.fields["field"]) in caught.value.message
    assert caught.value.fields["fix"]


def test_the_sound_plan_that_the_table_changes_is_accepted():
    check_plan(document_from(plan()), CONTEXT)
    both = [step({"r": "1"}, take=HALF), step({"r": "1"}, trail={"percent": "1"})]
    check_plan(document_from(plan(steps=both)), CONTEXT)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "no object"),
        ("a = ", "not TOML"),
        ('{"symbol": "A", "symbol": "B"}', "stands twice"),
        ("a = 1\na = 2", "not TOML"),
        ('{"size": {"quantity": NaN}}', "symbol"),
        ('{"symbol": ' + "1" * 5000 + "}", "not JSON"),
        ("[" * 30_000, "nested|not JSON"),
        ("a=" + "[" * 30_000, "nested|not TOML"),
        ('{"stop": {"price": 1e99999999999999999999}}', "not JSON"),
        ("", "required"),
        ("x" * (DOCUMENT_BYTES_MAX + 1), "too long"),
        (b"\xff\xfe", "UTF-8"),
        ("\x00", "not TOML"),
    ],
    ids=str.split(
        "json array toml twice toml-twice nan digits deep-json deep-toml exponent empty"
        " long bytes nul"
    ),
)
def test_malformed_text_is_refused_and_never_crashes(text, problem):
    with pytest.raises(PlanInvalid, match=problem):
        parse_document(text)


def test_an_unknown_symbol_and_unknown_sessions_are_refused():
    with pytest.raises(PlanInvalid, match="unknown"):
        check_plan(document_from(plan()), replace(CONTEXT, instrument=None))
    with pytest.raises(PlanInvalid, match="no session"):
        check_plan(document_from(plan()), replace(CONTEXT, sessions=()))
    minutes = plan(entry={"type": "market", "valid_until": 5}, time_exit={"session_close": True})
    with pytest.raises(PlanInvalid, match="session_close"):
        check_plan(document_from(minutes), replace(CONTEXT, sessions=()))


def test_times_are_read_with_their_zone():
    assert instant_ns("x", "2016-01-04T14:30:00Z") == NOW_NS
    assert instant_ns("x", "2016-01-04T09:30:00-05:00") == NOW_NS
