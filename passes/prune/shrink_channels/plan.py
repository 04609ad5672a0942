"""What can be removed from a graph, why the rest cannot, and the removal."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import node_key
from ....ir.graph.edit import Edit
from ...analysis.channels.analyze import analyze_channels
from ...analysis.channels.cells import Array
from ...analysis.channels.findings import ChannelLayer, RecurrentLayer
from ...engine.context import Context
from .cut import ChannelCut
from .kept_channels import KeptChannels
from .known_values import KnownValues, LayerFold

_PADDED = "its constant channels reach a layer that sees padding beside them"


class ShrinkPlan:
    """The channels of `graph` and which of them have an effect; layers in `exclude` keep theirs."""

    def __init__(
        self,
        graph: gs.Graph,
        context: Context,
        exclude: Collection[str] = (),
        *,
        across_layernorm: bool = False,
    ) -> None:
        self._context = context
        self._analysis = analyze_channels(context, across_layernorm=across_layernorm)
        layers: list[ChannelLayer | RecurrentLayer] = list(self._analysis.layers)
        for layer in (*layers, *self._analysis.recurrent):
            if node_key(layer.node) in exclude:
                self._analysis.cells.fix(layer.made, "it is excluded")
        self._folds: list[LayerFold] = KnownValues(self._analysis, graph).folds
        self._kept: dict[int, KeptChannels] = {}

    def removable(self, multiple: int) -> int:
        """Count the channels that go where those left are rounded up to `multiple`."""
        keep = self._keep(multiple)
        return int((~keep.stays[np.unique(keep.roots)]).sum())

    def renormalized(self, multiple: int) -> int:
        """Count the normalizations whose statistics are of fewer channels then."""
        keep = self._keep(multiple)
        return sum(not keep.of(cells).all() for _, cells in self._analysis.normalized)

    def cut(self, edit: Edit, multiple: int, most: int | None = None) -> None:
        """Remove them; with `most` only those of so many nodes, the first ones that make any."""
        keep = self._keep(multiple)
        nodes, of_cell = self._makers(keep)
        if most is not None and most < len(nodes):
            later = np.flatnonzero((of_cell >= most) & ~keep.stays)
            keep = KeptChannels(self._analysis, self._folds, multiple, later.tolist())
            nodes, _ = self._makers(keep)
        if nodes:
            ChannelCut(self._analysis, keep, self._folds, edit, nodes).run()

    def explain(self) -> None:
        """Decline the layers that make channels of known value which have to stay, with why."""
        keep = self._keep(1)
        silent = np.ones(len(keep.roots), bool)
        for fold in self._folds:
            if not fold.layer.depthwise:
                varies = fold.needs.any(axis=2).reshape(-1)
                silent[keep.roots[fold.layer.made[varies]]] = False
        for fold in self._folds:
            own = np.unique(keep.roots[fold.layer.made])
            held = own[silent[own] & keep.effective[own]]
            if fold.layer.depthwise or not len(held):
                continue
            reason = self._analysis.cells.reason(int(held[0]))
            self._context.decline(fold.layer.node, reason or _PADDED)

    def _keep(self, multiple: int) -> KeptChannels:
        if multiple not in self._kept:
            self._kept[multiple] = KeptChannels(self._analysis, self._folds, multiple)
        return self._kept[multiple]

    def _makers(self, keep: KeptChannels) -> tuple[list[gs.Node], Array]:
        """Return the nodes that first make what goes, and by cell which of them does."""
        number = np.full(len(keep.roots), -1)
        nodes: list[gs.Node] = []
        for node, _ in self._analysis.nodes:
            for tensor in node.outputs:
                labels = self._analysis.of(tensor)
                if labels is None:
                    continue
                own = np.unique(keep.roots[labels])
                fresh = own[(number[own] < 0) & ~keep.stays[own]]
                if len(fresh):
                    if not nodes or nodes[-1] is not node:
                        nodes.append(node)
                    number[fresh] = len(nodes) - 1
        return nodes, number
