"""Give a network a new last layer, for other classes than it was trained on.

y = softmax(W x + b), W: K x C   ->   y = softmax(W' x), W': K' x C drawn anew

W' ~ N(0, 1 / fan-in), its bias zero: outputs of the size of their inputs (LeCun et al., Efficient
BackProp, 1998, section 4.6), and a cross-entropy that starts near log K'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.core.errors import RefusedError
from ....ir.core.nearest import nearest
from ....ir.core.variables import label
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.linear.layer import Layer
from ....ir.ops.linear.storing import stored
from ....ir.ops.shapes.infer import infer_types
from ...engine.context import Context
from ...engine.contract import Pass
from ...fusion.inline_fused_operators import inline_fused_operators
from .head import Head, last_layer, read_head

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ReplaceHead(Pass):
    """Replace the last linear layer by a fresh one with another number of outputs.

    The layer is the last Gemm, MatMul or Conv. Weights are drawn with the pipeline's seed and keep
    their names; Softmax, Flatten, Reshape and the like behind the layer stay.

    - `classes`: the number of outputs.
    - `output`: the graph output whose layer is meant, where there are several.
    """

    name: ClassVar[str] = "replace-head"
    exact: ClassVar[bool] = False
    keeps_outputs: ClassVar[bool] = False

    classes: int
    output: str = ""

    def __post_init__(self) -> None:
        """Check the number of classes."""
        if self.classes < 1:
            raise RefusedError(f"classes is {self.classes}; give the number of outputs, 1 or more")

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Find the head, draw its weights, and declare the shapes that follow."""
        inline_fused_operators(graph, context)
        view = context.view()
        layer = self._find(graph, view)
        fresh = self._draw(layer, context.seed)
        if _stands(fresh, layer):
            return
        try:
            head = read_head(layer, view)
        except DeclinedError as reason:
            raise RefusedError(f"the head cannot be replaced: {reason}") from reason
        with context.editing() as edit:
            if not edit.begin():
                return
            self._replace(head, fresh, edit)
        _declare_shapes(head, graph)
        context.remark(
            f"{label(layer.node)} had {layer.outputs} outputs and has {self.classes}, untrained"
        )

    def _find(self, graph: gs.Graph, view: View) -> Layer:
        layers: dict[int, Layer] = {}
        named: dict[int, list[str]] = {}
        reasons: list[str] = []
        for tensor in self._outputs(graph):
            try:
                layer = last_layer(tensor, view)
            except DeclinedError as reason:
                reasons.append(str(reason))
                continue
            layers.setdefault(id(layer.node), layer)
            named.setdefault(id(layer.node), []).append(f"'{tensor.name}'")
        if not layers:
            raise RefusedError(f"there is no head to replace: {'; '.join(dict.fromkeys(reasons))}")
        if len(layers) > 1:
            outputs = " and ".join(", ".join(names) for names in named.values())
            raise RefusedError(
                f"the outputs {outputs} have a last layer each; name one by the option 'output'"
            )
        (found,) = layers.values()
        return found

    def _outputs(self, graph: gs.Graph) -> list[gs.Tensor]:
        if not self.output:
            return list(graph.outputs)
        found = [tensor for tensor in graph.outputs if tensor.name == self.output]
        if not found:
            names = [tensor.name for tensor in graph.outputs]
            raise RefusedError(
                f"the graph has no output '{self.output}'{nearest(self.output, names)}"
            )
        return found

    def _replace(self, head: Head, fresh: tuple[Array, Array | None], edit: Edit) -> None:
        layer = head.layer
        weight, bias = fresh
        slots: list[tuple[gs.Node, int, Array | None]] = [(layer.node, 1, weight)]
        if layer.added is not None:
            slots.append((layer.added, int(layer.added.inputs[0] is layer.node.outputs[0]), bias))
        elif bias is not None:
            slots.append((layer.node, 2, bias))
        for node, place, values in slots:
            old = node.inputs[place]
            assert values is not None
            made = edit.constant(values, f"{old.name}_new")
            edit.set_input(node, place, made)
            if not edit.uses.reads(old) and id(old) not in edit.uses.pinned:
                edit.take_name(made, old)
        for node, place in head.targets:
            target = np.array(node.inputs[1].values)
            target[place] = self.classes
            edit.set_input(node, 1, edit.constant(target, f"{node.inputs[1].name}_new"))

    def _draw(self, layer: Layer, seed: int) -> tuple[Array, Array | None]:
        """Return weight and bias, in the form and the type of the layer's."""
        shape = list(layer.weight.shape)
        shape[layer.output_axis] = self.classes
        deviation = 1 / np.sqrt(layer.weight.size / layer.outputs)
        values = np.random.default_rng(seed).normal(0, deviation, shape)
        has_bias = layer.added is not None or (
            len(layer.node.inputs) > 2 and not layer.node.inputs[2].is_empty()
        )
        dtype = layer.weight.dtype
        return stored(values, dtype), np.zeros(self.classes, dtype) if has_bias else None


def _stands(fresh: tuple[Array, Array | None], layer: Layer) -> bool:
    """Say whether `layer` has these weights already; a bias of zeros may be read as none."""
    weight, bias = fresh
    return np.array_equal(weight, layer.weight) and (bias is None or not np.any(layer.bias))


def _declare_shapes(head: Head, graph: gs.Graph) -> None:
    """Write the shapes that have changed into the tensors behind the head and the graph outputs."""
    types = infer_types(graph)
    for tensor in (head.layer.node.outputs[0], *head.results):
        found = types.of(tensor)
        if isinstance(tensor, gs.Variable):
            tensor.shape = None if found is None or found.shape is None else list(found.shape)
