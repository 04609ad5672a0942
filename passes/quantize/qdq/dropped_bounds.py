"""The Relu or Clip that quantizing made unnecessary, put back where the pair behind it goes.

    clip(round(x / s) + z, qmin, qmax) = qmin  for x <= 0,  where z = qmin

A grid that starts at 0 bounds by itself, so quantizers drop the Relu; without the grid it is
missing.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.build import build_clip
from ....ir.ops.quantization.nodes import converts, is_dequantizer
from ....ir.ops.quantization.pairs import Pair
from ....ir.ops.quantization.parameters import read_quantization
from ....ir.ops.traits import Movement, traits_of
from ....ir.ops.traits.groups import LAYERS
from ...analysis.value_range import value_range
from .match_float import Bounds, FloatMatch

# A grid that ends here, within half a step, ends at the bound of a Relu6.
_SIX = 6.0
_MOST_PRODUCERS = 16
_BOUNDED = LAYERS | {"Add"}


def insert_bounds(pair: Pair, view: View, edit: Edit, original: FloatMatch) -> None:
    """Bound the source of `pair` as its grid does, or as `original` says."""
    low, high = bounds_of(pair, view, original)
    producer = view.producer(pair.source)
    if producer is None or (math.isinf(low) and math.isinf(high)) or not edit.begin():
        return
    shown = view.is_output(pair.source)
    if shown:
        return  # others see it without bounds, and so did the quantized model
    free = edit.variable(f"{pair.source.name}_unbounded", view.type(pair.source))
    bounded, readers = pair.source, view.readers(pair.source)
    edit.rename_output(producer, bounded, free)
    if low == 0 and math.isinf(high):
        edit.node("Relu", [free], [bounded], at=producer)
    else:
        least, most = (end if math.isfinite(end) else None for end in (low, high))
        build_clip(edit, free, bounded, least, most, np.float32, at=producer)
    for reader in readers:
        for position, tensor in enumerate(reader.inputs):
            if tensor is free:
                edit.set_input(reader, position, bounded)


def bounds_of(pair: Pair, view: View, original: FloatMatch) -> Bounds:
    """Return the bounds that the source of `pair` needs without it; infinities for none."""
    free = (-math.inf, math.inf)
    producer = view.producer(pair.source)
    if producer is None:
        return free
    stated = original.bounds.get(pair.source.name)
    if stated is not None:
        return stated
    if moved_input(pair.source, view) is not None:
        return free
    known = pair.constants(view)
    if known is None or not known.is_per_tensor or not dtypes.is_integer(known.integer_type):
        return free
    least, most = dtypes.integer_limits(known.integer_type)
    zero = 0 if known.zero_point is None else int(known.zero_point.reshape(()))
    if zero != least or (producer.op not in _BOUNDED and _starts_at_zero(pair.source, view)):
        return free
    step = float(known.scale.reshape(()))
    end = step * (most - least)
    return 0.0, _SIX if abs(end - _SIX) < step / 2 else math.inf


def moved_input(tensor: gs.Tensor, view: View) -> gs.Tensor | None:
    """Return the graph input whose values `tensor` has, rounded, padded or moved; else None.

    Nothing in front of it can have been dropped: it holds what a caller gives.
    """
    for _ in range(_MOST_PRODUCERS):
        node = view.producer(tensor)
        if node is None:
            return tensor if any(tensor is each for each in view.scope.inputs) else None
        if converts(node):
            tensor = node.inputs[0]
            continue
        traits = traits_of(node, view.opset)
        if traits.movement > Movement.TAKE:
            return None
        places = traits.data_of(len(node.inputs))
        if len(places) != 1:
            return None
        tensor = node.inputs[places[0]]
    return None


def _starts_at_zero(tensor: gs.Tensor, view: View) -> bool:
    """Say whether what makes `tensor` keeps it from falling below 0, other grids included."""
    pending, looked_at = [tensor], 0
    while pending:
        current = pending.pop()
        node = view.producer(current)
        looked_at += 1
        if node is None or looked_at > _MOST_PRODUCERS:
            return False
        if _is_from_zero(node, view) or value_range(current, view)[0] >= 0:
            continue
        traits = traits_of(node, view.opset)
        if not traits.keeps_nonnegative:
            return False
        pending.extend(node.inputs[place] for place in traits.data_of(len(node.inputs)))
    return True


def _is_from_zero(node: gs.Node, view: View) -> bool:
    """Say whether `node` is a DequantizeLinear whose grid has nothing below 0."""
    if not is_dequantizer(node):
        return False
    known = read_quantization(node).constants(view.constant)
    if known is None or not known.is_per_tensor or known.zero_point is None:
        return False
    zero = known.zero_point
    return (
        dtypes.is_integer(zero.dtype)
        and int(zero.reshape(())) == dtypes.integer_limits(zero.dtype)[0]
    )
