"""Journal: what is stored and what was told, in one list, newest first.

Rules of this file:
- stored events come from PostgreSQL by sequence number, lazily: older ones when the cursor nears
  the end; told lines come from Redis, so that the last seconds are seen without PostgreSQL;
- a cursor on the first row follows what is new; anywhere else it stays on its row;
- at most EVENTS_KEPT_MAX stored events are held, the oldest leave first while following.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from textual import on
from textual.widget import Widget

from tradebox.readmodel import EventRow
from tradebox_tui import plan_words as words
from tradebox_tui import text
from tradebox_tui.screens.frame import FrameScreen
from tradebox_tui.source import RowSource
from tradebox_tui.theme import Line, Span
from tradebox_tui.view import View
from tradebox_tui.widgets.live_table import Column, LiveTable, RowData
from tradebox_tui.widgets.pane import Pane

EVENTS_KEPT_MAX: Final = 5_000
PAGE_EVENTS: Final = 200
NEAR_ROWS: Final = 60
KIND_STYLES: Final = {
    "alert": "warn", "restart": "warn", "failover": "warn", "gave_up": "bad+bold",
    "denied": "bad", "intent_denied": "bad", "fill": "good", "fill_booked": "good",
    "step": "info", "plan_step": "info", "store": "warn", "stream": "warn",
}  # fmt: skip


class JournalTable(LiveTable):
    """Stored events and told lines. Told lines have no sequence number."""

    needs = ("journal",)
    empty = "nothing has happened yet"
    newest_first = True
    columns = (
        Column("TIME", 8, lambda row, _: text.clock(row.get("at_ns"))),
        Column("SEQ", 8, lambda row, _: _seq(row), lambda row: row.get("seq"), is_right=True),
        Column("KIND", 14, lambda row, _: _kind(row), lambda row: str(row.get("kind"))),
        Column(" ", 1, lambda row, _: words.account_letter(row) if row.get("account") else " "),
        Column("SYM", 5, lambda row, _: text.clean(row.get("symbol") or ""),
               lambda row: str(row.get("symbol") or "")),
        Column("PLAN", 17, lambda row, _: text.clean(row.get("plan_id") or ""), priority=3),
        Column("WHAT", 28, lambda row, _: text.clean(row.get("text") or ""), grows=True),
        Column("REF", 14, lambda row, _: text.clean(row.get("order_ref") or ""), priority=5),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="journal")
        self.about: str | None = None
        self.sought = ""
        self.wanted_seq: int | None = None
        self.is_complete = False
        self._worded: dict[int, RowData] = {}

    @property
    def is_following(self) -> bool:
        """Whether the cursor goes to what is new."""
        return self._is_at_top

    def follow(self, *, on: bool) -> None:
        """Go to the newest row and stay there, or hold this row."""
        self._is_at_top = on
        if on:
            self._top_at = 0
        self.redraw()

    def rows(self, view: View) -> Sequence[RowData]:
        """Return what is stored and what was told, newest first."""
        stored = [self._stored(event) for event in view.events.values()]
        told = [row for row in view.listing("journal") if _is_about(row, self.about)]
        found: list[RowData] = [*stored, *told]
        found.sort(key=_moment, reverse=True)
        return found

    def _stored(self, event: EventRow) -> RowData:
        known = self._worded.get(event.seq)
        if known is None:
            if len(self._worded) > 2 * EVENTS_KEPT_MAX:
                self._worded.clear()
            known = self._worded[event.seq] = {
                **{name: getattr(event, name) for name in EventRow.__slots__},
                "text": data_words(event.data),
            }
        return known

    def key(self, row: RowData) -> str:
        """Return s and the sequence number of a stored event, t and the number of a told line."""
        return f"s{row['seq']}" if row.get("seq") is not None else f"t{row.get('number')}"

    def title(self, view: View) -> str:
        """Return the title with what is listed."""
        stored = len(view.events)
        parts = [f"Journal · stored {stored}"]
        if view.events:
            parts.append(f"to {max(view.events):,}")
        if view.history_waiting:
            parts.append(f"history {view.history_waiting}")
        if self.about:
            parts.append(f"about {self.about}")
        parts.append("following" if self.is_following else "held")
        return text.clean(" · ".join(parts)) + self.order_words()

    def seek(self, pattern: str, steps: int) -> bool:
        """Put the cursor on the next row that matches; say whether there is one."""
        rows = self._ordered()
        keys = [self.key(row) for row in rows]
        if not keys:
            return False
        at = keys.index(self.cursor_key) if self.cursor_key in keys else 0
        ahead = range(at + 1, len(rows)) if steps > 0 else range(at - 1, -1, -1)
        for number in ahead:
            if self._has(rows[number], pattern):
                return self.select(keys[number])
        return False

    def _has(self, row: RowData, pattern: str) -> bool:
        line = " ".join(str(row.get(name) or "") for name in
                        ("kind", "symbol", "plan_id", "order_ref", "account", "text"))  # fmt: skip
        try:
            return re.search(pattern, line, re.IGNORECASE) is not None
        except re.error:
            return pattern.lower() in line.lower()

    def is_near_end(self) -> bool:
        """Say whether older events are wanted."""
        keys = [self.key(row) for row in self._ordered()]
        at = keys.index(self.cursor_key) if self.cursor_key in keys else 0
        return len(keys) - at <= NEAR_ROWS


def _is_about(row: RowData, about: str | None) -> bool:
    return about is None or any(
        row.get(name) == about or (name == "actor" and str(row.get(name)).startswith(f"{about}."))
        for name in ("plan_id", "order_ref", "symbol", "actor")
    )


def _moment(row: RowData) -> tuple[int, int]:
    at_ns, seq = row.get("at_ns"), row.get("seq") or row.get("number")
    return (at_ns if isinstance(at_ns, int) else 0, seq if isinstance(seq, int) else 0)


def data_words(data: str) -> str:
    """Return the JSON of an event as words: name=value, the empty ones left out."""
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data
    if not isinstance(fields, dict):
        return data
    return " ".join(f"{name}={_value(value)}" for name, value in fields.items() if value)


def _value(value: Any) -> str:
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else str(value)


def _seq(row: RowData) -> Span:
    seq = row.get("seq")
    return ("told", "dim") if seq is None else (f"{seq:,}", "")


def _kind(row: RowData) -> Span:
    kind = str(row.get("kind"))
    return text.clean(kind), KIND_STYLES.get(kind, "")


class JournalDetail(Pane):
    """The line under the cursor, whole."""

    needs = ("journal",)

    def title(self, view: View) -> str:
        """Return the title."""
        del view
        return "The line under the cursor"

    def body(self, view: View, width: int, height: int) -> Sequence[Line]:
        """Return the line's words, wrapped."""
        del view
        row = self.screen.query_one(JournalTable).cursor_row
        if row is None:
            return [[("nothing is selected", "dim")]]
        names = ("kind", "account", "plan_id", "order_ref", "actor", "epoch")
        head = " · ".join(f"{name} {row[name]}" for name in names if row.get(name))
        whole = text.clean(row.get("text") or "")
        lines: list[Line] = [[(text.clean(head), "bold")]]
        lines += [[(whole[at : at + width], "")] for at in range(0, len(whole), width)]
        return lines[:height]


class Journal(FrameScreen):
    """The seventh screen."""

    screen_name = "journal"
    history_ns = 2_000_000_000

    def content(self) -> Iterable[Widget]:
        """Yield the list and the line under the cursor."""
        yield JournalTable()
        yield JournalDetail(id="journal-detail")

    @on(LiveTable.Moved)
    def moved(self, event: LiveTable.Moved) -> None:
        """Show the whole line; read further where its end is near."""
        del event
        self.query_one(JournalDetail).redraw()
        table = self.query_one(JournalTable)
        if not table.is_complete and table.is_near_end():
            self.app.call_later(self.app.run_action, "look_again")

    async def read_history(self, source: RowSource, view: View) -> None:
        """Read what was stored since, and older events where the cursor is near the end."""
        table = self.query_one(JournalTable)
        wanted = table.wanted_seq
        if wanted is not None:
            around = await source.events(None, PAGE_EVENTS, before=wanted + PAGE_EVENTS // 2)
            if around is None:
                return
            view.events = {event.seq: event for event in around}
            table.wanted_seq = None
            table.show(view)
            if not table.select(f"s{wanted}"):
                self.notice(f"no event has the number {wanted}")
        after = max(view.events, default=None)
        fresh = await source.events(table.about, PAGE_EVENTS, after=after)
        if fresh is None:
            return
        _take(view, fresh)
        table.view = view
        if view.events and not table.is_complete and table.is_near_end():
            older = await source.events(table.about, PAGE_EVENTS, before=min(view.events))
            if older is not None:
                _take(view, older)
                table.is_complete = len(older) < PAGE_EVENTS
        if table.is_following and len(view.events) > EVENTS_KEPT_MAX:
            view.events = dict(sorted(view.events.items())[-EVENTS_KEPT_MAX // 2 :])
            table.is_complete = False

    def open_row(self) -> tuple[str, str] | None:
        """Open the plan of the line under the cursor."""
        row = self.query_one(JournalTable).cursor_row
        return None if row is None or not row.get("plan_id") else ("plans", str(row["plan_id"]))

    def select(self, key: str) -> bool:
        """List only what is about a plan, an order, a symbol or an actor; a number is a seq."""
        table = self.query_one(JournalTable)
        if key.isdigit():
            table.wanted_seq, table.about, table.is_complete = int(key), None, False
            self.app.call_later(self.app.run_action, "look_again")
            return True
        self._about(key)
        return True

    def _about(self, about: str | None) -> None:
        table = self.query_one(JournalTable)
        table.about, table.is_complete = about, False
        self.view.events.clear()
        table.follow(on=True)
        self.app.call_later(self.app.run_action, "look_again")

    def toggle(self, what: str) -> str:
        """Follow or hold; list only what is about the cursor's plan or order, or all."""
        table = self.query_one(JournalTable)
        if what == "follow":
            table.follow(on=not table.is_following)
            return "following" if table.is_following else "held"
        row = table.cursor_row or {}
        about = None if table.about else row.get("plan_id") or row.get("order_ref")
        self._about(None if about is None else str(about))
        return f"about {about}" if about else "about everything"

    def match(self, steps: int) -> str:
        """Go to the next line that has the filter's words; all lines are listed then."""
        table = self.query_one(JournalTable)
        pattern = table.pattern.removeprefix("!") or table.sought
        if not pattern:
            return "first filter with /, then n and N go from match to match"
        table.sought = pattern
        table.set_filter("")
        return "" if table.seek(pattern, steps) else f"no further line has {pattern}"


def _take(view: View, events: Sequence[EventRow]) -> None:
    view.events.update((event.seq, event) for event in events)
