"""What quantization does with each ONNX operator.

linear       weights and products: Conv, ConvTranspose, Gemm, MatMul
product      a MatMul of two activations, as attention has
arithmetic   new values from quantized ones, for which runtimes have integer kernels
bounding     Relu, Clip: a quantized result saturates by itself where its range ends at the bounds
movement     the same values elsewhere: both sides share one grid, and the integers just move
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import STANDARD_DOMAINS, is_standard
from ....ir.graph.view import View
from ....ir.ops.clips import clip_bounds
from ....ir.ops.linear.operators import bias_of, is_absent_bias, output_channels, reads_transposed
from ....ir.ops.quantization.barriers import is_barrier
from ....ir.ops.quantization.weights import weight_values
from ....ir.ops.traits import Movement, operators_with, traits_of
from ....ir.ops.traits.groups import LAYERS

# Of these ONNX Runtime, OpenVINO and TensorRT have integer kernels: a list of theirs, no trait.
ARITHMETIC = frozenset({"Add", "Mul", "AveragePool", "GlobalAveragePool", "Sigmoid", "LeakyRelu"})
BOUNDING = frozenset({"Relu", "Clip"})
# Which element goes where its value decides in a pool alone; Pad stands here for what it checks.
MOVEMENT = operators_with(
    lambda t: (
        t.selects and (t.data == (0,) or t.permutes) and (t.movement <= Movement.TAKE or t.pooling)
    )
) | {"Pad"}
QUANTIZABLE = LAYERS | ARITHMETIC | BOUNDING | MOVEMENT


@dataclass(frozen=True)
class Unit:
    """An operator that can run on integers, with the Relu or Clip that its result saturates into.

    `inputs`: the tensors that carry data (not weights, shapes or indices). `outputs`: what comes
    out at the end, behind `bounded` where that is not None.
    """

    node: gs.Node
    inputs: tuple[gs.Tensor, ...]
    outputs: tuple[gs.Tensor, ...]
    bounded: gs.Node | None = None

    @property
    def is_movement(self) -> bool:
        """Say whether its values only move."""
        return self.node.op in MOVEMENT

    @property
    def is_follower(self) -> bool:
        """Say whether it runs on integers only where its neighbours do: it is not worth a pair."""
        return self.node.op in MOVEMENT | BOUNDING

    @property
    def is_linear(self) -> bool:
        """Say whether it has weights."""
        return self.node.op in LAYERS and not self.is_product

    @property
    def is_product(self) -> bool:
        """Say whether it multiplies two activations."""
        return self.node.op in LAYERS and len(self.inputs) > 1

    @property
    def is_bounded(self) -> bool:
        """Say whether its result is that of a Relu or Clip."""
        return self.bounded is not None or self.node.op in BOUNDING


def read_unit(node: gs.Node, view: View) -> Unit | None:
    """Return the unit at `node`; None for no candidate; declines where it cannot be one."""
    if node.op not in QUANTIZABLE or not is_standard(node):
        return None
    places = traits_of(node, view.opset).data_of(len(node.inputs))
    if node.op == "MatMul" and weight_values(node.inputs[1], view) is None:
        places = (0, 1)
    inputs = tuple(node.inputs[place] for place in places)
    dtype = view.dtype(inputs[0])
    if dtype is not None and dtype.kind in "iub":
        return None  # shape arithmetic
    need(dtype is not None, "the type of its input is unknown")
    need(dtype == "float32", f"it works on {dtype}, and only float32 is quantized")
    check = _CHECKS.get(node.op)
    if check is not None:
        check(node, view)
    bounded = _bounding_reader(node, view) if node.op in LAYERS | ARITHMETIC else None
    outputs = tuple(t for t in (bounded or node).outputs if t.name)
    if node.op in ARITHMETIC | BOUNDING:
        need(not any(map(view.is_output, outputs)), "it makes a graph output, which stays float")
    return Unit(node, inputs, outputs, bounded)


def bounds(node: gs.Node, view: View) -> tuple[float, float]:
    """Return the least and the largest result of a Relu or Clip."""
    if node.op == "Relu":
        return 0.0, float("inf")
    found = clip_bounds(node, view)
    assert found is not None
    return found


def _bounding_reader(node: gs.Node, view: View) -> gs.Node | None:
    reader = view.only_reader(node.outputs[0])
    if reader is None or reader.op not in BOUNDING or not is_standard(reader):
        return None
    if reader.inputs[0] is not node.outputs[0]:
        return None
    if reader.op == "Clip" and clip_bounds(reader, view) is None:
        return None
    return reader


def is_constant_data(tensor: gs.Tensor, view: View) -> bool:
    """Say whether `tensor` holds constants, moved about at most, whatever the feeds."""
    pending = [tensor]
    while pending:
        current = pending.pop()
        if view.is_constant(current) or not current.name:
            continue
        node = view.producer(current)
        if node is None or not is_movement(node):
            return False
        pending += node.inputs  # sizes and indices too
    return True


def _check_product(node: gs.Node, view: View) -> None:
    if weight_values(node.inputs[1], view) is not None:
        return _check_linear(node, view)
    need(not is_constant_data(node.inputs[0], view), "its input is constant")
    need(not is_constant_data(node.inputs[1], view), "its weight is no constant")
    return None


def _check_linear(node: gs.Node, view: View) -> None:
    need(not is_constant_data(node.inputs[0], view), "its input is constant")
    weight = need(weight_values(node.inputs[1], view), "its weight is no constant")
    need(weight.dtype == "float32", f"its weight is {weight.dtype}, and only float32 is quantized")
    need(weight.size > 0, "its weight is empty")
    given = bias_of(node)
    if given is not None:
        bias = need(weight_values(given, view), "its bias is no constant")
        channels = output_channels(node, weight.shape)
        fits = bias.size in (1, channels) or is_absent_bias(node, bias)
        need(fits, "its bias differs from row to row")
    if node.op == "Gemm":
        scaled = node.attrs.get("alpha", 1.0) != 1.0 or node.attrs.get("beta", 1.0) != 1.0
        need(not scaled, "alpha or beta of the Gemm is not 1; fold them into the weights first")
        need(not reads_transposed(node), "the Gemm transposes its input")


def _check_operands(node: gs.Node, view: View) -> None:
    for tensor in node.inputs:
        need(not is_constant_data(tensor, view), "an operand is constant, which stays float")


def _check_bounds(node: gs.Node, view: View) -> None:
    need(node.op == "Relu" or clip_bounds(node, view) is not None, "its bounds are no constants")


def _check_slope(node: gs.Node, view: View) -> None:
    need(not is_barrier(node), "it is the identity that keeps a layer in float")


def _check_average_pool(node: gs.Node, view: View) -> None:
    dilations = node.attrs.get("dilations", ())
    need(all(d == 1 for d in dilations), "it is dilated, and integer pools are not")


def _check_max_pool(node: gs.Node, view: View) -> None:
    need(sum(bool(t.name) for t in node.outputs) == 1, "its Indices are used")


def _check_resize(node: gs.Node, view: View) -> None:
    need(node.attrs.get("mode", "nearest") == "nearest", "it interpolates, which makes new values")
    need(
        node.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize",
        "it fills with a value of its own",
    )


def _check_pad(node: gs.Node, view: View) -> None:
    # ONNX Runtime pads floats alone: behind a graph input that is one pair less.
    need(view.producer(node.inputs[0]) is not None, "it pads a graph input, before quantization")
    if node.attrs.get("mode", "constant") != "constant":
        return
    if len(node.inputs) > 2 and node.inputs[2].name:
        value = need(view.constant(node.inputs[2]), "its padding value is no constant")
        need(bool(value == 0), "it pads with a value other than 0")
    need(not node.attrs.get("value", 0.0), "it pads with a value other than 0")


_CHECKS: dict[str, Callable[[gs.Node, View], None]] = {
    **dict.fromkeys(LAYERS, _check_linear),
    "MatMul": _check_product,
    "Add": _check_operands,
    "Mul": _check_operands,
    "Relu": _check_bounds,
    "Clip": _check_bounds,
    "LeakyRelu": _check_slope,
    "AveragePool": _check_average_pool,
    "MaxPool": _check_max_pool,
    "Resize": _check_resize,
    "Upsample": _check_resize,
    "Pad": _check_pad,
}


def is_movement(node: gs.Node) -> bool:
    """Say whether the values of `node` only move."""
    return node.op in MOVEMENT and node.domain in STANDARD_DOMAINS
