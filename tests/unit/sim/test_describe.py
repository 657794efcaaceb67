"""The page of the simulator says what the program can do, and nothing else."""

import re
from pathlib import Path

import pytest

from tradebox.sim.control import routes
from tradebox.sim.describe import BOARDS, described, faults_text, main
from tradebox.sim.exchange.settings import ExchangeSettings
from tradebox.sim.exchange.variants import VARIANTS, chosen_variants, with_variants
from tradebox.sim.faults import WHEN

PAGE = Path(__file__).parents[3] / "docs" / "simulator.md"


def test_the_page_has_the_lists_of_the_program():
    text = PAGE.read_text()
    assert described(text) == text, "run python -m tradebox.sim.describe docs/simulator.md"


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
