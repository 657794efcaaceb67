"""The lives of orders and positions, read off the gateway's ledger alone.

Rules of this file:
- a life begins with `order_placed` and ends with the first state in which nothing can happen;
- "ours" is what our client ids sent; roles come from PostgreSQL where it knows the orderRef;
- shares are signed; times are the ledger's monotonic ns.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OVER = frozenset({"Cancelled", "Filled", "Inactive"})
REDUCERS = frozenset({"slice", "exit"})
_PLACE, _CANCEL = 3, 4
_ACCOUNT, _REF, _WHAT_IF = 23, 26, 84
"""Where placeOrder has these fields, at server versions 177 and 178 and for stocks."""
Key = tuple[str, str]


@dataclass(frozen=True)
class Message:
    """One order message of ours as the gateway read it."""

    message_id: int
    account: str
    client_id: int
    order_id: int
    at_ns: int
    ref: str = ""
    account_id: str = ""


@dataclass
class Life:
    """One order at the exchange. armed: how many of its shares may work."""

    account: str
    client_id: int
    order_id: int
    perm_id: int
    ref: str
    symbol: str
    side: str
    role: str
    placed_ns: int
    total: int
    armed: int
    filled: int = 0
    ended_ns: int | None = None

    @property
    def is_stop(self) -> bool:
        return self.role == "stop"

    @property
    def is_reducer(self) -> bool:
        return self.role in REDUCERS

    @property
    def workable(self) -> int:
        """Return the shares that it may still trade."""
        if self.ended_ns is not None:
            return 0
        return max(min(self.total, self.armed) - self.filled, 0)


@dataclass
class _Track:
    """What is held and works in one symbol of one account, as rows go by."""

    held: int = 0
    lives: list[Life] = field(default_factory=list)
    bare_since_ns: int | None = None
    is_over: bool = False

    def working(self, side: str) -> list[Life]:
        return [
            life
            for life in self.lives
            if life.side == side and life.workable and (life.is_stop or life.is_reducer)
        ]

    @property
    def is_covered(self) -> bool:
        if self.held == 0:
            return True
        working = self.working("SELL" if self.held > 0 else "BUY")
        stops = [life for life in working if life.is_stop]
        shares = sum(life.workable for life in working)
        return len(stops) <= 1 and shares == abs(self.held)

    @property
    def surplus(self) -> str:
        """Return what is for sale beyond what is held, or ""."""
        for side, held in (("SELL", self.held), ("BUY", -self.held)):
            shares = sum(life.workable for life in self.working(side))
            if shares > max(0, held):
                return f"{side} {shares} at work, {max(0, held)} held"
        return ""


class Lives:
    """Everything the ledger tells. See the rules of the file.

    roles: orderRef -> role; adopted: (account, symbol, shares, monotonic ns) given to a plan.
    """

    def __init__(
        self,
        ledger: Sequence[Mapping[str, Any]],
        client_ids: Mapping[str, int],
        roles: Mapping[str, str] | None = None,
        adopted: Sequence[tuple[str, str, int, int]] = (),
    ) -> None:
        self._client_ids = client_ids
        self._roles = roles or {}
        self.all: list[Life] = []
        self.messages: list[Message] = []
        self.executions: dict[str, dict[str, Any]] = {}
        """The newest revision of each execution of ours, by its stem."""
        self._by_perm: dict[int, Life] = {}
        self._tracks: dict[Key, _Track] = {}
        self._all_held: dict[Key, int] = {}
        self._revisions: dict[str, int] = {}
        self._bare: list[tuple[str, str, int, int]] = []
        self._oversold: list[tuple[str, str, str]] = []
        self._read(ledger, sorted(adopted, key=lambda one: one[3]))

    # --- what is asked ---

    @property
    def ours(self) -> list[Life]:
        """Return the orders that our client ids placed."""
        return [life for life in self.all if self._is_ours(life.account, life.client_id)]

    @property
    def sent(self) -> list[Message]:
        """Return our placeOrder messages, modifies included."""
        return [one for one in self.messages if one.message_id == _PLACE]

    def first_sent(self) -> list[Message]:
        """Return the first message of each of our orders."""
        first: dict[tuple[str, str], Message] = {}
        for one in self.sent:
            first.setdefault((one.account, one.ref), one)
        return list(first.values())

    def of(self, account: str, symbol: str) -> list[Life]:
        """Return our orders of one symbol."""
        return [life for life in self.ours if (life.account, life.symbol) == (account, symbol)]

    def is_forked(self, life: Life) -> bool:
        """Say whether the broker made two orders of this one."""
        same = (life.account, life.ref)
        return any(other is not life and (other.account, other.ref) == same for other in self.ours)

    def positions(self) -> dict[Key, int]:
        """Return what each account holds, whoever traded it."""
        return dict(self._all_held)

    def held(self, account: str, symbol: str) -> int:
        """Return the shares that our orders (and adoptions) hold."""
        track = self._tracks.get((account, symbol))
        return 0 if track is None else track.held

    def uncovered(self, now_ns: int) -> Iterator[tuple[str, str, int, int]]:
        """Yield (account, symbol, from, to) of every stretch without exact cover."""
        yield from self._bare
        for (account, symbol), track in self._tracks.items():
            if track.bare_since_ns is not None and now_ns > track.bare_since_ns:
                yield account, symbol, track.bare_since_ns, now_ns

    def oversold(self) -> Iterator[tuple[str, str, str]]:
        """Yield (account, symbol, what) of every time that our own act put too much for sale."""
        yield from self._oversold

    # --- reading ---

    def _is_ours(self, account: str, client_id: int) -> bool:
        return self._client_ids.get(account) == client_id

    def _read(
        self, ledger: Sequence[Mapping[str, Any]], adopted: list[tuple[str, str, int, int]]
    ) -> None:
        readers = {
            "message": self._message,
            "order_placed": self._placed,
            "order_state": self._state,
            "execution": self._executed,
            "correction": self._executed,
            "split": self._split,
        }
        waiting = list(adopted)
        for row in ledger:
            while waiting and waiting[0][3] <= row["mono_ns"]:
                self._adopted(*waiting.pop(0))
            reader = readers.get(row["kind"])
            key = reader(row) if reader is not None else None
            if key is not None:
                self._look(key, row["mono_ns"], row["kind"])
        for one in waiting:
            self._adopted(*one)

    def _adopted(self, account: str, symbol: str, shares: int, at_ns: int) -> None:
        """Shares that a split made of ours were ours before a person gave them a plan."""
        track, there = self._track((account, symbol)), self._all_held.get((account, symbol), 0)
        clamp = min if shares > 0 else max
        track.held = clamp(track.held + shares, there)
        self._look((account, symbol), at_ns, "adopted")

    def _message(self, row: Mapping[str, Any]) -> None:
        account, client_id = row["account"], row["client_id"]
        if not self._is_ours(account, client_id):
            return
        fields = bytes.fromhex(row["payload"]).decode(errors="replace").split("\0")
        kind, at_ns = row["message_id"], row["mono_ns"]
        if kind == _PLACE and fields[_WHAT_IF] == "1":
            return  # a question about margin: nothing is placed
        if kind == _PLACE:
            order_id, account_id, ref = int(fields[1]), fields[_ACCOUNT], fields[_REF]
            one = Message(kind, account, client_id, order_id, at_ns, ref, account_id)
        else:
            order_id = int(fields[2]) if kind == _CANCEL else 0
            one = Message(kind, account, client_id, order_id, at_ns)
        self.messages.append(one)

    def _placed(self, row: Mapping[str, Any]) -> Key | None:
        ticket, account = row["ticket"], row["account"]
        is_child = row["parent_perm_id"] != 0
        life = Life(
            account=account,
            client_id=row["client_id"],
            order_id=row["order_id"],
            perm_id=row["perm_id"],
            ref=ticket["order_ref"],
            symbol=ticket["symbol"],
            side=ticket["side"],
            role=self._roles.get(ticket["order_ref"]) or _role_by_type(ticket, is_child=is_child),
            placed_ns=row["mono_ns"],
            total=ticket["quantity"],
            armed=0 if is_child else ticket["quantity"],
        )
        self.all.append(life)
        self._by_perm[life.perm_id] = life
        if not self._is_ours(account, life.client_id):
            return None
        key = (account, life.symbol)
        self._track(key).lives.append(life)
        return key

    def _state(self, row: Mapping[str, Any]) -> Key | None:
        life = self._by_perm.get(row["perm_id"])
        if life is None:
            return None
        life.total, life.armed = row["total"], row["armed"]
        life.filled = max(life.filled, row["filled"])
        if row["status"] in OVER and life.ended_ns is None:
            life.ended_ns = row["mono_ns"]
            track = self._tracks.get((life.account, life.symbol))
            if track is not None and life in track.lives:
                track.lives.remove(life)
        return (life.account, life.symbol)

    def _executed(self, row: Mapping[str, Any]) -> Key | None:
        """An execution, or its correction: the newest revision counts."""
        stem = str(row["exec_id"]).rpartition(".")[0]
        shares, key = row["shares"], (row["account"], row["symbol"])
        sign = 1 if row["side"] == "BUY" else -1
        moved = sign * (shares - self._revisions.get(stem, 0))
        self._revisions[stem] = shares
        self._all_held[key] = self._all_held.get(key, 0) + moved
        life = self._by_perm.get(row["perm_id"])
        if life is not None and row["kind"] == "execution":
            life.filled = max(life.filled, row["cum_quantity"])
        if not self._is_ours(row["account"], row["client_id"]):
            return self._left_to_us(key)
        self.executions[stem] = dict(row)
        self._track(key).held += moved
        return key

    def _left_to_us(self, key: Key) -> Key | None:
        """What another sold of ours is gone: no order of ours holds more than the account does."""
        track = self._tracks.get(key)
        left = max(0, self._all_held[key])
        if track is None or track.held <= left:
            return None
        track.held = left
        return key

    def _split(self, row: Mapping[str, Any]) -> Key:
        key = (row["account"], row["symbol"])
        ratio = row["numerator"], row["denominator"]
        self._all_held[key] = self._all_held.get(key, 0) * ratio[0] // ratio[1]
        track = self._track(key)
        track.held = track.held * ratio[0] // ratio[1]
        return key

    def _track(self, key: Key) -> _Track:
        return self._tracks.setdefault(key, _Track())

    def _look(self, key: Key, at_ns: int, kind: str) -> None:
        track = self._tracks.get(key)
        if track is None:
            return
        surplus = track.surplus
        is_our_act = kind in ("order_placed", "order_state")
        if surplus and not track.is_over and is_our_act:
            self._oversold.append((*key, surplus))
        track.is_over = bool(surplus)
        if track.is_covered:
            if track.bare_since_ns is not None:
                self._bare.append((*key, track.bare_since_ns, at_ns))
                track.bare_since_ns = None
        elif track.bare_since_ns is None:
            track.bare_since_ns = at_ns


def _role_by_type(ticket: Mapping[str, Any], *, is_child: bool) -> str:
    """Guess a role where PostgreSQL does not know the order."""
    if ticket["order_type"] == "STP" and (is_child or ticket["tif"] == "GTC"):
        return "stop"
    return "exit" if ticket["tif"] == "IOC" else "entry"
