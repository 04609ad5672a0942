"""What all decompositions share: layers are read, fitted in order, judged and replaced.

    a layer of the graph  ->  problems (`quadratic`)  ->  a chain (`chain`)  ->  worth it? (`costs`)

A layer is fitted to what the layers replaced before it give (`observe/sequence`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import DeclinedError, need
from ...ir.core.errors import RefusedError
from ...ir.core.variables import is_standard, node_key
from ...ir.graph.clone import clone
from ...ir.graph.edit import Edit
from ...ir.graph.uses import scopes
from ...ir.graph.view import View
from ...ir.ops.linear.layer import Layer, read_with_bias
from ...ir.ops.masks import read_masked
from ...ir.ops.traits.groups import LAYERS
from ..analysis.observe.moments import Moments
from ..analysis.observe.sequential_fitting import fit_in_sequence, has_bias
from ..engine.context import Context
from ..engine.contract import Pass
from ..engine.node_names import NodeSelection
from ..fusion.inline_fused_operators import inline_fused_operators
from .chain import Factor, FactorChain, has_role, need_storable, own_bias, role_of, write_chain
from .costs import ChainCosts, in_units
from .quadratic import Array, FactorProblem, problems_of, relative_error, scales_of


@dataclass(frozen=True)
class FittedFactors:
    """Factors for a layer, the rows [M, K] that they amount to in each group, and what they are.

    `values` are those of the groups' forms (`QuadraticForm.value`).
    """

    factors: tuple[Factor, ...]
    rows: tuple[Array, ...]
    values: tuple[float, ...]
    form: str


@dataclass(frozen=True)
class Decomposition(NodeSelection, Pass):
    """A pass that replaces linear layers by chains; see `decomposition`.

    - `max-error`: the error that is allowed, as a part of the variance of a layer's output
      channels.
    - `measure`: leave layers alone whose substitute is not faster on the target; without it, fewer
      multiply-accumulates are enough.
    - `positions`: output positions of a layer that are looked at in all, shared out over the feeds.
    - `extend`: look at a graph that holds such substitutes already, which is left alone otherwise.
    """

    exact: ClassVar[bool] = False
    roles: ClassVar[tuple[str, ...]]  # of the factors it writes
    takes_blocks: ClassVar[bool] = (
        False  # moments of very many columns, see `FactorProblem.has_blocks`
    )

    max_error: float | None = None
    measure: bool = True
    positions: int = 8192
    extend: bool = False

    @abstractmethod
    def admit(self, layer: Layer) -> bool:
        """Say whether `layer` is of the kind that this pass replaces; decline what is nearly."""

    @abstractmethod
    def cheapest(self, layer: Layer, gains: ChainCosts) -> tuple[Factor, ...]:
        """Return factors, their values left open, than which no choice for `layer` is cheaper."""

    @abstractmethod
    def fit(
        self, layer: Layer, problems: Sequence[FactorProblem], gains: ChainCosts
    ) -> FittedFactors:
        """Return the factors chosen for `layer`, or decline."""

    def __post_init__(self) -> None:
        """Check the options; raises RefusedError naming one that makes no sense."""
        if self.max_error is not None and not self.max_error > 0:
            raise RefusedError(f"max-error is {self.max_error}; give a part above 0, such as 0.05")
        if self.positions < 1:
            raise RefusedError(f"positions is {self.positions}; give at least 1")

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Replace the layers of `graph` in order."""
        if not self.extend and has_role(graph, self.roles):
            context.remark(
                f"the graph holds factors of {self.name} already and was left alone; extend=true "
                "looks at its other layers",
                idle=True,
            )
            return
        inline_fused_operators(graph, context)
        self.check_nodes(graph, context, LAYERS)
        DecompositionRun(self, graph, context).replace()


class DecompositionRun:
    """One run of a decomposition over a graph."""

    def __init__(self, item: Decomposition, graph: gs.Graph, context: Context) -> None:
        self._item = item
        self._graph = graph
        self._context = context
        self._gains = ChainCosts(graph, context, measure=item.measure)

    def replace(self) -> None:
        """Fit and replace what can be; remark on each layer and on the whole."""
        item, context = self._item, self._context
        layers = self._layers(context.view())
        if not layers:
            return
        before = clone(self._graph)
        if context.feeds is None:
            count = self._replace_by_weights(layers)
            if count:
                context.remark(
                    "no feeds were given, so weights are approximated, not what they give on data"
                )
        else:
            count = fit_in_sequence(
                self._graph, layers, context.feeds, self._change, context, positions=item.positions
            )
        if count:
            self._sum_up(before, count, len(layers))

    def _replace_by_weights(self, layers: Sequence[Layer]) -> int:
        with self._context.editing() as edit:
            for layer in layers:
                if not self._change(layer, None, edit):
                    break
        return edit.count

    def _sum_up(self, graph: gs.Graph, count: int, looked_at: int) -> None:
        before, after = self._gains.total(graph), self._gains.total(self._graph)
        speed = self._gains.speed(graph, self._graph)
        self._context.remark(
            f"{count} of {looked_at} layers replaced: MACs {in_units(before.macs)} -> "
            f"{in_units(after.macs)}, parameters {in_units(before.parameters)} -> "
            f"{in_units(after.parameters)}{self._gains.inputs()}"
            + ("" if speed is None else f", {speed:.2f} times as fast on {self._context.target}")
        )
        if self._item.measure and self._gains.slow:
            left = (*self._item.exclude, *self._gains.slow)
            again = replace(self._item, measure=False, exclude=left)
            self._context.remark(f"the same without measuring: {again!s}")

    def _layers(self, view: View) -> list[Layer]:
        found = []
        for scope in scopes(self._graph):
            for node in scope.nodes:
                if node.op not in LAYERS or not is_standard(node):
                    continue
                try:
                    need(scope is self._graph, "it stands in the body of an If, Loop or Scan")
                    layer = self._read(node, view)
                    if layer is None:
                        continue
                    self._gains.need_gain(
                        layer, FactorChain(self._item.cheapest(layer, self._gains))
                    )
                    found.append(layer)
                except DeclinedError as reason:
                    self._context.decline(node, str(reason))
        return found

    def _read(self, node: gs.Node, view: View) -> Layer | None:
        self._item.need_selected(node)
        need(role_of(node) is None, "it is a factor of a decomposition already")
        maker = view.producer(node.inputs[1])
        need(
            maker is None or read_masked(maker) is None,
            "its weight is masked; run apply-masks first",
        )
        layer = read_with_bias(node, view)
        if not self._item.admit(layer):
            return None
        need(layer.weight.size > 0, "its weight is empty")
        need(not isinstance(layer.source, gs.Constant), "its input is a constant")
        need(bool(np.isfinite(layer.weight).all()), "its weights are not finite")
        return layer

    def _change(self, layer: Layer, moments: Moments | None, edit: Edit) -> bool:
        problems = problems_of(layer.kernel(), moments, has_bias=has_bias(layer))
        if not self._item.takes_blocks:
            problems = [problem.without_blocks() for problem in problems]
        try:
            fitted = self._item.fit(layer, problems, self._gains)
            error = self._error(fitted, problems)
            chain = FactorChain(fitted.factors, self._bias(layer, fitted, problems))
            if moments is not None:
                chain = chain.scaled(scales_of(moments), has_bias=has_bias(layer))
            need_storable(chain, layer)
            gain = self._gains.need_gain(layer, chain)
        except DeclinedError as reason:
            self._context.decline(layer.node, str(reason))
            return True
        if not edit.begin():
            return False
        write_chain(edit, layer, chain)
        kind = "output variance" if moments is not None else "weights"
        self._context.remark(
            f"'{node_key(layer.node)}' as {fitted.form}: {gain}, error {error:.2g} of its {kind}"
        )
        return True

    def _error(self, fitted: FittedFactors, problems: Sequence[FactorProblem]) -> float:
        error = relative_error(problems, fitted.rows, fitted.values)
        limit = self._item.max_error
        need(np.isfinite(error), "its approximation is not finite")
        need(
            limit is None or error <= limit,
            f"the error of {fitted.form} is {error:.2g}, above max-error {limit}",
        )
        return error

    def _bias(
        self, layer: Layer, fitted: FittedFactors, problems: Sequence[FactorProblem]
    ) -> Array | None:
        parts = [p.bias(rows) for p, rows in zip(problems, fitted.rows, strict=True)]
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else own_bias(layer)
