"""The border of zeros that readers of a tensor want around it, where a producer can write it."""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_dequantizer
from ..spec.layout import Halo
from .spatial import read_window

Halos = dict[int, Halo]


def wanted_halos(
    graph: gs.Graph,
    view: View,
    can: Callable[[gs.Node], bool],
    beyond: Callable[[gs.Node], int] = lambda _: 0,
) -> Halos:
    """Return the border of zeros that convolutions reading a tensor want around it.

    A dequantized tensor's border is that of the bytes it is held in. `beyond`: how many columns the
    kernel of a node reads behind those that its pads tell of.
    """
    found: Halos = {}
    for node in graph.nodes:
        if node.op != "Conv" or not can(node):
            continue
        source = node.inputs[0]
        rank = (view.rank(source) or 2) - 2
        pads = read_window(node, view).pads[3 - rank :]
        columns = beyond(node)
        if columns:
            low, high = pads[-1]
            pads = (*pads[:-1], (low, high + columns))
        _widen(found, source, pads)
    for node in graph.nodes:
        if is_dequantizer(node) and id(node.outputs[0]) in found:
            _widen(found, node.inputs[0], found[id(node.outputs[0])])
    return found


def _widen(found: Halos, tensor: gs.Tensor, pads: Halo) -> None:
    before = found.get(id(tensor), pads)
    found[id(tensor)] = tuple(
        (max(a, c), max(b, d)) for (a, b), (c, d) in zip(before, pads, strict=True)
    )
