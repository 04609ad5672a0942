"""Sibling layers: linear operators that read one tensor alike, and one layer for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.linear.kernel import Kernel
from ....ir.ops.linear.layer import Layer, read_layer, write_layer
from ....ir.ops.linear.operators import reads_transposed
from ....ir.ops.linear.storing import need_storable
from ....ir.ops.traits import operators_with
from ....ir.ops.traits.groups import LAYERS
from ....ir.ops.windows.attributes import explicit_window
from ....ir.ops.windows.taps import Window

# Sums of transposed convolutions overlap, and no runtime has a better one for more channels.
SIBLING_OPS = LAYERS - {"ConvTranspose"}
# Functions of one number that keep its type; bounds and slopes are the same for all channels.
_ACTIVATIONS = operators_with(lambda traits: traits.unary and traits.continuous) - {"Identity"}


@dataclass(frozen=True)
class SiblingLayer:
    """A layer, the activation that alone reads it (or None), and how it reads its input."""

    layer: Layer
    activation: gs.Node | None
    window: Window | None

    @property
    def result(self) -> gs.Tensor:
        """The tensor it gives, activation included."""
        return self.layer.result if self.activation is None else self.activation.outputs[0]

    @property
    def nodes(self) -> tuple[gs.Node, ...]:
        """Its nodes, the last first."""
        return (*([] if self.activation is None else [self.activation]), *self.layer.nodes)

    def like(self, other: SiblingLayer, view: View) -> bool:
        """Say whether both read one tensor alike and end in the same activation."""
        return (
            self.layer.source is other.layer.source
            and self.layer.op == other.layer.op
            and self.window == other.window
            and _same_activation(self.activation, other.activation, view)
        )


@dataclass(frozen=True)
class StackedSiblings:
    """Siblings and the kernel that gives all of their outputs, in order."""

    siblings: tuple[SiblingLayer, ...]
    kernel: Kernel
    type: TensorType | None  # of the first sibling's result, but for its channels

    @property
    def first(self) -> SiblingLayer:
        """The sibling whose place and attributes the merged operator takes."""
        return self.siblings[0]

    @property
    def sizes(self) -> list[int]:
        """Number of outputs of each sibling."""
        return [sibling.layer.outputs for sibling in self.siblings]

    def write(self, edit: Edit, result: gs.Tensor | None = None) -> gs.Tensor:
        """Put the merged layer and its activation in place of the siblings; return the result."""
        for sibling in self.siblings:
            for node in sibling.nodes:
                edit.remove(node)
        layer, activation = self.first.layer, self.first.activation
        if result is None:
            result = edit.variable(f"{self.first.result.name}_merged", self.type)
        attrs = dict(layer.node.attrs)
        if self.first.window is not None:
            attrs.pop("auto_pad", None)
            attrs |= self.first.window.attrs
        made = result
        if activation is not None:
            made = edit.variable(f"{layer.result.name}_merged", self.type)
        write_layer(edit, layer, self.kernel, result=made, attrs=attrs, like=self.type)
        if activation is not None:
            inputs = [made, *activation.inputs[1:]]
            edit.node(activation.op, inputs, [result], activation.attrs, at=activation)
        return result


def stack(siblings: Sequence[SiblingLayer], view: View) -> StackedSiblings:
    """Return `siblings` as one layer; declines where its weights cannot be stored."""
    kernels = [sibling.layer.kernel() for sibling in siblings]
    weight = np.concatenate([kernel.weight for kernel in kernels], axis=1)
    biased = any(kernel.bias is not None for kernel in kernels)
    bias = np.concatenate([kernel.full_bias() for kernel in kernels]) if biased else None
    kernel = Kernel(weight, bias)
    first = siblings[0]
    need_storable(kernel, first.layer.weight.dtype)
    found = view.type(first.layer.result)
    if found is not None and found.shape is not None:
        shape = list(found.shape)
        shape[first.layer.axis] = kernel.outputs
        found = TensorType(found.dtype, tuple(shape))
    return StackedSiblings(tuple(siblings), kernel, found)


def is_activation(node: gs.Node, tensor: gs.Tensor) -> bool:
    """Say whether `node` is an activation of `tensor` that can follow all siblings at once."""
    return node.op in _ACTIVATIONS and is_standard(node) and node.inputs[0] is tensor


def linear_source(tensor: gs.Tensor, view: View) -> gs.Tensor | None:
    """Return what the linear operator behind `tensor`, and perhaps an activation, reads, or None.

    A quick look that reads no constants.
    """
    node = view.producer(tensor)
    if node is not None and node.op in _ACTIVATIONS and is_standard(node):
        node = view.producer(node.inputs[0])
    if node is not None and node.op == "Add" and is_standard(node):
        node = next((n for n in map(view.producer, node.inputs) if n and n.op == "MatMul"), None)
    return node.inputs[0] if node and node.op in SIBLING_OPS and is_standard(node) else None


def read_sibling(tensor: gs.Tensor, view: View) -> SiblingLayer:
    """Read the layer that gives `tensor`, directly or through an activation; or decline."""
    node = need(view.producer(tensor), "it is no result of a linear operator")
    activation = None
    if node.op in _ACTIVATIONS and is_standard(node):
        activation, tensor = node, node.inputs[0]
        node = need(view.producer(tensor), "it is no result of a linear operator")
        need(view.read_only_by(tensor, activation), f"the result of {node.op} has other readers")
    layer = read_layer(node, view)
    need(layer.op != "ConvTranspose", "ConvTranspose is not merged with its siblings")
    need(layer.group == 1, f"its convolution has {layer.group} groups")
    need(not reads_transposed(layer.node), "its Gemm transposes the input")
    window = Window.of(explicit_window(layer.node, view)) if layer.op == "Conv" else None
    return SiblingLayer(layer, activation, window)


def _same_activation(a: gs.Node | None, b: gs.Node | None, view: View) -> bool:
    if a is None or b is None:
        return a is b
    return (
        a.op == b.op
        and a.attrs == b.attrs
        and len(a.inputs) == len(b.inputs)
        and all(_same_value(p, q, view) for p, q in zip(a.inputs[1:], b.inputs[1:], strict=True))
    )


def _same_value(a: gs.Tensor, b: gs.Tensor, view: View) -> bool:
    if a is b or (a.is_empty() and b.is_empty()):
        return True
    values: list[Any] = [view.constant(a), view.constant(b)]
    return None not in [v if v is None else 0 for v in values] and bool(np.array_equal(*values))
