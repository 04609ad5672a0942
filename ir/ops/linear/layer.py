"""A linear operator of a graph whose weights are constant: read from nodes, and written back.

Conv, ConvTranspose, Gemm, and MatMul with or without the Add of its bias are read as one thing, a
`Layer`, so that a pass states its algebra once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core import dtypes
from ...core.decline import DeclinedError, need
from ...core.variables import is_standard
from ...graph.edit import Edit
from ...graph.types import TensorType
from ...graph.view import View
from ..build import needs_bias
from ..opsets import aligns
from ..traits.groups import LAYERS
from .kernel import Array, Kernel, kernel_of
from .operators import (
    CONV_OPS,
    bias_of,
    from_blocks,
    group_of,
    input_channels,
    output_axis,
    output_channels,
    to_blocks,
)
from .storing import stored


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A linear operator with constant weight and bias, and where it stands.

    `added` is the Add that gives a MatMul its bias. `rank` is that of input and result where it is
    known; channels are on axis 1, for Gemm and MatMul on the last.
    """

    node: gs.Node
    added: gs.Node | None
    weight: Array  # as stored
    bias: Array | None  # as stored, [M]
    outputs: int
    inputs: int
    rank: int | None

    @property
    def op(self) -> str:
        """Operator of the node."""
        return str(self.node.op)

    @property
    def group(self) -> int:
        """Number of groups."""
        return group_of(self.node)

    @property
    def nodes(self) -> tuple[gs.Node, ...]:
        """Its nodes, the last first."""
        return (self.node,) if self.added is None else (self.added, self.node)

    @property
    def source(self) -> gs.Tensor:
        """The tensor it reads."""
        return self.node.inputs[0]

    @property
    def result(self) -> gs.Tensor:
        """The tensor it gives, bias included."""
        return (self.added or self.node).outputs[0]

    @property
    def axis(self) -> int:
        """Axis of its channels, in input and result."""
        return 1 if self.is_spatial else -1

    @property
    def is_spatial(self) -> bool:
        """Say whether it is a convolution, transposed or not."""
        return self.op in CONV_OPS

    def kernel(self) -> Kernel:
        """Return weight and bias in float64, in the one form that all operators share."""
        kernel = kernel_of(to_blocks(self.node, self.weight), self.bias)
        if self.op != "Gemm":
            return kernel
        attrs = self.node.attrs
        bias = None if kernel.bias is None else kernel.bias * attrs.get("beta", 1.0)
        return Kernel(kernel.weight * attrs.get("alpha", 1.0), bias)

    @property
    def output_axis(self) -> int:
        """Axis of the output channels in the weight, for ConvTranspose those of a group."""
        return output_axis(self.node)

    def stored(self, kernel: Kernel) -> Array:
        """Return the weights of `kernel` in the weight's form and type; see `stored`."""
        return stored(from_blocks(self.node, kernel.weight), self.weight.dtype)


def read_layer(node: gs.Node, view: View) -> Layer:
    """Read the linear operator at `node`: a Conv, ConvTranspose, Gemm or MatMul, or a MatMul's Add.

    Declines where the weight or the bias is not constant, or the bias differs from row to row.
    """
    added: gs.Node | None = None
    linear = node
    if node.op == "Add" and is_standard(node):
        linear = _matmul_below(node, view)
        added = node
    need(
        linear.op in LAYERS and is_standard(linear),
        f"{linear.op} is not a linear operator to fold into",
    )
    weight = need(view.constant(linear.inputs[1]), f"the weight of {linear.op} is not constant")
    need(dtypes.is_float(weight.dtype), f"the weight of {linear.op} is not a float")
    need(weight.size > 0, f"the weight of {linear.op} has no elements")
    if linear.op in CONV_OPS:
        inputs, outputs = (f(linear, weight.shape) for f in (input_channels, output_channels))
        bias = _bias_of(linear, view)
        if bias is not None and not bias.any():
            bias = None  # also `is_absent_bias`
        need(
            bias is None or bias.shape == (outputs,),
            f"the bias of {linear.op} has shape {None if bias is None else list(bias.shape)}, not "
            f"[{outputs}]",
        )
        return Layer(
            node=linear,
            added=None,
            weight=weight,
            bias=bias,
            outputs=outputs,
            inputs=inputs,
            rank=weight.ndim,
        )
    need(weight.ndim == 2, f"the weight of {linear.op} is no matrix")
    inputs, outputs = (f(linear, weight.shape) for f in (input_channels, output_channels))
    if linear.op == "Gemm":
        need(aligns("Gemm", view.opset), "Gemm broadcasts its bias only from opset 7 on")
        bias = _bias_of(linear, view)
    else:
        bias = None if added is None else _added(added, linear, view)
    need(
        bias is None or bias.size == 1 or bias.size == outputs == bias.shape[-1],
        f"the bias of {linear.op} differs from row to row",
    )
    rank = 2 if linear.op == "Gemm" else view.rank(linear.inputs[0])
    if bias is not None:
        need(bias.ndim <= (rank or 1), f"the bias of {linear.op} has more axes than its result")
        bias = np.broadcast_to(bias.reshape(-1), (outputs,))
    return Layer(
        node=linear,
        added=added,
        weight=weight,
        bias=bias,
        outputs=outputs,
        inputs=inputs,
        rank=rank,
    )


def read_with_bias(node: gs.Node, view: View) -> Layer:
    """Read the linear operator at `node`, with the Add of its bias where it is a MatMul."""
    reader = view.only_reader(node.outputs[0]) if node.op == "MatMul" else None
    if reader is not None and reader.op == "Add":
        try:
            return read_layer(reader, view)
        except DeclinedError:
            pass  # what it adds is no bias
    return read_layer(node, view)


def write_layer(
    edit: Edit,
    layer: Layer,
    kernel: Kernel,
    *,
    source: gs.Tensor | None = None,
    result: gs.Tensor | None = None,
    attrs: dict[str, Any] | None = None,
    like: TensorType | None = None,
) -> None:
    """Replace `layer` by the same operator with the weights of `kernel`, in the weights' type.

    `source`, `result` and `attrs` are the tensors and attributes of the new node where they
    differ; whatever produced `result` must have been removed. A Gemm loses alpha and beta, which
    `Layer.kernel` has multiplied in; a MatMul of matrices becomes a Gemm where a bias appears.
    `like` is the type of the result, for what a MatMul gives before its bias is added.
    """
    result = layer.result if result is None else result
    source = layer.source if source is None else source
    for node in layer.nodes:
        if edit.uses.scope(node) is not None:
            edit.remove(node)
    new = dict(layer.node.attrs if attrs is None else attrs)
    dtype = layer.weight.dtype
    name = layer.node.inputs[1].name
    op = layer.op
    if "group" in new or kernel.group != 1:
        new["group"] = kernel.group
    new.pop("alpha", None)
    new.pop("beta", None)
    if op == "MatMul" and kernel.bias is not None and layer.rank == 2:
        op = "Gemm"
    inputs = [source, edit.constant(layer.stored(kernel), f"{name}_folded")]
    if kernel.bias is None:
        if needs_bias(op, edit.graph.opset):
            inputs.append(edit.constant(np.zeros(kernel.outputs, dtype), f"{name}_bias"))
        edit.node(op, inputs, [result], new, at=layer.node)
        return
    bias = edit.constant(stored(kernel.bias, dtype), f"{name}_bias")
    if op == "MatMul":
        product = edit.variable(f"{result.name}_product", like)
        edit.node(op, inputs, [product], new, at=layer.node)
        edit.node("Add", [product, bias], [result], at=layer.node)
        return
    edit.node(op, [*inputs, bias], [result], new, at=layer.node)


def channel_vector(values: Array, rank: int | None, axis: int, channels: int) -> Array | None:
    """Return a constant that broadcasts along every axis but `axis` as float64 [channels].

    None where it differs along another axis, or would give the result another shape. A negative
    axis counts from the end, and needs no rank; a single value is one for every channel.
    """
    if rank is None and (axis >= 0 or values.ndim > 1):
        if values.ndim != 0:
            return None
    elif rank is not None and values.ndim > rank:
        return None
    if values.size == 1:
        return np.full(channels, values.reshape(()), np.float64)
    place = axis if axis < 0 else axis - int(rank or 0)
    if values.size != channels or -place > values.ndim or values.shape[place] != channels:
        return None
    return np.asarray(values, np.float64).reshape(channels)


def _matmul_below(add: gs.Node, view: View) -> gs.Node:
    """Return the MatMul that `add` adds a constant to: a linear layer as exporters spell it."""
    for position in (0, 1):
        producer = view.producer(add.inputs[position])
        if (
            producer is not None
            and producer.op == "MatMul"
            and is_standard(producer)
            and view.is_constant(add.inputs[1 - position])
            and view.read_only_by(producer.outputs[0], add)
        ):
            return producer
    return need(None, "Add is not a linear operator to fold into")


def _added(add: gs.Node, linear: gs.Node, view: View) -> Array | None:
    other = add.inputs[1] if add.inputs[0] is linear.outputs[0] else add.inputs[0]
    return view.constant(other)


def _bias_of(linear: gs.Node, view: View) -> Array | None:
    bias = bias_of(linear)
    if bias is None:
        return None
    return need(view.constant(bias), f"the bias of {linear.op} is not constant")
