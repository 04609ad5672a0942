"""A smaller graph with the same kind of fault."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from planish.ir.core.errors import PassError
from planish.tools.reduce.case import Case
from planish.tools.reduce.known import run_reference
from planish.tools.reduce.reduce import reduce

from .check import Fault
from tests.strategies.random_graphs import Drawn


def smaller(
    drawn: Drawn, fault: Fault, verdict: Callable[[Drawn], Fault | None], most_tries: int = 400
) -> Drawn:
    """Return a graph with one feed, for which `verdict` names the kind of `fault`, and its error.

    In this process, which is the sweep's own; `drawn` itself where the fault needs all its feeds.
    """

    def judge(case: Case) -> str:
        found = verdict(_as_drawn(case))
        return "" if found is None else found.told_by

    with contextlib.suppress(PassError):
        case = Case(drawn.model, drawn.feeds[fault.feed])
        return _as_drawn(reduce(case, judge, limits=None, most_tries=most_tries).case)
    return drawn


def _as_drawn(case: Case) -> Drawn:
    return Drawn(model=case.model, feeds=[dict(case.feed)], outputs=[run_reference(case)])
