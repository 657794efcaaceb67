"""docs/plans.md says what the code reads: its examples are sound, its keys are all of them."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from tradebox.domain.market import Instrument, Session
from tradebox.domain.plan_check import PlanContext, check_plan
from tradebox.domain.plan_document import (
    Distance,
    EntryTerms,
    MoveStopTerms,
    PlanDocument,
    SizeTerms,
    StepLevel,
    StepTerms,
    StopTerms,
    TakeTerms,
    TimeExitTerms,
    parse_document,
)

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "plans.md").read_text()
EXAMPLES = re.findall(r"```(?:toml|json)\n(.*?)```", PAGE, re.DOTALL)
NOW_NS = 1_451_917_800_000_000_000  # 2016-01-04T14:30:00Z
HOURS = Session("XNYS", "2016-01-04", NOW_NS, NOW_NS + 6 * 3600 * 10**9)
PARTS = (PlanDocument, SizeTerms, EntryTerms, Distance, StopTerms, StepLevel, StepTerms,
         MoveStopTerms, TakeTerms, TimeExitTerms)  # fmt: skip


@pytest.mark.parametrize("text", EXAMPLES, ids=["toml", "json"])
def test_the_examples_are_sound(text):
    plan = parse_document(text)
    instrument = Instrument(plan.symbol, 1, "NYSE", "USD", Decimal("0.01"), plan.symbol)
    check_plan(plan, PlanContext(instrument, NOW_NS, (HOURS,)))


@pytest.mark.parametrize("part", PARTS)
def test_every_key_is_documented(part):
    table = PAGE[PAGE.index("| key |") : PAGE.index("R is fixed")]
    for key in part.model_fields:
        assert re.search(rf"[`.\[]{key}\b", table), key
