"""The scales of what convolutions give, observed and judged."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.variables import node_key
from ....engine.context import Context, Feeds, Report, report_nothing
from ...equalize_ranges.channel_ranges import observe_channels
from ...equalize_ranges.channel_tensor import ChannelTensor
from ...qdq.scoped_views import ScopedViews
from ...qdq.units import Unit
from ..calibration.calibrate import ends_of
from ..calibration.observers import Range
from ..placement import place
from ..scheme import QuantizationScheme
from ..units import read_units
from .border_tensors import border_tensors, results_of
from .output_scales import output_scales
from .scales import ScaledTensor


def borders_of(
    graph: gs.Graph,
    chosen: Collection[str],
    ranges: Mapping[str, Range],
    left_out: Collection[str] = (),
) -> set[str]:
    """Return the names of what the nodes of `graph` called `chosen` give to floats alone."""
    context = Context(graph)
    units = _units(graph, context, chosen, left_out)
    views = ScopedViews(graph, context)
    return {b.tensor.name for b in border_tensors(place(units, views, ranges), views, graph)}


def find_channel_scales(
    graph: gs.Graph,
    chosen: Collection[str],
    ranges: Mapping[str, Range],
    scheme: QuantizationScheme,
    feeds: Feeds,
    left_out: Collection[str] = (),
    report: Report = report_nothing,
) -> dict[str, ScaledTensor]:
    """Return the scales, by tensor name, of what convolutions among `chosen` give.

    They hold for any choice of `chosen` at whose border the tensor then is. `graph` has no pairs;
    `ranges` by tensor name are those of whole tensors.
    """
    if not scheme.per_channel:
        return {}  # it is the scale of each row of weights that takes them in
    context = Context(graph)
    units = _units(graph, context, chosen, left_out)
    found = list(results_of(units, ScopedViews(graph, context), graph))
    if not found:
        return {}
    names = [border.tensor.name for border in found]
    carried = [ChannelTensor(b.tensor, np.arange(b.layer.outputs), 1) for b in found]

    def looking(fraction: float) -> None:
        report(fraction / 2, "scales of channels")

    seen = observe_channels(graph, carried, feeds, looking, ends_of(graph, names))
    levels = scheme.activations.qmax - scheme.activations.qmin
    scales = {}
    for number, (border, name) in enumerate(zip(found, names, strict=True)):
        report((1 + number / len(names)) / 2, "scales of channels")
        free = not (border.is_bounded or scheme.symmetric)
        scaled = output_scales(seen[name], ranges[name], levels, free_zero=free)
        if scaled is not None:
            scales[name] = scaled
    return scales


def _units(
    graph: gs.Graph, context: Context, chosen: Collection[str], left_out: Collection[str]
) -> list[Unit]:
    found = read_units(graph, context, left_out)
    return [unit for unit in found if unit.is_follower or node_key(unit.node) in chosen]
