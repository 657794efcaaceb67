"""The placeOrder message, read to its last field.

Rules of this file:
- the field lists are in wire order; their names are those of the TWS API;
- optional blocks are read where the message says they are there, never by counting;
- what a field means is decided in tickets.py; here it is only found.
"""

from dataclasses import dataclass, field

from tradebox.sim.gateway.wire import FieldReader, read_decimal, read_flag

CONTRACT_FIELDS = (
    "conId",
    "symbol",
    "secType",
    "lastTradeDateOrContractMonth",
    "strike",
    "right",
    "multiplier",
    "exchange",
    "primaryExchange",
    "currency",
    "localSymbol",
    "tradingClass",
)


def _names(table: str) -> list[str]:
    return table.split()


_HEAD = _names(
    "secIdType secId action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account "
    "openClose origin orderRef transmit parentId blockOrder sweepToFill displaySize triggerMethod "
    "outsideRth hidden"
)
_AFTER_LEGS = _names(
    "sharesAllocation discretionaryAmt goodAfterTime goodTillDate faGroup faMethod faPercentage"
)
_MIDDLE = _names(
    "modelCode shortSaleSlot designatedLocation exemptCode ocaType rule80A settlingFirm allOrNone "
    "minQty percentOffset eTradeOnly firmQuoteOnly nbboPriceCap auctionStrategy startingPrice "
    "stockRefPrice delta stockRangeLower stockRangeUpper overridePercentageConstraints volatility "
    "volatilityType deltaNeutralOrderType deltaNeutralAuxPrice"
)
_AFTER_VOLATILITY = _names(
    "continuousUpdate referencePriceType trailStopPrice trailingPercent scaleInitLevelSize "
    "scaleSubsLevelSize scalePriceIncrement"
)
_TAIL = _names(
    "adjustedOrderType triggerPrice lmtPriceOffset adjustedStopPrice adjustedStopLimitPrice "
    "adjustedTrailingAmount adjustableTrailingUnit extOperator softDollarName softDollarValue "
    "cashQty mifid2DecisionMaker mifid2DecisionAlgo mifid2ExecutionTrader mifid2ExecutionAlgo "
    "dontUseAutoPriceForHedge isOmsContainer discretionaryUpToLimitPrice usePriceMgmtAlgo duration "
    "postToAts autoCancelParent advancedErrorOverride manualOrderTime"
)
_CONDITION_FIELDS = {"1": 6, "3": 3, "4": 3, "5": 4, "6": 5, "7": 5}
_PROFILE_DROPPED_VERSION = 177
_LIST_LENGTH_MAX = 1000


@dataclass(slots=True)
class PlaceOrder:
    """The fields of one placeOrder by name; repeated blocks are read but not kept."""

    order_id: int = 0
    contract: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)


def read_contract(reader: FieldReader) -> dict[str, str]:
    """Return the twelve contract fields by name."""
    return {name: reader.text() for name in CONTRACT_FIELDS}


def read_place_order(reader: FieldReader, version: int, message: PlaceOrder) -> None:
    """Fill the message from the fields behind its id, to the last one.

    Holds: every order that the client libraries can encode is consumed to its last field.
    Raises: WireInvalid if a field is missing, left over, or no number where one must be.
    """
    message.order_id = reader.integer()
    message.contract = read_contract(reader)
    values = message.fields
    _take(reader, values, _HEAD)
    if message.contract["secType"] == "BAG":
        _skip_combo(reader)
    _take(reader, values, _AFTER_LEGS)
    if version < _PROFILE_DROPPED_VERSION:
        values["faProfile"] = reader.text()
    _take(reader, values, _MIDDLE)
    if values["deltaNeutralOrderType"]:
        reader.skip(8)
    _take(reader, values, _AFTER_VOLATILITY)
    if (read_decimal(values["scalePriceIncrement"]) or 0) > 0:
        reader.skip(7)
    _take(reader, values, ["scaleTable", "activeStartTime", "activeStopTime", "hedgeType"])
    if values["hedgeType"]:
        values["hedgeParam"] = reader.text()
    _take(reader, values, ["optOutSmartRouting", "clearingAccount", "clearingIntent", "notHeld"])
    if reader.flag():
        reader.skip(3)
    _take(reader, values, ["algoStrategy"])
    if values["algoStrategy"]:
        reader.skip(2 * _count(reader))
    _take(reader, values, ["algoId", "whatIf", "orderMiscOptions", "solicited"])
    _take(reader, values, ["randomizeSize", "randomizePrice"])
    if values["orderType"] in ("PEG BENCH", "PEGBENCH"):
        reader.skip(5)
    _skip_conditions(reader)
    _take(reader, values, _TAIL)
    _skip_pegged(reader, message)
    reader.end()


def _take(reader: FieldReader, values: dict[str, str], names: list[str]) -> None:
    values.update(zip(names, reader.take(len(names)), strict=True))


def _count(reader: FieldReader) -> int:
    """Return a list's length, bounded by what the message can still hold."""
    return min(max(reader.integer(), 0), _LIST_LENGTH_MAX)


def _skip_combo(reader: FieldReader) -> None:
    reader.skip(8 * _count(reader))
    reader.skip(_count(reader))
    reader.skip(2 * _count(reader))


def _skip_conditions(reader: FieldReader) -> None:
    count = _count(reader)
    for _ in range(count):
        kind = reader.text()
        reader.skip(_CONDITION_FIELDS.get(kind, 0))
    if count:
        read_flag(reader.text())
        read_flag(reader.text())


def _skip_pegged(reader: FieldReader, message: PlaceOrder) -> None:
    kind = message.fields["orderType"]
    if message.contract["exchange"] == "IBKRATS":
        reader.skip()
    if kind in ("PEG BEST", "PEGBEST"):
        reader.skip()
        offset = reader.text().strip().lower()
        if offset in ("infinity", "infinite", "inf"):
            reader.skip(2)
    elif kind in ("PEG MID", "PEGMID"):
        reader.skip(2)
