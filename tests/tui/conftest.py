"""The console on a scripted source and a frozen clock."""

from contextlib import asynccontextmanager

import pytest

from support.console_script import Script, normal_rows
from tradebox_tui.app import ConsoleApp
from tradebox_tui.widgets.canvas import Canvas


@pytest.fixture(autouse=True)
def fixed_looks(monkeypatch):
    """Pictures and keys do not depend on who runs them."""
    for name in ("NO_COLOR", "COLORTERM", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Canvas, "ascii_only", False)


@pytest.fixture
def script():
    """A quiet day."""
    return Script(normal_rows())


@pytest.fixture
def console(script):
    """Return a context manager that runs the console and reads once."""

    @asynccontextmanager
    async def run(screen="overview", size=(100, 30), source=None):
        chosen = source or script
        app = ConsoleApp(chosen, clock_ns=chosen.clock, first=screen, is_manual=True)
        async with app.run_test(size=size) as pilot:
            await app.pulse()
            await pilot.pause()
            yield app, pilot

    return run


def screen_text(app):
    """Return what the terminal shows."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@pytest.fixture
def shown():
    """Return what the terminal shows, as text."""
    return screen_text
