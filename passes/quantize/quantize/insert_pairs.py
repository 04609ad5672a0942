"""Pairs for one choice of what runs on integers, on grids from calibrated ranges."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import node_key
from ....ir.graph.uses import scopes
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import dequantizer, quantizer
from ....ir.ops.quantization.parameters import read_quantization
from ...engine.context import Context
from ..grids.formats import IntegerFormat
from ..grids.grid import QuantizationGrid, grid_of_range
from ..qdq.scoped_views import ScopedViews
from .calibration.observers import Range
from .capture_barrier import insert_capture_barriers
from .channel_scales.apply import PlacedScales
from .channel_scales.border_tensors import border_tensors
from .channel_scales.scales import ScaledTensor
from .inserter import PairInserter
from .placement import Placement, place
from .requantization_barrier import insert_requantization_barriers
from .scheme import QuantizationScheme
from .units import read_units

Array = np.ndarray[Any, Any]


def insert_pairs(
    graph: gs.Graph,
    context: Context,
    chosen: Collection[str],
    ranges: Mapping[str, Range],
    scheme: QuantizationScheme,
    left_out: Collection[str] = (),
    steps: Mapping[str, Array] = MappingProxyType({}),
    scales: Mapping[str, ScaledTensor] = MappingProxyType({}),
) -> Placement:
    """Insert pairs so that the nodes called `chosen` run on integers, and movements between them.

    `ranges` by tensor name: at least those of the tensors that the chosen need. `steps`: of weights
    that end before their largest one, as `weight_steps` has them. `scales`: of channels, by
    the name of what a layer gives to float operators.
    """
    # A nameless layer is called otherwise once its result is.
    own = {id(n) for scope in scopes(graph) for n in scope.nodes if node_key(n) in chosen}

    def placed() -> Placement:
        units = read_units(graph, context, left_out)
        return place([u for u in units if u.is_follower or id(u.node) in own], views, ranges)

    with context.editing() as edit:
        views = ScopedViews(graph, context)
        placement = placed()
        scaled = PlacedScales(edit, views.of(graph))
        if scales:
            scaled.place(border_tensors(placement, views, graph), scales)
        if scaled:
            ranges, steps = {**ranges, **scaled.ranges()}, scaled.steps(steps)
            placement = placed()
        grids = _grids(placement, ranges, scheme, views)
        PairInserter(edit, views, scheme, steps).insert(placement, grids)
        scaled.fold()
        for scope in list(context.uses.scopes(graph)):
            view = context.view(scope)
            insert_requantization_barriers(scope, edit, view)
            insert_capture_barriers(scope, edit, view)
    return placement


def _grids(
    placement: Placement,
    ranges: Mapping[str, Range],
    scheme: QuantizationScheme,
    views: ScopedViews,
) -> dict[int, QuantizationGrid]:
    """Return the grid of each tensor by id, one object for each group."""
    found: dict[int, QuantizationGrid] = {}
    for group in placement.groups:
        there = (_grid_there(tensor, views.of_tensor(tensor)) for tensor in group)
        grid = next((grid for grid in there if grid is not None), None)
        if grid is None:
            known = [ranges[t.name] for t in group]
            low, high = min(r.minimum for r in known), max(r.maximum for r in known)
            grid = grid_of_range(low, high, scheme.activations, symmetric=scheme.symmetric)
        found.update((id(tensor), grid) for tensor in group)
    return found


def _grid_there(tensor: gs.Tensor, view: View) -> QuantizationGrid | None:
    """Return the grid of a tensor that is quantized already, with one scale; otherwise None."""
    node = dequantizer(tensor, view) or quantizer(tensor, view)
    if node is None:
        return None
    known = read_quantization(node).constants(view.constant)
    if known is None or not known.is_per_tensor or known.zero_point is None:
        return None
    zero = known.zero_point
    form = IntegerFormat(8 * zero.dtype.itemsize, zero.dtype.kind == "i")
    return QuantizationGrid(known.scale.reshape(()), zero.reshape(()).astype("int64"), form)
