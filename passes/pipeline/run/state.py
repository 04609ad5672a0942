"""The graph that a run works on, and what is known of it."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.file_values import take_hold
from ....ir.graph.clone import clone
from ....ir.graph.types import Types
from ....ir.graph.uses import scopes
from ....ir.ops.fused.own import separate_foreign
from ...engine.analyses import Analyses


class GraphState:
    """A copy of `original`, as the passes so far have left it, with its analyses."""

    def __init__(self, original: gs.Graph) -> None:
        self.graph = clone(original)
        separate_foreign(self.graph)
        self.analyses = Analyses(self.graph)
        _protect_weights(self.graph)

    @property
    def nodes(self) -> int:
        """How many nodes the graph and its subgraphs have."""
        return sum(map(len, self.analyses.by_op.values()))

    def take(self, graph: gs.Graph, types: Types | None = None) -> None:
        """Go on with `graph`, changed by hand or another one; `types` where they are known."""
        self.graph = graph
        self.analyses = Analyses(graph, types)


def _protect_weights(graph: gs.Graph) -> None:
    """Make the weights, which the untouched graph shares, read-only in this copy of it.

    It holds those that lie in a file, until nothing in it reads them any more.
    """
    for scope in scopes(graph):
        for node in scope.nodes:
            for tensor in node.inputs:
                if not isinstance(tensor, gs.Constant):
                    continue
                take_hold(tensor)
                held = tensor._values
                if isinstance(held, np.ndarray) and held.flags.writeable:
                    tensor._values = held.view()
                    tensor._values.flags.writeable = False
