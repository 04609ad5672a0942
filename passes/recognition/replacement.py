"""What recognition found: one operator, in the place of the nodes that spell it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.graph.edit import Edit
from ...ir.graph.functions import call_function
from ...ir.graph.parts import is_written_out
from ..engine.rewrite import Rewrite

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RecognizedOperator:
    """The operator to write, and the `nodes` it stands for, the one that gives the result first.

    Inputs are tensors of the graph, fresh constants, or None for an absent one. With `function`,
    the operator is a call of that local function.
    """

    op: str
    inputs: tuple[gs.Tensor | Array | None, ...]
    nodes: tuple[gs.Node, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    function: gs.Function | None = None

    @property
    def is_no_longer(self) -> bool:
        """Whether it takes no more nodes than it stands for, its function written out."""
        return self.function is None or len(self.function.nodes) <= len(self.nodes)


class Recognition(Rewrite[RecognizedOperator]):
    """A rewrite that puts one operator in the place of several nodes."""

    def rewrite(self, site: RecognizedOperator, edit: Edit) -> None:
        """Replace the nodes by the operator; the name of the result stays."""
        root = site.nodes[0]
        result = root.outputs[0]
        for node in site.nodes:
            edit.remove(node)
        inputs = [_operand(given, index, root, edit) for index, given in enumerate(site.inputs)]
        if site.function is None:
            edit.node(site.op, inputs, [result], site.attrs, at=root)
        else:
            call_function(edit, site.function, inputs, result, site.attrs, of=site.nodes, at=root)

    def restores(self, site: RecognizedOperator) -> bool:
        """Say whether the file that was loaded spells a call of the function out."""
        return site.function is not None and all(map(is_written_out, site.nodes))


def _operand(given: gs.Tensor | Array | None, index: int, root: gs.Node, edit: Edit) -> gs.Tensor:
    if given is None:
        return gs.Variable.empty()
    if isinstance(given, np.ndarray):
        return edit.constant(given, f"{root.outputs[0].name}_operand_{index}")
    return given
