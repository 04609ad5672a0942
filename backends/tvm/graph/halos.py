"""The border of zeros that readers of a tensor want around it, where a producer can write it."""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_dequantizer
from ..spec.layout import Halo

Halos = dict[int, Halo]


def wanted_halos(
    graph: gs.Graph,
    view: View,
    border_of: Callable[[gs.Node], Halo | None],
) -> Halos:
    """Return the border of zeros that convolutions reading a tensor want around it.

    A dequantized tensor's border is that of the bytes it is held in. `border_of`: how far a node
    reads around each of three axes, None where it wants no border.
    """
    found: Halos = {}
    for node in graph.nodes:
        border = border_of(node)
        if border is not None:
            rank = (view.rank(node.inputs[0]) or 2) - 2
            _widen(found, node.inputs[0], border[3 - rank :])
    for node in graph.nodes:
        if is_dequantizer(node) and id(node.outputs[0]) in found:
            _widen(found, node.inputs[0], found[id(node.outputs[0])])
    return found


def _widen(found: Halos, tensor: gs.Tensor, pads: Halo) -> None:
    before = found.get(id(tensor), pads)
    found[id(tensor)] = tuple(
        (max(a, c), max(b, d)) for (a, b), (c, d) in zip(before, pads, strict=True)
    )
