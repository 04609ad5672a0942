"""What becomes of passes and sites that fail: the graph is as it was, and a record says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....ir.core.errors import GraphError
from ...engine.context import Context
from ...engine.contract import Pass
from ...engine.records import Failure
from .failures import PassFailed
from .options import RunOptions
from .recorder import Recorder
from .reproducers import Reproducers
from .state import GraphState


class Rollback:
    """The failures of one run; passes are given by their index among `passes`."""

    def __init__(
        self,
        passes: Sequence[Pass],
        options: RunOptions,
        state: GraphState,
        recorder: Recorder,
        reproducers: Reproducers,
    ) -> None:
        self._passes = passes
        self._options = options
        self._state = state
        self._recorder = recorder
        self._reproducers = reproducers
        self.left_out: set[int] = set()  # passes that were rolled back as a whole
        self._told: set[tuple[int, str | None, str]] = set()  # failures that records have

    def give_up(self, index: int, failure: PassFailed) -> tuple[Failure, ...]:
        """Go on with the graph from before pass `index`, and without it; strict, raise its error.

        Returns what the record of the pass says of it.
        """
        item, place = self._passes[index], self._recorder.place(index)
        if self._options.strict and failure.contradiction is not None:
            raise GraphError(f"{place}: {failure.contradiction}") from failure.__cause__
        if self._options.strict:
            error = self._reproducers.of_pass(failure.error, item, place)
            raise error from failure.__cause__
        self.left_out.add(index)
        if failure.contradiction is not None:
            self._state.take(self._reproducers.give())
            return ()
        made = self._reproducers.failure(item, place, str(failure.error), failure.trace)
        self._state.take(self._reproducers.give())
        return (made,)

    def sites(self, index: int, context: Context) -> tuple[Failure, ...]:
        """Return the sites of pass `index` that were left as they were, those not told before."""
        fresh = [
            site for site in context.failed if (index, site.node, site.error) not in self._told
        ]
        if not fresh:
            return ()
        self._told.update((index, site.node, site.error) for site in fresh)
        made = self._reproducers.failure(
            self._passes[index], self._recorder.place(index), fresh[0].error, fresh[0].trace
        )
        return tuple(replace(made, node=site.node, error=site.error) for site in fresh)
