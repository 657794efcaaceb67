"""What is lost in a mailbox is told as a figure of the tree, for as long as its actor lives."""

import pytest

from support.manual_tree import manual_tree
from tradebox.supervision.actor import Actor
from tradebox.supervision.mailbox import Overflow
from tradebox.supervision.spec import ChildSpec
from tradebox.supervision.supervisor import nested

pytestmark = pytest.mark.asyncio


class Small(Actor[int]):
    """Holds two."""

    mailbox_capacity = 2

    def __init__(self, overflow):
        self.overflow = overflow

    async def handle(self, msg):
        """Take it."""


async def test_waiting_dropped_and_refused_are_summed_over_the_living():
    children = [
        ChildSpec(id="drops", start=lambda: Small(Overflow.DROP_OLDEST)),
        ChildSpec(id="refuses", start=lambda: Small(Overflow.REFUSE)),
    ]
    async with manual_tree(nested("root", None, children)) as tree:
        assert tree.runtime.mailbox_figures() == {"waiting": 0, "dropped": 0, "refused": 0}
        for name in ("drops", "refuses"):
            for number in range(5):
                tree.ref(name).tell(number)
        assert tree.runtime.mailbox_figures() == {"waiting": 4, "dropped": 3, "refused": 3}
        await tree.run(1)
        assert tree.runtime.mailbox_figures() == {"waiting": 0, "dropped": 3, "refused": 3}
