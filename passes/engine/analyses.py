"""What is known of a graph as it is, computed when it is asked for and kept until it changes."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...ir.graph.types import Types
from ...ir.graph.uses import Uses
from ...ir.ops.shapes.infer import infer_types


class Analyses:
    """The inferred types of `graph`, and the index of who makes and reads its tensors.

    Types are forgotten when a batch of changes is written into the graph. The index follows every
    change that is made through an `Edit`, so it is kept; a graph that was changed by hand needs
    other analyses.
    """

    def __init__(self, graph: gs.Graph, types: Types | None = None) -> None:
        self.graph = graph
        self._types = types
        self._uses: Uses | None = None

    @property
    def types(self) -> Types:
        """The types of `graph`, inferred where they are not known."""
        if self._types is None:
            self._types = infer_types(self.graph)
        return self._types

    @property
    def uses(self) -> Uses:
        """The index of `graph`."""
        if self._uses is None:
            self._uses = Uses(self.graph)
        return self._uses

    def forget_types(self) -> None:
        """Infer the types again when they are next asked for."""
        self._types = None
