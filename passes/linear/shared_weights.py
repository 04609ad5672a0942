"""What it takes to give layers that share a weight one each: folded maps make copies of it.

Towers of one network, and heads that read every level of a pyramid, share their weights. Where each
is followed by the same map, folding it gives equal weights, which are one again; where the maps
differ, there is a copy for each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable

import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.dtypes import byte_size
from ...ir.core.variables import is_standard
from ...ir.graph.view import View
from ...ir.ops.linear.affine import AFFINE_OPS
from ...ir.ops.linear.layer import Layer
from ...ir.ops.traits.groups import LAYERS
from ..analysis.constants.bytes_held import constant_bytes

# Copies of so many bytes are made whatever the model takes: the limit of fold-constants.
_LEAST = 1 << 20
_LONGEST = 8
_SHIFTS = ("Add", "Sub")


class SharedWeights:
    """Says whether there is room for copies: all together, no more than the model's constants."""

    def __init__(self) -> None:
        self._room: dict[int, bool] = {}

    @staticmethod
    def is_shared(layer: Layer, view: View) -> bool:
        """Say whether others read the weight of `layer` too."""
        return view.reads(layer.node.inputs[1]) > 1

    def need_room(self, layer: Layer, view: View) -> None:
        """Decline where others read the weight of `layer`, and copies of all would be too many."""
        if not self.is_shared(layer, view):
            return
        key = id(view.scope)
        if key not in self._room:
            self._room[key] = _copies(view) <= max(_LEAST, constant_bytes(view.scope))
        need(
            self._room[key],
            f"other layers share the weight of {layer.op}, and copies would make the model larger "
            "than twice what it is",
        )


def _copies(view: View) -> int:
    """Return the bytes that the model grows by where every layer takes in what is next to it."""
    kinds: dict[int, set[Hashable]] = defaultdict(set)
    weights: dict[int, gs.Tensor] = {}
    for node in view.scope.nodes:
        if node.op in LAYERS and is_standard(node) and view.reads(node.inputs[1]) > 1:
            weights[id(node.inputs[1])] = node.inputs[1]
            kinds[id(node.inputs[1])].add((_map_before(node, view), _map_behind(node, view)))
    return sum(
        (len(kinds[key]) - 1) * byte_size(math.prod(weight.shape), weight.dtype)
        for key, weight in weights.items()
        if isinstance(weight, gs.Constant)
    )


def _map_before(layer: gs.Node, view: View) -> Hashable:
    node = view.producer(layer.inputs[0])
    return None if node is None else _identity(node, view)


def _map_behind(layer: gs.Node, view: View) -> Hashable:
    """Return what tells the scale behind `layer` from others; shifts leave the weight alone."""
    tensor = layer.outputs[0]
    for _ in range(_LONGEST):
        node = view.only_reader(tensor)
        if node is None or node.op not in _SHIFTS:
            return None if node is None else _identity(node, view)
        if node.op == "Sub" and node.inputs[1] is tensor:
            return "negative"
        tensor = node.outputs[0]
    return None


def _identity(node: gs.Node, view: View) -> Hashable:
    if node.op not in AFFINE_OPS or node.op in _SHIFTS or not is_standard(node):
        return None
    held = tuple(id(tensor) for tensor in node.inputs if view.is_constant(tensor))
    return (node.op, *held, repr(sorted(node.attrs.items())))
