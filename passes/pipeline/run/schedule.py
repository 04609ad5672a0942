"""The order in which the passes of a pipeline run: groups to their fixed point, attempts, closing.

What running a pass means is not its business: it is told whether the pass has edited.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from ...engine.contract import Pass
from ..attempt import Attempt, Item, members
from ..repeat import Repeat

# Passes that undo one another would never end; two or three rounds is what networks take.
_MOST_ROUNDS = 20


class WentBack(Exception):  # noqa: N818  (never leaves the run)
    """The run is where it was before the passes of an attempt."""


class Schedule:
    """Runs `items` in order; passes are called by their number among all of the pipeline.

    `run_pass` runs one and says whether it edited, or raises WentBack; `start_attempt` is told the
    last pass of a group that may be given up as a whole, and `settle` that it was decided on.
    `closing`: the groups that ran once more, behind the others.
    """

    def __init__(
        self,
        items: Sequence[Item],
        run_pass: Callable[[int], bool],
        start_attempt: Callable[[int], None],
        settle: Callable[[], None],
    ) -> None:
        self.closing: list[Item] = []
        self._items = items
        self._run_pass = run_pass
        self._start_attempt, self._settle_attempt = start_attempt, settle

    def run(self) -> None:
        """Run all items, and the group before what settled last once more."""
        first, settled = 0, None
        for at, item in enumerate(self._items):
            if isinstance(item, Attempt):
                self._attempt(first, item)
            elif self._settle(first, item) and isinstance(item, Pass) and item.settles:
                settled = at
            first += len(members(item))
        if settled is not None:
            self._settle_again(settled)

    def _attempt(self, first: int, item: Attempt) -> None:
        """Run the passes of a group; where one goes back, what is to run otherwise."""
        tried = sum(len(members(part)) for part in item.passes)
        self._start_attempt(first + tried - 1)
        try:
            self._in_order(first, item.passes)
        except WentBack:
            self._in_order(first + tried, item.otherwise)
        self._settle_attempt()

    def _in_order(self, first: int, items: Sequence[Pass | Repeat]) -> None:
        for item in items:
            self._settle(first, item)
            first += len(members(item))

    def _settle_again(self, at: int) -> None:
        """Bring the last group before item `at`, which has edited, to its fixed point once more.

        Not where a group stands behind: that one sees the edits.
        """
        if any(not isinstance(each, Pass) for each in self._items[at + 1 :]):
            return
        for place in reversed(range(at)):
            item = self._items[place]
            if isinstance(item, Attempt):
                return
            if isinstance(item, Repeat):
                self.closing.append(item)
                self._settle(sum(len(members(each)) for each in self._items[:place]), item)
                return

    def _settle(self, first: int, item: Pass | Repeat) -> bool:
        """Run a pass, or a group until each of its items has seen the edits of the others.

        `first` is the number of its first pass. Returns whether anything was edited.
        """
        if not isinstance(item, Repeat):
            return self._run_pass(first)
        starts = [*itertools.accumulate((len(members(i)) for i in item.passes), initial=first)]
        stale, edited = [True] * len(item.passes), False
        for _ in range(_MOST_ROUNDS):
            for place, inner in enumerate(item.passes):
                if not stale[place]:
                    continue
                stale[place] = False
                if self._settle(starts[place], inner):
                    stale, edited = [other != place for other in range(len(stale))], True
            if not any(stale):
                break
        return edited
