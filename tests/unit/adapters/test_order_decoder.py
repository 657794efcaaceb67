"""What a look says again word for word is known again, and nothing else is."""

from decimal import Decimal

from loguru import logger

from tradebox.adapters.ibkr.orders.decoder import FactDecoder, FactReader

AT = "20160104-15:00:00"


def execution(request_id, *, price="101.5", exec_id="0000e0d5.1.01.01"):
    fields = [""] * 30
    fields[:5] = ["11", str(request_id), "5", "265598", "AAPL"]
    fields[14:17] = [exec_id, AT, "SIM1234567P"]
    fields[18:23] = ["BOT", "10", price, "77", "11"]
    fields[26] = "tb|p1"
    return fields


class Heard:
    def __init__(self):
        self.facts, self.gone = [], []
        reader = FactReader(self.facts.append, lambda *_: None, self.gone.append)
        self.decoder = FactDecoder(reader)

    def reads(self, fields):
        self.decoder.interpret(fields)
        assert self.gone == []
        return self.facts[-1]


def test_an_execution_of_a_later_look_is_the_same_fact():
    heard = Heard()
    first = heard.reads(execution(1001))
    again = heard.reads(execution(1002))
    assert again is first
    assert (first.exec_id, first.price, first.is_live) == (
        "0000e0d5.1.01.01",
        Decimal("101.5"),
        False,
    )


def test_a_corrected_execution_is_another_fact():
    heard = Heard()
    first = heard.reads(execution(1001))
    corrected = heard.reads(execution(1002, price="101.4", exec_id="0000e0d5.1.01.02"))
    assert (corrected.price, corrected.exec_id) == (Decimal("101.4"), "0000e0d5.1.01.02")
    assert first.price == Decimal("101.5")


def test_an_execution_told_live_stays_live():
    heard = Heard()
    assert heard.reads(execution(-1)).is_live
    assert not heard.reads(execution(1001)).is_live
    assert heard.reads(execution(-1)).is_live


def test_a_message_that_nobody_knows_is_told_once_and_ends_nothing():
    heard, lines = Heard(), []
    sink = logger.add(lambda line: lines.append(line.record), level="WARNING")
    try:
        for message_id in ("9901", "9901", "9902"):
            heard.decoder.interpret([message_id, "1", "x"])
    finally:
        logger.remove(sink)
    assert [(one["message"], one["extra"]["message_id"]) for one in lines] == [
        ("broker_message_unknown", "9901"),
        ("broker_message_unknown", "9902"),
    ]
    assert heard.gone == []


def test_a_commission_is_told_once_it_is_known():
    heard = Heard()
    unset = ["59", "1", "0.1.01", "1.7976931348623157E308", "USD", "", "", ""]
    heard.decoder.interpret(unset)
    assert heard.facts == heard.gone == []
    told = heard.reads([*unset[:3], "1.05", *unset[4:]])
    assert (told.exec_id, told.commission) == ("0.1.01", Decimal("1.05"))
