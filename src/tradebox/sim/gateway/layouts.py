"""The field layouts of openOrder and completedOrder, as tables of names and defaults.

Rules of this file:
- one word per field, in wire order, `name=default`; a name without a default is empty;
- the defaults are what a real gateway says in fields that an order does not use;
- `faProfile` is on the wire below server version 177 only.
"""

from collections.abc import Mapping

from tradebox.sim.gateway.wire import UNSET_DOUBLE, UNSET_INTEGER

PROFILE_DROPPED_VERSION = 177

_CONTRACT = (
    "conId symbol secType=STK expiry strike=0 right=? multiplier exchange=SMART currency "
    "localSymbol tradingClass "
)
_HEAD = (
    "action totalQuantity orderType lmtPrice=0.0 auxPrice=0.0 tif ocaGroup account openClose "
    "origin=0 orderRef "
)
_ADVISOR = "faGroup faMethod faPercentage faProfile modelCode goodTillDate rule80A=0 percentOffset "
_SLOTS = "settlingFirm shortSaleSlot=0 designatedLocation exemptCode=-1 "
_STOCK_RANGE = "startingPrice stockRefPrice delta stockRangeLower stockRangeUpper "
_SIZE = f"displaySize={UNSET_INTEGER} "
_SCALE = "scaleInitLevelSize scaleSubsLevelSize scalePriceIncrement hedgeType "
_NEUTRAL = "deltaNeutralOrderType=None deltaNeutralAuxPrice deltaNeutralConId=0 "
_VOLATILITY = f"volatility volatilityType=0 {_NEUTRAL}"
_CLEARING = "clearingAccount clearingIntent=IB notHeld=0 deltaNeutralContract=0 algoStrategy "
_MARGINS = " ".join(
    f"{name}{moment}={UNSET_DOUBLE}"
    for moment in ("Before", "Change", "After")
    for name in ("initMargin", "maintMargin", "equityWithLoan")
)

_OPEN_ORDER = (
    "message=5 orderId "
    + _CONTRACT
    + _HEAD
    + "clientId permId outsideRth=0 hidden=0 discretionaryAmt=0 goodAfterTime sharesAllocation "
    + _ADVISOR
    + _SLOTS
    + "auctionStrategy=0 "
    + _STOCK_RANGE
    + _SIZE
    + "blockOrder=0 sweepToFill=0 allOrNone=0 minQty ocaType=3 eTradeOnly=0 firmQuoteOnly=0 "
    "nbboPriceCap parentId=0 triggerMethod=0 "
    + _VOLATILITY
    + "deltaNeutralSettlingFirm deltaNeutralClearingAccount deltaNeutralClearingIntent "
    "deltaNeutralOpenClose=? deltaNeutralShortSale=0 deltaNeutralShortSaleSlot=0 "
    "deltaNeutralLocation continuousUpdate=0 referencePriceType=0 trailStopPrice trailingPercent "
    "basisPoints basisPointsType comboLegsDescrip comboLegs=0 orderComboLegs=0 smartParams=0 "
    + _SCALE
    + "optOutSmartRouting=0 "
    + _CLEARING
    + "solicited=0 whatIf=0 status "
    + _MARGINS
    + " commission minCommission maxCommission commissionCurrency warningText randomizeSize=0 "
    "randomizePrice=0 conditions=0 adjustedOrderType=None "
    f"triggerPrice={UNSET_DOUBLE} trailStopPriceAgain lmtPriceOffset={UNSET_DOUBLE} "
    f"adjustedStopPrice={UNSET_DOUBLE} adjustedStopLimitPrice={UNSET_DOUBLE} "
    f"adjustedTrailingAmount={UNSET_DOUBLE} adjustableTrailingUnit=0 softDollarName "
    "softDollarValue softDollarDisplay cashQty=0 dontUseAutoPriceForHedge=1 isOmsContainer=0 "
    f"discretionaryUpToLimitPrice=0 usePriceMgmtAlgo=0 duration={UNSET_INTEGER} "
    f"postToAts={UNSET_INTEGER} autoCancelParent=0 minTradeQty={UNSET_INTEGER} "
    f"minCompeteSize={UNSET_INTEGER} competeAgainstBestOffset={UNSET_DOUBLE} "
    f"midOffsetAtWhole={UNSET_DOUBLE} midOffsetAtHalf={UNSET_DOUBLE}"
)

_COMPLETED_ORDER = (
    "message=101 "
    + _CONTRACT
    + _HEAD
    + "permId outsideRth=0 hidden=0 discretionaryAmt=0 goodAfterTime "
    + _ADVISOR
    + _SLOTS
    + _STOCK_RANGE
    + _SIZE
    + "sweepToFill=0 allOrNone=0 minQty ocaType=3 triggerMethod=0 "
    + _VOLATILITY
    + "deltaNeutralShortSale=0 deltaNeutralShortSaleSlot=0 deltaNeutralLocation "
    "continuousUpdate=0 referencePriceType=0 trailStopPrice trailingPercent comboLegsDescrip "
    "comboLegs=0 orderComboLegs=0 smartParams=0 "
    + _SCALE
    + _CLEARING
    + "solicited=0 status randomizeSize=0 randomizePrice=0 conditions=0 trailStopPriceAgain "
    f"lmtPriceOffset={UNSET_DOUBLE} cashQty=0 dontUseAutoPriceForHedge=1 isOmsContainer=0 "
    f"autoCancelDate filledQuantity refFuturesConId={UNSET_INTEGER} autoCancelParent=0 "
    "shareholder imbalanceOnly=0 routeMarketableToBbo=0 parentPermId=0 completedTime "
    f"completedStatus minTradeQty={UNSET_INTEGER} minCompeteSize={UNSET_INTEGER} "
    f"competeAgainstBestOffset={UNSET_DOUBLE} midOffsetAtWhole={UNSET_DOUBLE} "
    f"midOffsetAtHalf={UNSET_DOUBLE}"
)

Layout = tuple[tuple[str, str], ...]


def _layout(table: str) -> Layout:
    pairs = (word.partition("=") for word in table.split())
    layout = tuple((name, default) for name, _, default in pairs)
    assert len({name for name, _ in layout}) == len(layout), "a field name is used twice"
    return layout


OPEN_ORDER_LAYOUT = _layout(_OPEN_ORDER)
COMPLETED_ORDER_LAYOUT = _layout(_COMPLETED_ORDER)


def lay_out(layout: Layout, values: Mapping[str, object], version: int) -> list[object]:
    """Return the fields in wire order, defaults where no value is given.

    Raises: AssertionError if a value's name is not in the layout.
    """
    # A dict keeps its order: the whole message is two copies, for it is said with each status.
    fields: dict[str, object] = dict(layout)
    known = len(fields)
    fields.update(values)
    assert len(fields) == known, values.keys() - dict(layout).keys()
    if version >= PROFILE_DROPPED_VERSION:
        del fields["faProfile"]
    return list(fields.values())
