"""What recognition found: one operator, in the place of the nodes that spell it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.variables import FUSED_DOMAIN
from ...ir.graph.edit import Edit
from ...ir.graph.functions import ensure_function
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


class Recognition(Rewrite[RecognizedOperator]):
    """A rewrite that puts one operator in the place of several nodes."""

    def rewrite(self, site: RecognizedOperator, edit: Edit) -> None:
        """Replace the nodes by the operator; the name of the result stays."""
        root = site.nodes[0]
        if site.function is not None:
            ensure_function(edit.graph, site.function)
        for node in site.nodes:
            edit.remove(node)
        edit.node(
            site.op,
            [_operand(given, index, root, edit) for index, given in enumerate(site.inputs)],
            [root.outputs[0]],
            site.attrs,
            at=root,
            domain=FUSED_DOMAIN if site.function is not None else None,
        )


def _operand(given: gs.Tensor | Array | None, index: int, root: gs.Node, edit: Edit) -> gs.Tensor:
    if given is None:
        return gs.Variable.empty()
    if isinstance(given, np.ndarray):
        return edit.constant(given, f"{root.outputs[0].name}_operand_{index}")
    return given
