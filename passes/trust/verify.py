"""Verification: the outputs after a pass against those before it, on the reference runtime."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.errors import ExecutionError, FeedError, VerificationError
from ...ir.graph.uses import scopes
from ...ir.ops.purity import random_outputs
from ...ir.run.comparison import Comparison, OutputsComparer, compare_outputs
from ...ir.run.feeds import random_feeds
from ...ir.run.reference import Arrays, Reference
from ..engine.analyses import Analyses
from ..engine.context import Feeds
from .judge import Judge
from .telling import untelling

Run = Callable[[Mapping[str, np.ndarray[Any, Any]]], Arrays]

_MOST_FEEDS = 8
# Of one tensor; 8 GiB of float32.
_MOST_ELEMENTS = 1 << 31
# Of all outputs; 2 GiB of float32, and more than twice as much for what they are compared with.
_MOST_COMPARED = 1 << 29
# Of weights and inputs together, up to which starting threads takes longer than computing.
_FEW_ELEMENTS = 1 << 15


class Verifier:
    """Holds the outputs of the untouched graph and of the last graph that was checked.

    Feeds given by a person must fit, or FeedError is raised. Without feeds, inputs are drawn; where
    that or the reference runtime fails on the untouched graph, `note` says so and nothing is
    checked. At most eight feeds are used. Outputs that random operators feed are not compared.
    `known`: what is known of `graph` already, or of a copy of it. `precision`: what floats are
    computed in where they are compared, which says what is rounding.
    """

    def __init__(
        self,
        graph: gs.Graph,
        feeds: Feeds | None,
        seed: int,
        known: Analyses | None = None,
        *,
        precision: str = "float32",
    ) -> None:
        self._precision = precision
        self.note = ""
        self._intended = ""
        self._seed = seed
        self._random = random_outputs(graph)
        self._threads: int | None = None
        self.feeds: list[Mapping[str, np.ndarray[Any, Any]]] = []
        self._first: list[Arrays] = []
        self._untelling: dict[str, str] = {}
        try:
            self.feeds = _drawn(graph, seed) if feeds is None else _few(feeds)
            self._first = self._run_original(graph, known or Analyses(graph))
            if self._random and not any(self._first):
                self.note = "nothing was verified: random operators feed every output"
        except ExecutionError as error:
            self.note = f"the original graph cannot be run, so nothing was verified: {error}"
        except FeedError as error:
            if feeds is not None:
                raise
            self.note = f"nothing was verified: {error}"
        self._of_feeds = _count(self.feeds, feeds)
        self._last = self._first
        self._judge = self._judge_of(graph)

    @property
    def active(self) -> bool:
        """Whether there is something to compare with."""
        return not self.note

    @property
    def telling(self) -> bool:
        """Whether what was compared says something of every output."""
        return self.active and not self._untelling and not self._judge.undecided

    @property
    def remark(self) -> str:
        """Why nothing was checked, or why the check says little; empty where it says enough."""
        if self._intended:
            return (
                f"the outputs have changed by intent in {self._intended}; nothing was compared "
                "across it"
            )
        if not self.active:
            return self.note
        shown = [f"nothing was shown: output '{n}' {why}" for n, why in self._untelling.items()]
        judge = self._judge
        told = (*judge.undecided.values(), *judge.in_its_stead.values())
        return "; ".join([*told, *shown])

    @property
    def tolerance(self) -> float:
        """Largest relative error an exact pass may cause, as far as it had to be found out."""
        return self._judge.tolerance

    def check(self, graph: gs.Graph, exact: bool, what: str) -> float:
        """Return the error of `graph` against the graph checked before; see `check_end`."""
        outputs = self._outputs_after(graph, what)
        error = self._compare(self._last, outputs, graph, what if exact else "")
        self._last = outputs
        return error

    def check_end(self, graph: gs.Graph, exact: bool, what: str) -> float:
        """Return the largest error of any output of `graph` against the untouched graph.

        Relative to the output's range. Raises VerificationError where `exact` and an output differs
        by more than it may, or where the graph does not run any more.
        """
        outputs = self._outputs_after(graph, what)
        error = self._compare(self._first, outputs, graph, what if exact else "")
        self._last = outputs
        return error

    def comparison(self, original: gs.Graph) -> Comparison | None:
        """Return how far the outputs last checked are from those of `original`, the untouched one.

        None where nothing was checked, or what outputs are was changed by intent.
        """
        if not self.active or self._intended or self._last is self._first:
            return None
        total = OutputsComparer(original)
        for feed, before, after in zip(self.feeds, self._first, self._last, strict=True):
            total.add(feed, before, after)
        return replace(total.result(), of_feeds=self._of_feeds)

    def check_run(self, run: Run, graph: gs.Graph, what: str) -> float:
        """Return the largest error of what `run`, which is to compute `graph`, gives for a feed.

        Raises VerificationError as `check_end`, of an exact step called `what`.
        """
        try:
            outputs = [_without(run(feed), self._random) for feed in self.feeds]
        except ExecutionError as error:
            raise VerificationError(f"after {what} the network does not run: {error}") from error
        for wanted, found in zip(self._first, outputs, strict=True):
            _check_kind(wanted, found, what)
        return self._compare(self._first, outputs, graph, what)

    def start_over(self, graph: gs.Graph, what: str) -> None:
        """Compare with `graph` from here on: `what` has changed the outputs by intent.

        Raises VerificationError where the graph does not run any more.
        """
        random = random_outputs(graph)
        self._first = self._last = self._outputs_after(graph, what, random)
        self._random = random
        self._judge = self._judge_of(graph)
        self._untelling = {}
        self._intended = what

    def _judge_of(self, graph: gs.Graph) -> Judge:
        return Judge(
            graph,
            self.feeds,
            self._first,
            seed=self._seed,
            halves=_has_halves(graph),
            precision=self._precision,
        )

    def _outputs_after(
        self, graph: gs.Graph, what: str, random: Collection[str] | None = None
    ) -> list[Arrays]:
        left_out = self._random if random is None else random
        try:
            run = Reference(graph, threads=self._threads)
            return [_without(run(feed), left_out) for feed in self.feeds]
        except ExecutionError as error:
            raise VerificationError(
                f"after {what} the graph does not run any more: {error}"
            ) from error

    def _compare(
        self, before: list[Arrays], after: list[Arrays], graph: gs.Graph, exact_pass: str
    ) -> float:
        if exact_pass:
            return self._judge.judge(before, after, graph, exact_pass)
        found = compare_outputs(before, after)
        return found.max_rel if found.outputs else 0.0

    def _run_original(self, graph: gs.Graph, known: Analyses) -> list[Arrays]:
        _refuse_large(known)
        self._threads = _threads(graph, self.feeds)
        run = Reference(graph, threads=self._threads)
        outputs = []
        for feed in self.feeds:
            outputs.append(_without(run(feed), self._random))
            _refuse_many(outputs)
        self._untelling = untelling(graph, self.feeds, outputs, run, self._seed)
        return outputs


def _refuse_large(known: Analyses) -> None:
    """Raise ExecutionError where a tensor is known not to fit in memory, before it is tried."""
    types = known.types
    for node in known.graph.nodes:
        for tensor in node.outputs:
            found = types.of(tensor)
            sizes = [] if found is None else [s for s in found.shape or () if isinstance(s, int)]
            if math.prod(sizes) > _MOST_ELEMENTS:
                raise ExecutionError(
                    f"tensor '{tensor.name}' of shape {sizes} does not fit in memory"
                )


def _refuse_many(outputs: Collection[Arrays]) -> None:
    """Raise ExecutionError where outputs leave no room for those that they are compared with."""
    sizes = {name: sum(each[name].size for each in outputs) for name in next(iter(outputs))}
    if sum(sizes.values()) > _MOST_COMPARED:
        name = max(sizes, key=lambda name: sizes[name])
        raise ExecutionError(
            f"output '{name}' has {sizes[name]} elements, which do not fit in memory several "
            "times; give feeds on which it is smaller"
        )


def _threads(graph: gs.Graph, feeds: Collection[Mapping[str, np.ndarray[Any, Any]]]) -> int | None:
    """Return 1 where `graph` computes little, and None, for the runtime's own choice, elsewhere."""
    elements = sum(np.asarray(array).size for feed in feeds for array in feed.values())
    for scope in scopes(graph):
        for node in scope.nodes:
            elements += sum(math.prod(t.shape) for t in node.inputs if isinstance(t, gs.Constant))
            if elements > _FEW_ELEMENTS:
                return None
    return 1


def _check_kind(wanted: Arrays, found: Arrays, what: str) -> None:
    """Raise VerificationError where an output is missing, or of another type or shape."""
    for name, array in wanted.items():
        other = found.get(name)
        if other is None or (other.dtype, other.shape) != (array.dtype, array.shape):
            given = "is missing" if other is None else f"is {other.dtype}{list(other.shape)}"
            raise VerificationError(
                f"after {what} output '{name}' {given}, and it should be "
                f"{array.dtype}{list(array.shape)}",
                output=name,
                error=math.inf,
                allowed=0.0,
            )


def _without(outputs: Arrays, names: Collection[str]) -> Arrays:
    return {name: array for name, array in outputs.items() if name not in names}


def _drawn(graph: gs.Graph, seed: int) -> list[Mapping[str, np.ndarray[Any, Any]]]:
    """Return inputs for `graph`, and others with its flags turned, which take other branches."""
    (drawn,) = random_feeds(graph, seed=seed)
    if all(array.dtype != bool for array in drawn.values()):
        return [drawn]
    return [drawn, {n: np.asarray(~a) if a.dtype == bool else a for n, a in drawn.items()}]


def _few(feeds: Feeds) -> list[Mapping[str, np.ndarray[Any, Any]]]:
    found = list(itertools.islice(feeds, _MOST_FEEDS))
    if not found:
        raise FeedError("the feeds are empty; give at least one sample")
    return found


def _count(used: Sequence[object], feeds: Feeds | None) -> int | None:
    """Return how many feeds there are, of which so many are used; None where nobody knows."""
    if feeds is None or len(used) < _MOST_FEEDS:
        return len(used)
    known = operator.length_hint(feeds)
    return known if known >= len(used) else None


def _has_halves(graph: gs.Graph) -> bool:
    if any(dtypes.is_half(t.dtype) for t in graph.inputs):
        return True
    return any(
        (node.op == "Cast" and dtypes.is_half(node.attrs.get("to")))
        or any(t.name and dtypes.is_half(t.dtype) for t in (*node.inputs, *node.outputs))
        for scope in scopes(graph)
        for node in scope.nodes
    )
