"""The first line and the last line of every screen.

Rules of this file:
- the first chips say the world and the accounts, LIVE first; they are never cut;
- the last line shows the screens and five keys at most; a notice replaces it for a moment.
"""

import math
from typing import Any, Final

from tradebox_tui import text
from tradebox_tui.keys import FOOTER, KEYS, SCREENS
from tradebox_tui.theme import Line, Span
from tradebox_tui.view import View
from tradebox_tui.widgets.canvas import Canvas, line_width

NOTICE_NS: Final = 4_000_000_000
NARROW_CELLS: Final = 100
LINK_STYLES: Final = {"CLEAN": "", "DOWN": "chip-down"}


class HeaderBar(Canvas):
    """World, accounts, session, market time, age of the view."""

    view = View()

    def show(self, view: View) -> None:
        """Take a new view."""
        self.view = view
        self.redraw()

    def lines(self, width: int, height: int) -> list[Line]:
        """Return the one line: what does not fit leaves from the right, chips never."""
        del height
        line: list[Span] = self._chips()
        for part in self._parts():
            if line_width(line) + line_width(part) + 3 <= width:
                line += [(" │ ", "frame"), *part]
        return [line]

    def _chips(self) -> list[Span]:
        view = self.view
        header = view.fields("header")
        chips: list[Span] = []
        world = str(view.world or header.get("world") or "")
        profile = view.profile or str(header.get("profile") or "")
        if world:
            chips.append((f" {text.clean(world)} ", "chip-sim"))
        accounts = {str(row.get("name")): row for row in view.listing("accounts")}
        for name in ("live", "paper"):
            if name in accounts:
                chips += self._account(name, accounts[name])
        if not chips:
            chips.append((f" {profile.upper() or 'NO RUN'} ", "chip-paper"))
        if view.is_frozen:
            chips.append((" FROZEN ", "stale"))
        return chips

    def _account(self, name: str, row: dict[str, Any]) -> list[Span]:
        link = text.clean(row.get("link") or "link ?")
        is_stale = self.view.is_stale(("accounts",))
        style = "stale" if is_stale else LINK_STYLES.get(link, "warn")
        return [(f" {name.upper()} ", f"chip-{name}"), (f" {link}{'?' if is_stale else ''}", style)]

    def _parts(self) -> list[Line]:
        view = self.view
        header = view.fields("header")
        if not header:
            return [[(view.waiting or "waiting for the engine", "warn")]]
        parts: list[Line] = []
        age = view.age_s(("header",))
        if view.is_stale(("header",)):
            parts.append([(f"STALE {text.span(age)}", "stale")])
        if view.waiting:
            parts.append([(text.clean(view.waiting), "warn")])
        market_ns = header.get("market_ns")
        parts.append([(text.clock(market_ns) + "Z", "")])
        parts.append([self._session(header)])
        parts.append([(f"epoch {text.epoch(view.epoch)}", "")])
        if float(header.get("speed") or 1) != 1:
            parts.append([(f"{text.TIMES}{float(header['speed']):g}", "")])
        if age is not None:
            parts.append([(f"view {max(1, math.ceil(age))}s", "dim")])
        feed = text.clean(header.get("active_feed") or "none")
        parts.append([(f"feed {feed}", "" if header.get("active_feed") else "bad")])
        parts.append([(text.clock(market_ns, "%Y-%m-%d"), "dim")])
        return parts

    def _session(self, header: dict[str, Any]) -> Span:
        state = text.clean(header.get("session") or "unknown")
        left = text.between(header.get("session_until_ns"), header.get("market_ns"))
        words = f"NYSE {state}" + (f", {text.span(left)} left" if left is not None else "")
        return words, "" if state == "open" else "dim"


class FooterBar(Canvas):
    """Screens and keys, or a notice."""

    current = ""
    view = View()

    def __init__(self, current: str) -> None:
        super().__init__(id="foot")
        self.current = current
        self._notice = ""
        self._until_ns = 0

    def show(self, view: View) -> None:
        """Take a new view; a notice that has been seen goes."""
        self.view = view
        self.redraw()

    def notice(self, words: str, now_ns: int) -> None:
        """Show a message for a moment."""
        self._notice, self._until_ns = words, now_ns + NOTICE_NS
        self.redraw()

    def lines(self, width: int, height: int) -> list[Line]:
        """Return the one line."""
        del height
        if self._notice and self.view.now_ns < self._until_ns:
            return [[(f" {text.clean(self._notice)}", "info")]]
        line: list[Span] = []
        for item in SCREENS:
            label = item.label if width >= NARROW_CELLS else item.short
            style = "dim" if item.why else "cursor" if item.name == self.current else ""
            line += [(" ", ""), (f"{item.digit} {label}", style)]
        line.append((" │", "frame"))
        room = width - line_width(line)
        parts: dict[str, Line] = {}
        for name in FOOTER:
            key = next(each for each in KEYS if each.keys == name)
            part: Line = [(f" {key.shown.split()[0]} ", "bold"), (key.label, "")]
            if line_width(part) <= room:
                parts[name] = part
                room -= line_width(part)
        for key in KEYS:
            line += parts.get(key.keys, ())
        return [line]
