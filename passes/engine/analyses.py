"""What is known of a graph as it is, computed when it is asked for and kept until it changes."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...ir.graph.edit import Edit
from ...ir.graph.types import Types
from ...ir.graph.uses import Uses
from ...ir.ops.shapes.infer import infer_types
from ...ir.ops.shapes.update import updated_types


class Analyses:
    """The inferred types of `graph`, and the index of who makes and reads its tensors.

    Both follow the changes that are made through an `Edit`: types are inferred again for what was
    edited. A graph that was changed by hand needs other analyses.
    """

    def __init__(self, graph: gs.Graph, types: Types | None = None) -> None:
        self.graph = graph
        self._types = types
        self._uses: Uses | None = None
        self._edited: dict[int, gs.Node] = {}  # since the types were inferred

    @property
    def types(self) -> Types:
        """The types of `graph`, inferred where they are not known."""
        if self._types is None or self._edited:
            if self._types is not None:
                self._types = updated_types(self.graph, self._types, self._edited, self.uses)
            if self._types is None:
                self._types = infer_types(self.graph)
            self._edited.clear()
        return self._types

    @property
    def uses(self) -> Uses:
        """The index of `graph`."""
        if self._uses is None:
            self._uses = Uses(self.graph)
        return self._uses

    def follow(self, edit: Edit) -> None:
        """Take in what `edit` has changed."""
        if edit.everywhere:
            self._types = None
        else:
            self._edited.update(edit.edited)
