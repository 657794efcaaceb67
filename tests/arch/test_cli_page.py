"""docs/cli.md says what the commands say."""

import importlib.util
from pathlib import Path

from tradebox.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]


def written():
    spec = importlib.util.spec_from_file_location("cli_page", ROOT / ".ci" / "cli_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.page()


def test_the_page_is_the_commands_own_help():
    page = (ROOT / "docs" / "cli.md").read_text()
    assert page == written(), "run `make fix`"


def test_it_holds_every_command_and_code():
    page = written()
    for name in (
        "run", "status", "tui", "sim", "sim fault set", "plan add", "plan list", "plan show",
        "plan cancel", "config init", "config show", "config check", "db migrate", "db check",
    ):  # fmt: skip
        assert f"## `tradebox {name}`" in page
    assert all(f"| {code.value} |" in page for code in ExitCode)
