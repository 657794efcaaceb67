"""What the simulator says about itself, and the faults it can be told to have.

Rules of this file:
- looking changes nothing; only POST does, and only faults;
- prices and money are decimal strings, times ISO UTC beside their nanoseconds;
- a refusal is a JSON object with `error` and the field that is wrong.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from typing import Protocol

from tradebox.domain.money import to_decimal
from tradebox.errors import InputError
from tradebox.sim.exchange.engine import Exchange
from tradebox.sim.exchange.ledger import Ledger
from tradebox.sim.exchange.orders import Order
from tradebox.sim.exchange.variants import VARIANTS, chosen_variants
from tradebox.sim.faults import Value
from tradebox.sim.http import HttpAnswer, HttpRefusal, HttpRequest
from tradebox.sim.market import hours
from tradebox.sim.market.clock import SimClock
from tradebox.sim.market.market import Market
from tradebox.sim.script import Script

LEDGER_ROWS_MAX = 1000


class Board(Protocol):
    """A board of named faults."""

    def set(self, name: str, **arguments: Value) -> None:
        """Set a fault."""
        ...

    def clear(self, name: str = "") -> None:
        """End a fault, or all."""
        ...

    def listing(self) -> list[dict[str, object]]:
        """Return every fault with what is set of it."""
        ...


class Routes:
    """The handler of the control port."""

    def __init__(
        self,
        clock: SimClock,
        market: Market,
        exchange: Exchange,
        ledger: Ledger,
        boards: Mapping[str, Board],
        script: Script,
    ) -> None:
        self._clock = clock
        self._market = market
        self._exchange = exchange
        self._ledger = ledger
        self._boards = boards
        self._script = script

    def __call__(self, request: HttpRequest) -> HttpAnswer:
        """Answer one request. Raises HttpRefusal, which is an answer too."""
        data: object
        match request.method, request.path:
            case "GET", "/clock":
                data = self._clock_now()
            case "GET", "/accounts":
                data = {name: self._account(name) for name in ("paper", "live")}
            case "GET", "/ledger":
                data = self._rows(_whole(request, "since"), _whole(request, "count"))
            case "GET", "/ledger/digest":
                data = {"digest": self._exchange.ledger_digest()}
            case "GET", "/variants":
                data = self._variants()
            case "POST", "/script":
                data = self._add_script(request)
            case "GET", "/market":
                data = self._market_now(request.query.get("symbol", ""))
            case "GET", "/faults":
                data = {name: board.listing() for name, board in self._boards.items()}
            case "POST", "/faults/set" | "/faults/clear":
                data = self._change_fault(request)
            case (
                _,
                "/clock"
                | "/accounts"
                | "/ledger"
                | "/ledger/digest"
                | "/market"
                | "/faults"
                | "/variants",
            ):
                raise HttpRefusal(HTTPStatus.METHOD_NOT_ALLOWED, "this can be asked by GET only")
            case _, "/faults/set" | "/faults/clear" | "/script":
                raise HttpRefusal(HTTPStatus.METHOD_NOT_ALLOWED, "this can be done by POST only")
            case _:
                raise HttpRefusal(HTTPStatus.NOT_FOUND, f"there is no {request.path}")
        return HttpAnswer(HTTPStatus.OK, data)

    def _clock_now(self) -> dict[str, object]:
        now_ns = self._clock.now_ns()
        session = hours.session_from(now_ns)
        return {
            "now_ns": now_ns,
            "now": iso(now_ns),
            "speed": self._clock.speed,
            "is_open": self._clock.is_open(now_ns),
            "session": str(session.day),
            "opens": iso(session.open_ns),
            "closes": iso(session.close_ns),
        }

    def _account(self, name: str) -> dict[str, object]:
        figures = self._exchange.figures(name)
        return {
            "account": self._exchange.account_id(name),
            "cash_usd": _usd(figures.cash),
            "net_liquidation_usd": _usd(figures.net_liquidation),
            "realised_usd": _usd(figures.realized),
            "unrealised_usd": _usd(figures.unrealized),
            "positions": [
                {
                    "symbol": symbol,
                    "quantity": position.quantity,
                    "average_usd": _usd(position.average_micros),
                }
                for symbol, position in sorted(self._exchange.positions(name).items())
                if position.quantity
            ],
            "open_orders": [_order(order) for order in self._exchange.open_orders(name)],
        }

    def _rows(self, since: int, count: int) -> dict[str, object]:
        """Return the ledger's rows after a sequence number, and where to go on."""
        wanted = min(count or LEDGER_ROWS_MAX, LEDGER_ROWS_MAX)
        later = (row for row in self._ledger.rows() if int(str(row["seq"])) > since)
        rows = list(islice(later, wanted))
        return {"rows": rows, "next": rows[-1]["seq"] if rows else since}

    def _market_now(self, symbol: str) -> object:
        if not symbol:
            return {"symbols": [self._quote(one.symbol) for one in self._market.symbols()]}
        trade = self._market.next_trade(symbol)
        if trade is None:
            raise HttpRefusal(
                HTTPStatus.NOT_FOUND, f"there is no symbol {symbol!r}", field="symbol", value=symbol
            )
        following = {
            "price": _usd(trade.price_micros),
            "size": trade.size,
            "at_ns": trade.event_ns,
            "at": iso(trade.event_ns),
        }
        return {**self._quote(symbol), "next": following}

    def _quote(self, symbol: str) -> dict[str, object]:
        quote = self._market.quote(symbol)
        assert quote is not None, symbol
        return {
            "symbol": symbol,
            "bid": _usd(quote.bid_micros),
            "ask": _usd(quote.ask_micros),
            "bid_size": quote.bid_size,
            "ask_size": quote.ask_size,
            "last": _usd(quote.last_micros),
            "last_size": quote.last_size,
            "at_ns": quote.event_ns,
        }

    def _variants(self) -> dict[str, object]:
        chosen = chosen_variants(self._exchange.settings)
        return {
            variant.name: {
                "chosen": chosen[variant.name],
                "alternatives": variant.alternatives,
                "summary": variant.summary,
                "source": variant.source,
            }
            for variant in VARIANTS
        }

    def _add_script(self, request: HttpRequest) -> object:
        try:
            rows = json.loads(request.body, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise HttpRefusal(HTTPStatus.BAD_REQUEST, "the body is no JSON") from error
        if not isinstance(rows, list):
            raise HttpRefusal(HTTPStatus.BAD_REQUEST, "the body is a list of script rows")
        try:
            self._script.add(rows)
        except InputError as error:
            raise HttpRefusal(HTTPStatus.BAD_REQUEST, error.message, **error.fields) from error
        return {"rows": len(rows)}

    def _change_fault(self, request: HttpRequest) -> object:
        name, arguments = _fault_of(request.body)
        board_name, _, fault = name.partition(".")
        if request.path == "/faults/clear" and not name:
            for one in self._boards.values():
                one.clear()
            return self._boards_now()
        board = self._boards.get(board_name)
        if board is None or (request.path == "/faults/set" and not fault):
            raise HttpRefusal(
                HTTPStatus.BAD_REQUEST,
                f"there is no fault {name!r}: a name is {' or '.join(self._boards)}, a dot and"
                " the fault, as GET /faults lists them",
                field="name",
                value=name,
            )
        try:
            if request.path == "/faults/clear":
                board.clear(fault)
            else:
                board.set(fault, **arguments)
        except InputError as error:
            raise HttpRefusal(HTTPStatus.BAD_REQUEST, error.message, **error.fields) from error
        return self._boards_now()

    def _boards_now(self) -> dict[str, object]:
        """Return what is set now, board by board."""
        return {
            name: {row["name"]: row["active"] for row in board.listing() if row["active"]}
            for name, board in self._boards.items()
        }


def iso(at_ns: int) -> str:
    """Return a time as ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(at_ns // hours.SECOND_NS, UTC)
    milliseconds = at_ns % hours.SECOND_NS // 1_000_000
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def _usd(micros: int) -> str:
    return f"{to_decimal(micros):f}"


def _order(order: Order) -> dict[str, object]:
    ticket = order.ticket
    return {
        "client_id": order.client_id,
        "order_id": order.order_id,
        "perm_id": order.perm_id,
        "order_ref": ticket.order_ref,
        "symbol": ticket.symbol,
        "side": ticket.side.value,
        "type": ticket.order_type.value,
        "quantity": order.total,
        "filled": order.filled,
        "limit": _usd(ticket.limit_micros),
        "trigger": _usd(ticket.trigger_micros),
        "status": order.status.value,
    }


def _whole(request: HttpRequest, name: str) -> int:
    text = request.query.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise HttpRefusal(
            HTTPStatus.BAD_REQUEST,
            f"{name}={text!r} is no whole number: give 0 or more",
            field=name,
            value=text,
        )
    return int(text)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _fault_of(body: bytes) -> tuple[str, dict[str, Value]]:
    """Return the name and the arguments that a body asks for."""
    try:
        data = json.loads(body or b"{}", parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise HttpRefusal(HTTPStatus.BAD_REQUEST, "the body is no JSON") from error
    name = data.get("name", "") if isinstance(data, dict) else None
    arguments = data.get("arguments", {}) if isinstance(data, dict) else None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise HttpRefusal(
            HTTPStatus.BAD_REQUEST,
            'the body is {"name": "finnhub.spike", "arguments": {"symbol": "AAPL"}}',
        )
    for key in data:
        if key not in ("name", "arguments"):
            raise HttpRefusal(
                HTTPStatus.BAD_REQUEST,
                f"the body has no {key!r}: give name and arguments",
                field=key,
            )
    for key, value in arguments.items():
        if not isinstance(value, str | int | float | bool):
            raise HttpRefusal(
                HTTPStatus.BAD_REQUEST,
                f"{key} is neither text, number nor true or false",
                field=key,
            )
    return name, arguments
