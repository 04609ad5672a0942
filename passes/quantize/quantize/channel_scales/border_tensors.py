"""Where integers end: what a convolution gives that only float operators read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from .....ir.core.decline import DeclinedError
from .....ir.graph.view import View
from .....ir.ops.linear.layer import Layer, read_layer
from .....ir.ops.linear.operators import CONV_OPS
from .....ir.ops.quantization.nodes import is_quantizer
from ...qdq.scoped_views import ScopedViews
from ...qdq.units import ARITHMETIC, Unit
from ..placement import Placement


@dataclass(frozen=True)
class BorderTensor:
    """A tensor [N, M, ...] that `layer` gives, past the Relu or Clip `last` where there is one."""

    tensor: gs.Tensor
    layer: Layer
    last: gs.Node

    @property
    def is_bounded(self) -> bool:
        """Say whether a Relu or Clip stands behind the layer."""
        return self.last is not self.layer.node


def border_tensors(
    placement: Placement, views: ScopedViews, graph: gs.Graph
) -> Iterator[BorderTensor]:
    """Yield the borders at the top level of `graph`, those with a grid of their own alone.

    None whose reader a runtime takes for one on integers, between the pairs on both sides of it:
    its kernels have one scale for the whole tensor, and ONNX Runtime's fail when they run.
    """
    view = views.of(graph)
    read = {id(t) for unit in placement.units for t in unit.inputs}
    alone = {id(group[0]) for group in placement.groups if len(group) == 1}
    for border in results_of(placement.units, views, graph):
        behind = view.readers(border.tensor)
        fused = any(n.op in ARITHMETIC and id(n.outputs[0]) in read for n in behind)
        if id(border.tensor) in alone and id(border.tensor) not in read and not fused:
            yield border


def results_of(
    units: Iterable[Unit], views: ScopedViews, graph: gs.Graph
) -> Iterator[BorderTensor]:
    """Yield what convolutions among `units` give at the top level, which may be a border."""
    view = views.of(graph)
    for unit in units:
        if unit.node.op not in CONV_OPS or views.scope_of(unit.node) is not graph:
            continue
        (tensor,) = unit.outputs
        readers = view.readers(tensor)
        inside = all(views.scope_of(node) is graph for node in readers)
        if not readers or not inside or view.is_output(tensor) or any(map(is_quantizer, readers)):
            continue
        layer = _layer(unit, view)
        if layer is not None:
            yield BorderTensor(tensor, layer, unit.bounded or unit.node)


def _layer(unit: Unit, view: View) -> Layer | None:
    """Return the convolution of `unit` where each of its rows can have a scale; None elsewhere."""
    if view.fan_out(unit.node.inputs[1]) > 1:
        return None
    try:
        layer = read_layer(unit.node, view)
    except DeclinedError:
        return None
    return layer if layer.op != "ConvTranspose" or layer.group == 1 else None
