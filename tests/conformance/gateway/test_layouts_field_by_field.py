"""Every field of the order messages, derived from the libraries' own encoders and decoders.

Rules of this file:
- an attribute is changed alone: what changes on the wire, or comes back, is that attribute;
- what no attribute reaches is listed by name, so that a new field cannot hide.
"""

import dataclasses
import warnings
from decimal import Decimal
from types import SimpleNamespace

import ib_async
import pytest
from ib_async.decoder import Decoder as CommunityDecoder

from conformance.gateway.test_place_order_layout import (
    CASES,
    community_encoder,
    official_encoder,
    parsed,
)
from tradebox.sim.gateway.layouts import (
    COMPLETED_ORDER_LAYOUT,
    OPEN_ORDER_LAYOUT,
    lay_out,
)
from tradebox.sim.gateway.wire import decode, encode

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ibapi.contract import Contract
    from ibapi.decoder import Decoder as OfficialDecoder
    from ibapi.order import Order
    from ibapi.wrapper import EWrapper

VERSIONS = (176, 177, 178)
UNREACHED = {
    "official": {"secIdType", "secId", "sharesAllocation", "eTradeOnly", "firmQuoteOnly",
                 "nbboPriceCap", "orderMiscOptions", "softDollarName", "softDollarValue",
                 "usePriceMgmtAlgo", "faProfile"},
    "community": {"secIdType", "secId", "sharesAllocation", "volatility", "orderMiscOptions",
                  "softDollarName", "softDollarValue", "faProfile"},
}  # fmt: skip
"""Fields of placeOrder that no plain attribute of the library's order sets."""

ALIASES = {
    "trailStopPriceAgain": "trailStopPrice",
    "deltaNeutralLocation": "deltaNeutralDesignatedLocation",
}
COUNTS = {
    "message", "comboLegs", "orderComboLegs", "smartParams", "conditions", "algoStrategy",
    "deltaNeutralContract", "hedgeType", "scalePriceIncrement",
}  # fmt: skip
"""Fields that say that more follows, which a plain stock order never does."""

PASSED_OVER = {
    "official": {"faProfile", "eTradeOnly", "firmQuoteOnly", "nbboPriceCap"},
    "community": {"faProfile"},
}
"""Fields that a decoder reads and does not keep."""

NOT_KEPT = {"sharesAllocation", "softDollarName", "softDollarValue", "softDollarDisplay"}
CONTRACT = {
    "conId", "symbol", "secType", "expiry", "strike", "right", "multiplier", "exchange",
    "currency", "localSymbol", "tradingClass",
}  # fmt: skip
CONTRACT_NAMES = {"expiry": "lastTradeDateOrContractMonth"}


def changed(value):
    """Return another value of the same kind, or None where there is no plain one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return "zz"
    if isinstance(value, int | float | Decimal):
        return type(value)(8 if value == 7 else 7)
    return None


def defaults_of(order):
    if dataclasses.is_dataclass(order):
        return {one.name: getattr(order, one.name) for one in dataclasses.fields(order)}
    return dict(vars(order))


def places(maker, version):
    """Return attribute: the place on the wire where it alone changes a message, and its text."""
    is_official = maker == "official"
    encoder = (official_encoder if is_official else community_encoder)(version)

    def message(**changes):
        order = Order() if is_official else ib_async.Order()
        contract = Contract() if is_official else ib_async.Contract()
        contract.secType = "STK"
        for name, value in changes.items():
            setattr(order, name, value)
        try:
            return encoder(order, contract)
        except AssertionError:
            return None

    plain, found = message(), {}
    for name, value in defaults_of(Order() if is_official else ib_async.Order()).items():
        wanted = changed(value)
        fields = None if wanted is None else message(**{name: wanted})
        if fields is None or fields == plain:
            continue
        pairs = zip(plain, fields, strict=False)
        index = next(place for place, (old, new) in enumerate(pairs) if old != new)
        before, after = parsed(plain, version).fields, parsed(fields, version).fields
        names = {key for key in after if before.get(key) != after[key]}
        assert names - {"hedgeParam"} == {name}, (name, names)
        shown = "1" if wanted is True else "0" if wanted is False else str(wanted)
        assert after[name] in (shown, f"{wanted:.1f}" if isinstance(wanted, float) else shown)
        found[name] = index
    return found, parsed(plain, version).fields


@pytest.mark.parametrize(("maker", "version"), CASES)
def test_every_attribute_is_read_under_its_own_name(maker, version):
    found, plain = places(maker, version)
    assert plain.keys() - found.keys() <= UNREACHED[maker]
    assert len(found) > 85


@pytest.mark.parametrize("version", VERSIONS)
def test_both_libraries_put_each_field_at_the_same_place(version):
    official, _ = places("official", version)
    community, _ = places("community", version)
    both = official.keys() & community.keys()
    assert len(both) > 85
    assert {name: official[name] for name in both} == {name: community[name] for name in both}


def official_reader(version):
    seen = []
    wrapper = EWrapper()
    wrapper.openOrder = lambda _id, *parts: seen.append(parts)
    wrapper.completedOrder = lambda *parts: seen.append(parts)
    decoder = OfficialDecoder(wrapper, version)

    def read(fields):
        decoder.interpret([field.encode() for field in fields[1:]], int(fields[0]))
        return seen.pop()

    return read


def community_reader(version):
    def read(fields):
        seen = []

        def keep(*parts):
            seen.extend(parts if len(parts) == 3 else parts[1:])

        wrapper = SimpleNamespace(openOrder=keep, completedOrder=keep)
        decoder = CommunityDecoder(wrapper, version)
        (decoder.openOrder if fields[0] == "5" else decoder.completedOrder)(fields)
        return tuple(seen)

    return read


def flat(parts):
    """Return every attribute of what was read, as text, by the name of its kind."""
    contract, order, state = parts
    kinds = {"contract": contract, "order": order, "state": state}
    return {
        (kind, name): str(value)
        for kind, one in kinds.items()
        for name, value in defaults_of(one).items()
        if not name.startswith("_")
    }


def owner_of(name):
    if name in CONTRACT:
        return "contract", CONTRACT_NAMES.get(name, name)
    return None, ALIASES.get(name, name)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("maker", ["official", "community"])
@pytest.mark.parametrize("layout", [OPEN_ORDER_LAYOUT, COMPLETED_ORDER_LAYOUT], ids=["5", "101"])
def test_each_field_comes_back_as_the_attribute_of_its_name(layout, maker, version):
    read = (official_reader if maker == "official" else community_reader)(version)
    base = {"status": "Submitted", "orderType": "LMT", "action": "BUY", "totalQuantity": "5"}
    base |= {"filledQuantity": "5"} if layout is COMPLETED_ORDER_LAYOUT else {}

    def texts(values):
        return decode(encode(lay_out(layout, {**base, **values}, version))[4:])

    plain = flat(read(texts({})))
    names = [name for name, _ in layout if name not in COUNTS | NOT_KEPT]
    names = [name for name in names if name != "faProfile" or version < 177]
    unread = set()
    for name in names:
        present = dict(layout)[name]
        value = "1" if present == "0" else "0" if present == "1" else "7"
        values = {name: value}
        if name == "trailStopPrice":
            values["trailStopPriceAgain"] = value
        after = flat(read(texts(values)))
        differing = {key for key in after if after[key] != plain[key]}
        kind, wanted = owner_of(name)
        for one in differing:
            # The official client renamed commissions to commissions and fees.
            said = one[1].lower().replace("andfees", "")
            assert said == wanted.lower(), (name, differing)
            assert kind in (None, one[0])
        if not differing:
            unread.add(name)
    assert not unread - PASSED_OVER[maker], unread
