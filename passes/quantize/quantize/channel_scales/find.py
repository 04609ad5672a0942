"""The scales of all borders of one choice, observed and judged."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.variables import node_key
from .....ir.graph.clone import clone
from ....engine.context import Context, Feeds, report_nothing
from ...equalize_ranges.channel_ranges import observe_channels
from ...equalize_ranges.channel_tensor import ChannelTensor
from ...qdq.scoped_views import ScopedViews
from ..calibration.calibrate import ends_of
from ..calibration.observers import Range
from ..placement import place
from ..scheme import QuantizationScheme
from ..units import read_units
from .border_tensors import border_tensors
from .output_scales import output_scales
from .scales import ScaledTensor


def find_channel_scales(
    graph: gs.Graph,
    chosen: Collection[str],
    ranges: Mapping[str, Range],
    scheme: QuantizationScheme,
    feeds: Feeds,
    left_out: Collection[str] = (),
) -> dict[str, ScaledTensor]:
    """Return the scales, by tensor name, where the nodes of `graph` called `chosen` end in floats.

    `graph` has no pairs, and `ranges` by tensor name are those of whole tensors.
    """
    if not scheme.per_channel:
        return {}  # it is the scale of each row of weights that takes them in
    copy = clone(graph)
    context = Context(copy)
    units = [
        unit
        for unit in read_units(copy, context, left_out)
        if unit.is_follower or node_key(unit.node) in chosen
    ]
    views = ScopedViews(copy, context)
    borders = list(border_tensors(place(units, views, ranges), views, copy))
    if not borders:
        return {}
    names = [border.tensor.name for border in borders]
    carried = [ChannelTensor(b.tensor, np.arange(b.layer.outputs), 1) for b in borders]
    seen = observe_channels(copy, carried, feeds, report_nothing, ends_of(copy, names))
    levels = scheme.activations.qmax - scheme.activations.qmin
    found = {}
    for border, name in zip(borders, names, strict=True):
        free = not (border.is_bounded or scheme.symmetric)
        scaled = output_scales(seen[name], ranges[name], levels, free_zero=free)
        if scaled is not None:
            found[name] = scaled
    return found
