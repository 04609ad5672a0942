"""Verification: the outputs after a pass against those before it, on the reference runtime."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.errors import ExecutionError, FeedError, VerificationError
from ...ir.graph.uses import scopes
from ...ir.ops.purity import random_outputs
from ...ir.run.compare import Comparison, compare_outputs
from ...ir.run.feeds import random_feeds
from ...ir.run.reference import Arrays, Reference
from ..engine.context import Feeds
from .rounding import measure_rounding

FLOAT_TOLERANCE = 1e-5
HALF_TOLERANCE = 1e-3
# A network that amplifies its own rounding is granted this many times what rounding alone does.
_ROUNDING_FACTOR = 10.0
# Beyond this part of the range, a tolerance lets mistakes through.
_TELLING = 1e-2
_MOST_FEEDS = 8


class Verifier:
    """Holds the outputs of the untouched graph and of the last graph that was checked.

    Feeds given by a person must fit, or FeedError is raised. Without feeds, inputs are drawn; where
    that or the reference runtime fails on the untouched graph, `note` says so and nothing is
    checked. At most eight feeds are used. Outputs that random operators feed are not compared.
    """

    def __init__(self, graph: gs.Graph, feeds: Feeds | None, seed: int) -> None:
        self.note = ""
        self._intended = ""
        self._original = graph
        self._seed = seed
        self._tolerance = HALF_TOLERANCE if _has_halves(graph) else FLOAT_TOLERANCE
        self._rounding: float | None = None
        self._random = random_outputs(graph)
        self.feeds: list[Mapping[str, np.ndarray[Any, Any]]] = []
        self._first: list[Arrays] = []
        try:
            self.feeds = _few(feeds) if feeds is not None else list(random_feeds(graph, seed=seed))
            self._first = self._run(graph)
            if self._random and not any(self._first):
                self.note = "nothing was verified: random operators feed every output"
        except ExecutionError as error:
            self.note = f"the original graph cannot be run, so nothing was verified: {error}"
        except FeedError as error:
            if feeds is not None:
                raise
            self.note = f"nothing was verified: {error}"
        self._last = self._first

    @property
    def active(self) -> bool:
        """Whether there is something to compare with."""
        return not self.note

    @property
    def remark(self) -> str:
        """Why nothing was checked, or why the check says little; empty where it says enough."""
        if self._intended:
            return (
                f"the outputs have changed by intent in {self._intended}; nothing was compared "
                "across it"
            )
        if self.active and self.tolerance > _TELLING:
            return (
                f"rounding alone moves the outputs by {self._rounding or 0:.1g} of their range for "
                "these inputs, so this says little; give feeds with real samples"
            )
        return self.note

    @property
    def tolerance(self) -> float:
        """Largest relative error an exact pass may cause, as far as it had to be found out."""
        return max(self._tolerance, _ROUNDING_FACTOR * (self._rounding or 0.0))

    def check(self, graph: gs.Graph, exact: bool, what: str) -> float:
        """Return the error of `graph` against the graph checked before; see `check_end`."""
        outputs = self._outputs_after(graph, what)
        error = self._judge(compare_outputs(self._last, outputs), exact, what)
        self._last = outputs
        return error

    def check_end(self, graph: gs.Graph, exact: bool, what: str) -> float:
        """Return the largest error of any output of `graph` against the untouched graph.

        Relative to the output's range. Raises VerificationError where `exact` and the error is over
        the tolerance, or where the graph does not run any more.
        """
        return self._judge(
            compare_outputs(self._first, self._outputs_after(graph, what)), exact, what
        )

    def start_over(self, graph: gs.Graph, what: str) -> None:
        """Compare with `graph` from here on: `what` has changed the outputs by intent.

        Raises VerificationError where the graph does not run any more.
        """
        random = random_outputs(graph)
        self._first = self._last = self._outputs_after(graph, what, random)
        self._original, self._random = graph, random
        self._rounding = None
        self._intended = what

    def _outputs_after(
        self, graph: gs.Graph, what: str, random: Collection[str] | None = None
    ) -> list[Arrays]:
        try:
            return self._run(graph, random)
        except ExecutionError as error:
            raise VerificationError(
                f"after {what} the graph does not run any more: {error}"
            ) from error

    def _judge(self, found: Comparison, exact: bool, what: str) -> float:
        if not found.outputs:
            return 0.0
        worst = found.worst
        if exact and worst.max_rel > self._tolerance:
            if self._rounding is None:
                self._rounding = measure_rounding(
                    self._original, self.feeds, self._first, self._seed
                )
            if worst.max_rel > self.tolerance:
                raise VerificationError(
                    f"after {what} output '{worst.name}' differs by {worst.max_rel:.3g} of its "
                    f"range (largest difference {worst.max_abs:.3g}); at most {self.tolerance:.3g} "
                    "is allowed"
                )
        return worst.max_rel

    def _run(self, graph: gs.Graph, random: Collection[str] | None = None) -> list[Arrays]:
        run, left_out = Reference(graph), self._random if random is None else random
        return [
            {name: array for name, array in run(feed).items() if name not in left_out}
            for feed in self.feeds
        ]


def _few(feeds: Feeds) -> list[Mapping[str, np.ndarray[Any, Any]]]:
    found = list(itertools.islice(feeds, _MOST_FEEDS))
    if not found:
        raise FeedError("the feeds are empty; give at least one sample")
    return found


def _has_halves(graph: gs.Graph) -> bool:
    if any(dtypes.is_half(t.dtype) for t in graph.inputs):
        return True
    return any(
        (node.op == "Cast" and dtypes.is_half(node.attrs.get("to")))
        or any(t.name and dtypes.is_half(t.dtype) for t in (*node.inputs, *node.outputs))
        for scope in scopes(graph)
        for node in scope.nodes
    )
