"""The units of one graph and its bodies that can run on integers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.core.variables import node_key
from ....ir.graph.view import View
from ...analysis.observe.bodies import observable_bodies
from ...engine.context import Context
from ..qdq.units import Unit, read_unit


def read_units(graph: gs.Graph, context: Context, left_out: Collection[str] = ()) -> list[Unit]:
    """Return what can run on integers; what nearly could is declined with reasons.

    In graph order, those of bodies before what reads the results of these. A Relu or
    Clip that another unit takes in is no unit of its own.
    """
    units: list[Unit] = []
    taken: set[int] = set()
    for node, view in _nodes(graph, context):
        if id(node) in taken or node_key(node) in left_out:
            continue
        try:
            unit = read_unit(node, view)
        except DeclinedError as reason:
            context.decline(node, str(reason))
            continue
        if unit is not None:
            units.append(unit)
            if unit.bounded is not None:
                taken.add(id(unit.bounded))
    return units


def _nodes(scope: gs.Graph, context: Context) -> Iterator[tuple[gs.Node, View]]:
    view = context.view(scope)
    for node in scope.nodes:
        for body in observable_bodies(node):
            yield from _nodes(body, context)
        yield node, view


def tensors_of(units: Sequence[Unit]) -> list[gs.Tensor]:
    """Return the tensors that `units` read and make, each once."""
    found = {id(t): t for unit in units for t in (*unit.inputs, *unit.outputs)}
    return list(found.values())
