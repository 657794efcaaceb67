"""A supervisor of many like children that come and go (OTP's simple_one_for_one).

Rules of this file:
1. One template, anonymous children; each is started with arguments of its own.
2. They are stopped together under one deadline, in no order.
3. The arguments of temporary children are not kept; a child whose restart ignores is forgotten.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tradebox.supervision.ref import ActorRef
from tradebox.supervision.requests import (
    DeleteChild,
    Done,
    Refused,
    RestartChild,
    RestartResult,
    StartChild,
    StartResult,
    TerminateChild,
    Why,
)
from tradebox.supervision.spec import (
    ChildSpec,
    RestartScope,
    StrategyInvalid,
    SupFlags,
    check_specs,
)
from tradebox.supervision.supervisor import Child, Supervisor


class DynamicSupervisor(Supervisor):
    """Starts children of one template on demand; their ids are numbers.

    Raises: StrategyInvalid for a scope other than one_for_one.
    """

    def __init__(self, flags: SupFlags | None, template: ChildSpec) -> None:
        super().__init__(flags, ())
        if self.flags.strategy is not RestartScope.ONE_FOR_ONE:
            raise StrategyInvalid("dynamic", self.flags.strategy, "children have no order")
        check_specs(self.flags, (template,))
        self.template = template
        self._made = 0

    async def start_with(self, *args: Any) -> StartResult:
        """Start one child; the template's `start` is called with these arguments."""
        answer: StartResult = await self._ask(StartChild(None, args))
        return answer

    async def _on_start_child(self, req: StartChild) -> StartResult:
        if req.spec is not None:
            return Refused(Why.SIMPLE_ONE_FOR_ONE, "the template is the spec")
        self._made += 1
        return await self._add(
            Child(dataclasses.replace(self.template, id=str(self._made)), req.args)
        )

    def _on_ignored(self, child: Child) -> None:
        self._forget(child)

    async def _on_terminate_child(self, req: TerminateChild) -> Done | Refused:
        if not isinstance(req.child, ActorRef):
            return Refused(Why.SIMPLE_ONE_FOR_ONE, "terminate by reference")
        child = self._find(req.child)
        if child is None:
            return Refused(Why.NOT_FOUND)
        await self._stop(child)
        self._forget(child)
        return Done()

    async def _on_restart_child(self, req: RestartChild) -> RestartResult:
        if req.incarnation is None:
            return Refused(Why.SIMPLE_ONE_FOR_ONE)
        return await super()._on_restart_child(req)

    async def _on_delete_child(self, _: DeleteChild) -> Done | Refused:
        return Refused(Why.SIMPLE_ONE_FOR_ONE)

    async def _stop_all(self) -> None:
        going = [(child, child.cell) for child in self.children.values() if child.cell is not None]
        reasons = await self.kernel.stop_together(
            [cell for _, cell in going], self.template.shutdown_wait
        )
        for (child, cell), reason in zip(going, reasons, strict=True):
            self._note_exit(child, cell, reason, asked=True)
        self.children.clear()
