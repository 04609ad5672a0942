"""The linear operators that are read as layers: where they keep what, and in which form.

    Conv [M, C/g, k...]    ConvTranspose [C, M/g, k...]    Gemm [K, N], or [N, K] with transB
    MatMul [K, N]

`to_blocks` gives any of these as [g, M/g, C/g, k...], which the algebra of `kernel` works on.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ..traits import NEWEST, operators_with, traits_of
from ..traits.groups import LAYERS
from .kernel import (
    Array,
    Kernel,
    conv_blocks,
    conv_transpose_blocks,
    matrix_blocks,
    to_conv,
    to_conv_transpose,
    to_matrix,
)

CONV_OPS = LAYERS & operators_with(lambda traits: traits.windowed)
MATRIX_OPS = LAYERS - CONV_OPS


def linear_operator(node: gs.Node) -> str | None:
    """Return the linear operator `node` is, or is a fused operator of; None for any other node."""
    layer = traits_of(node, NEWEST).layer
    return layer if layer in LAYERS else None


def group_of(node: gs.Node) -> int:
    """Return the number of groups of a linear operator."""
    return int(node.attrs.get("group", 1)) if node.op in CONV_OPS else 1


def is_transposed(node: gs.Node) -> bool:
    """Say whether `node` is a Gemm whose weight is stored as [outputs, inputs]."""
    return node.op == "Gemm" and bool(node.attrs.get("transB", 0))


def reads_transposed(node: gs.Node) -> bool:
    """Say whether `node` is a Gemm, fused or not, whose input is transposed: rows are channels."""
    return linear_operator(node) == "Gemm" and bool(node.attrs.get("transA", 0))


def output_axis(node: gs.Node) -> int:
    """Return the axis of the output channels in the weight, for ConvTranspose those of a group."""
    return 0 if node.op == "Conv" or is_transposed(node) else 1


def input_axis(node: gs.Node) -> int:
    """Return the axis of the input channels in the weight, for Conv those of a group."""
    return 1 - output_axis(node)


def output_channels(node: gs.Node, shape: tuple[int, ...]) -> int:
    """Return the number of output channels of `node`, whose weight has `shape`."""
    groups = group_of(node) if node.op == "ConvTranspose" else 1
    return shape[output_axis(node)] * groups


def input_channels(node: gs.Node, shape: tuple[int, ...]) -> int:
    """Return the number of input channels of `node`, whose weight has `shape`."""
    groups = group_of(node) if node.op == "Conv" else 1
    return shape[input_axis(node)] * groups


def to_blocks(node: gs.Node, weight: Array) -> Array:
    """Return the weight of `node` as [group, M/group, C/group, k...], a view where possible."""
    match node.op:
        case "Conv":
            return conv_blocks(weight, group_of(node))
        case "ConvTranspose":
            return conv_transpose_blocks(weight, group_of(node))
        case _:
            return matrix_blocks(weight, transposed=is_transposed(node))


def from_blocks(node: gs.Node, blocks: Array) -> Array:
    """Return a weight of `node` as it is stored, of [group, M/group, C/group, k...]."""
    kernel = Kernel(blocks, None)
    match node.op:
        case "Conv":
            return to_conv(kernel)
        case "ConvTranspose":
            return to_conv_transpose(kernel)
        case _:
            return to_matrix(kernel, transposed=is_transposed(node))


def bias_of(node: gs.Node) -> gs.Tensor | None:
    """Return the bias that is an input of `node`, or None."""
    if node.op == "MatMul" or len(node.inputs) < 3 or node.inputs[2].is_empty():
        return None
    return node.inputs[2]


def is_absent_bias(node: gs.Node, bias: Array | None) -> bool:
    """Say whether it is what PyTorch's exporter writes for no bias of a Conv3d: zeros [M, N]."""
    return bias is not None and node.op in CONV_OPS and bias.ndim != 1 and not bias.any()
