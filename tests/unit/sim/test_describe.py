"""The page of the simulator says what the program can do, and nothing else."""

import re
from pathlib import Path

import pytest

from tradebox.sim.control import routes
from tradebox.sim.describe import BOARDS, described, faults_text, main
from tradebox.sim.exchange.settings import ExchangeSettings
from tradebox.sim.exchange.variants import VARIANTS, chosen_variants, with_variants
from tradebox.sim.faults import WHEN
from tradebox.sim.home import SimHome
from tradebox.sim.market.data import load
from tradebox.sim.runner import SERVERS, World

PAGE = Path(__file__).parents[3] / "docs" / "simulator.md"


def test_the_page_has_the_lists_of_the_program():
    text = PAGE.read_text()
    assert described(text) == text, "run python -m tradebox.sim.describe docs/simulator.md"


def test_every_board_of_a_running_simulator_is_described(tmp_path):
    home = SimHome(tmp_path / "sim")
    world = World(home, 1.0, (0,) * len(SERVERS), None, load().only(("AAPL",)))
    described_boards = {name: tuple(catalogue) for name, catalogue in BOARDS.items()}
    assert described_boards == {name: board.catalogue for name, board in world.boards.items()}
    world.exchange.close()
    home.close()


def test_a_change_of_any_line_of_the_lists_is_seen():
    text = PAGE.read_text()
    begin, end = text.index("<!-- faults -->\n"), text.index("<!-- /variants -->")
    lines = text[begin:end].splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert len(rows) == sum(map(len, BOARDS.values())) + len(VARIANTS)
    for row in rows:
        assert described(text.replace(row + "\n", "", 1)) == text, row
        assert text.replace(row + "\n", "", 1) != text, row


def test_every_fault_variant_and_request_is_on_the_page(tmp_path):
    text = PAGE.read_text()
    for board, catalogue in BOARDS.items():
        for spec in catalogue:
            assert f"| `{board}.{spec.name}` | {spec.summary}" in text
            assert not set(spec.defaults) & set(WHEN), spec.name
    for variant in VARIANTS:
        assert f"| `{variant.name}` |" in text
    paths = re.findall(r'case "(?:GET|POST)", "([^"]+)"', Path(routes.__file__).read_text())
    assert len(paths) >= 8
    for path in paths:
        assert path in text
    copy = tmp_path / "page.md"
    copy.write_text("<!-- faults -->\n<!-- /faults -->\n<!-- variants -->\nold\n<!-- /variants -->")
    assert main([str(copy)]) == 0
    assert faults_text() in copy.read_text()
    assert "\nold\n" not in copy.read_text()


def test_the_first_alternative_of_a_variant_is_the_default():
    chosen = chosen_variants(ExchangeSettings())
    assert chosen == {one.name: one.alternatives[0] for one in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda one: one.name)
def test_every_alternative_can_be_chosen(variant):
    for value in variant.alternatives:
        turned = with_variants(ExchangeSettings(), {variant.name: value})
        assert chosen_variants(turned)[variant.name] == value
