"""Biases of zeros that PyTorch's exporter writes for layers without one.

    Conv(x, W, Expand(0, [channels, 1, ...]))  ->  Conv(x, W)

`conv3d` without a bias gets one of zeros, whose shape is computed, and wrong: ONNX asks for one
axis, so that no runtime runs what was exported. (Seen in PyTorch 2.13.)
"""

from __future__ import annotations

from collections import Counter

import onnx_graphsurgeon as gs

from ..core.constant_nodes import value_of_constant_node
from ..core.variables import dense_values, is_standard
from ..ops.linear.operators import CONV_OPS
from ..ops.traits import traits_of


def leave_out_zero_biases(graph: gs.Graph) -> None:
    """Leave out the biases of convolutions that are computed and zero, and what computed them."""
    maker = {id(t): node for node in graph.nodes for t in node.outputs}
    readers = Counter(
        id(t) for node in graph.nodes for t in {id(t): t for t in node.inputs}.values()
    )
    readers.update(id(t) for t in graph.outputs)
    gone: set[int] = set()
    for node in graph.nodes:
        if not (is_standard(node) and node.op in CONV_OPS and len(node.inputs) == 3):
            continue
        bias = node.inputs[2]
        if id(bias) not in maker or not _is_zero(bias, maker, graph.opset):
            continue
        node.inputs.pop()
        _collect(bias, maker, readers, gone)
    graph.nodes = [node for node in graph.nodes if id(node) not in gone]


def _is_zero(tensor: gs.Tensor, maker: dict[int, gs.Node], opset: int) -> bool:
    while True:
        node = maker.get(id(tensor))
        if node is None:
            values = dense_values(tensor)
            return values is not None and not values.any()
        if not is_standard(node):
            return False
        if node.op == "Constant":
            values = value_of_constant_node(node)
            return values is not None and values.dtype.kind != "O" and not values.any()
        if node.op == "ConstantOfShape":
            held = node.attrs.get("value")
            return held is None or not held.values.any()
        traits = traits_of(node, opset)
        if not traits.zero or traits.data != (0,) or tensor is not node.outputs[0]:
            return False
        tensor = node.inputs[0]


def _collect(
    tensor: gs.Tensor, maker: dict[int, gs.Node], readers: Counter[int], gone: set[int]
) -> None:
    """Note what nothing reads once `tensor` has one reader less."""
    readers[id(tensor)] -= 1
    node = maker.get(id(tensor))
    if node is None or any(readers[id(t)] > 0 for t in node.outputs):
        return
    gone.add(id(node))
    for read in {id(t): t for t in node.inputs}.values():
        _collect(read, maker, readers, gone)
