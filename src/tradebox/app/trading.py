"""The trading branch of one account: order link, reconciler, controller, and what they share."""

from typing import TYPE_CHECKING

from tradebox.supervision.spec import ChildSpec

if TYPE_CHECKING:
    from tradebox.app.engine import Plant


def account_names(plant: "Plant") -> tuple[str, ...]:
    """Return the accounts that trade in this profile."""
    del plant
    return ()


def account_spec(plant: "Plant", name: str) -> ChildSpec:
    """Return the branch of one account."""
    raise AssertionError(plant, name)
