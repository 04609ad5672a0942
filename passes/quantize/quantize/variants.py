"""One graph under different choices of what runs on integers, built from one calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.core.variables import node_key
from ....ir.graph.clone import clone
from ....ir.graph.view import View
from ...engine.context import Context
from ..calibration.observers import Range
from ..grids.formats import Format
from ..grids.grid import Grid, grid_of_range
from ..grids.scheme import Scheme
from ..reading.operators import Unit, read_unit
from ..reading.stored import dequantizer, quantizer
from .fence import fence_float_layers
from .insert import Inserter
from .placement import Placement, place


@dataclass(frozen=True)
class Variants:
    """A float graph, the ranges of the tensors that any choice needs, and the number formats.

    A choice is a collection of nodes, as `node_key` calls them; the movements between the chosen
    run on integers too, but for the nodes `left_out`. `original`: the float graph to compete with,
    where `graph` was rewritten for integers.
    """

    graph: gs.Graph
    ranges: Mapping[str, Range]
    scheme: Scheme
    left_out: Collection[str] = ()
    original: gs.Graph | None = None

    def build(self, chosen: Collection[str]) -> gs.Graph:
        """Return a copy of the graph in which the nodes called `chosen` run on integers."""
        copy = clone(self.graph)
        insert_pairs(copy, Context(copy), chosen, self.ranges, self.scheme, self.left_out)
        return copy


def read_units(
    graph: gs.Graph, view: View, context: Context, left_out: Collection[str] = ()
) -> list[Unit]:
    """Return what can run on integers, in graph order; what nearly could is declined with reasons.

    A Relu or Clip that another unit takes in is no unit of its own.
    """
    units: list[Unit] = []
    taken: set[int] = set()
    for node in graph.nodes:
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


def tensors_of(units: Sequence[Unit]) -> list[gs.Tensor]:
    """Return the tensors that `units` read and make, each once."""
    found = {id(t): t for unit in units for t in (*unit.inputs, *unit.outputs)}
    return list(found.values())


def insert_pairs(
    graph: gs.Graph,
    context: Context,
    chosen: Collection[str],
    ranges: Mapping[str, Range],
    scheme: Scheme,
    left_out: Collection[str] = (),
) -> Placement:
    """Insert pairs so that the nodes called `chosen` run on integers, and movements between them.

    `ranges` by tensor name: at least those of the tensors that the chosen need.
    """
    with context.editing() as edit:
        view = context.view()
        units = [
            unit
            for unit in read_units(graph, view, context, left_out)
            if unit.is_follower or node_key(unit.node) in chosen
        ]
        placement = place(units)
        grids = _grids(placement, ranges, scheme, view)
        Inserter(edit, view, scheme).insert(placement, grids)
        fence_float_layers(graph, edit, view)
    return placement


def _grids(
    placement: Placement, ranges: Mapping[str, Range], scheme: Scheme, view: View
) -> dict[int, Grid]:
    """Return the grid of each tensor by id, one object for each group."""
    found: dict[int, Grid] = {}
    for group in placement.groups:
        grid = next((g for t in group if (g := _grid_there(t, view)) is not None), None)
        if grid is None:
            known = [ranges[t.name] for t in group]
            low, high = min(r.minimum for r in known), max(r.maximum for r in known)
            grid = grid_of_range(low, high, scheme.activations, symmetric=scheme.symmetric)
        found.update((id(tensor), grid) for tensor in group)
    return found


def _grid_there(tensor: gs.Tensor, view: View) -> Grid | None:
    """Return the grid of a tensor that is quantized already, with one scale; otherwise None."""
    node = dequantizer(tensor, view) or quantizer(tensor, view)
    if node is None:
        return None
    scale = view.constant(node.inputs[1])
    zero = view.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is None or scale.size != 1 or zero is None:
        return None
    bits = 8 * zero.dtype.itemsize
    form = Format(bits, zero.dtype.kind == "i")
    return Grid(scale.reshape(()), zero.reshape(()).astype("int64"), form)
