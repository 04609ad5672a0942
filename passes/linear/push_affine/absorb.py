"""How layers take in the affine map before them, and what each way costs.

    W * (s x + t) + b = (W s) * x + (b + W * t)
                      = (W s) * (x + t / s) + b

The first costs nothing where every output sees every tap, since W * t is then a bias; with padding
it is a map that is added to the result. The second leaves one Add of what may have been more nodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.linear.affine import Affine, Composition
from ....ir.ops.linear.conditioning import need_conditioned
from ....ir.ops.linear.kernel import Array, Kernel
from ....ir.ops.linear.layer import write_layer
from ....ir.ops.linear.storing import need_kept, need_storable, stored
from .border import Seen, constant_image, is_uniform, seen_taps, sees_every_tap
from .linear_readers import ChannelPlace, LinearReader, LinearReaders
from .map_room import MapRoom

# Bytes moved, in elements a sample. An element-wise operator reads and writes each. The Add of a
# map is fused with the convolution, which then reads the map beside its input. (ONNX Runtime 1.31
# and 1.32 fuse no such Add between their blocked convolutions: there a map as large as the input
# costs what the normalization did plus 3 to 10 %, and one of half that size breaks even, on 1.31.)
_ELEMENTWISE = 2
_WITH_MAP = 1


@dataclass(frozen=True)
class AbsorbingLayer:
    """A reader with its new weights, and the map [1, M, ...] to add to its result, if any."""

    reader: LinearReader
    kernel: Kernel
    border: Array | None
    type: TensorType | None


@dataclass(frozen=True)
class AbsorbedAffine:
    """A chain of affine nodes, the layers that take it in, and what is still to be added."""

    chain: tuple[Affine, ...]
    absorbed: tuple[AbsorbingLayer, ...]
    shift: Array | None
    type: TensorType | None


@dataclass(frozen=True)
class LocatedReader:
    """A reader, where its input has the channels, and which taps see the image (None: all)."""

    reader: LinearReader
    place: ChannelPlace
    seen: Seen | None


def plan(
    chain: Sequence[Affine],
    total: Composition,
    found: LinearReaders,
    room: MapRoom,
    view: View,
) -> AbsorbedAffine:
    """Return the cheapest way to take in `total`, the map of `chain`; or decline."""
    dtype = found.readers[0].layer.weight.dtype
    total.need_conditioned(dtype)
    kind = view.type(chain[-1].result)
    before = float(_ELEMENTWISE * len(chain))
    pairs = list(zip(found.readers, found.places, strict=True))
    readings = [LocatedReader(*pair, None) for pair in pairs]
    cost = 0.0
    if total.shift.any():
        try:
            readings = [_reading(*pair, view) for pair in pairs]
            cost = sum(_cost(reading, kind) for reading in readings)
            need(cost <= before, "moving it would cost more than it saves")
            room.need([size for r in readings if (size := _map_size(r))], dtype, view)
            total.need_movable(dtype)
        except DeclinedError:
            cost = math.inf
            if len(chain) < 2:
                raise
    rest = _ELEMENTWISE if len(chain) > 1 and bool(total.scale.all()) else math.inf
    need(min(cost, rest) <= before, "a scale of zero keeps the shift from moving before it")
    if cost <= rest:
        absorbed = [_absorb(reading, total, view) for reading in readings]
        return AbsorbedAffine(tuple(chain), tuple(absorbed), None, kind)
    alone = replace(total, shift=np.zeros_like(total.shift))
    absorbed = [_absorb(LocatedReader(*pair, None), alone, view) for pair in pairs]
    shift = (total.shift / total.scale).reshape(found.column)
    need_kept(shift, dtype, 1.0, "the shift before its scale is not finite")
    return AbsorbedAffine(tuple(chain), tuple(absorbed), stored(shift, dtype), kind)


def map_bytes(site: AbsorbedAffine) -> int:
    """Return what the maps of `site` take."""
    maps = (absorbed.border for absorbed in site.absorbed)
    return sum(border.nbytes for border in maps if border is not None)


def write(site: AbsorbedAffine, edit: Edit) -> None:
    """Make the change that `plan` found."""
    first, last = site.chain[0], site.chain[-1]
    source = first.source
    for affine in reversed(site.chain):
        edit.remove(affine.node)
    if site.shift is not None:
        shift = edit.constant(site.shift, f"{last.result.name}_shift")
        edit.node("Add", [source, shift], [last.result], at=last.node)
        source = last.result
    for absorbed in site.absorbed:
        _write_layer(absorbed, source, edit)


def _write_layer(absorbed: AbsorbingLayer, source: gs.Tensor, edit: Edit) -> None:
    layer, path = absorbed.reader.layer, absorbed.reader.path
    if path:
        if path[0].inputs[0] is not source:
            edit.set_input(path[0], 0, source)
        source = layer.source
    if absorbed.border is None:
        write_layer(edit, layer, absorbed.kernel, source=source, like=absorbed.type)
        return
    result = layer.result
    before = edit.variable(f"{result.name}_unshifted", absorbed.type)
    write_layer(edit, layer, absorbed.kernel, source=source, result=before)
    border = edit.constant(absorbed.border, f"{result.name}_border")
    edit.node("Add", [before, border], [result], at=layer.node)


def _reading(reader: LinearReader, place: ChannelPlace, view: View) -> LocatedReader:
    layer = reader.layer
    if not layer.is_spatial or sees_every_tap(layer.node, layer.weight.shape[2:]):
        return LocatedReader(reader, place, None)
    shape = need(view.shape(layer.source), "the spatial size of a padded layer is not known")
    return LocatedReader(reader, place, seen_taps(layer.node, shape[2:], view))


def _cost(reading: LocatedReader, kind: TensorType | None) -> float:
    """Return what adding W * t to the result costs, in elements for one of the tensor's."""
    layer = reading.reader.layer
    if reading.seen is None:
        free = layer.op != "MatMul" or layer.rank == 2 or layer.added is not None
        return 0.0 if free else _ELEMENTWISE * layer.outputs / layer.inputs
    size = _map_size(reading)
    if not size:
        return 0.0
    shape = () if kind is None or kind.shape is None else kind.shape[1:]
    sizes = [size for size in shape if isinstance(size, int)]
    need(sizes and len(sizes) == len(shape), "its size is not static")
    return _WITH_MAP * size / math.prod(sizes)


def _map_size(reading: LocatedReader) -> int:
    """Return the elements of the map along the border; 0 where there is none."""
    if reading.seen is None or is_uniform(reading.seen):
        return 0
    return reading.reader.layer.outputs * math.prod(len(matrix) for matrix in reading.seen)


def _absorb(reading: LocatedReader, total: Composition, view: View) -> AbsorbingLayer:
    layer, place = reading.reader.layer, reading.place
    kernel, dtype = layer.kernel(), layer.weight.dtype
    shift = place.spread(total.shift)
    scaled = kernel.after_scale(place.spread(total.scale))
    border = None
    if shift.any():
        if reading.seen is None:
            given = kernel.of_constant(shift)
            scaled = replace(scaled, bias=_bias_with(given, kernel, place, total, dtype))
        else:
            image = constant_image(kernel, shift, reading.seen)
            if is_uniform(reading.seen):
                given = image.reshape(kernel.outputs, -1)[:, 0]
                scaled = replace(scaled, bias=_bias_with(given, kernel, place, total, dtype))
            else:
                size = np.abs(image).max(initial=0.0)
                need_kept(image, dtype, size, "the map along the border is not finite")
                border = stored(image[None], dtype)
    need_storable(scaled, dtype)
    return AbsorbingLayer(reading.reader, scaled, border, view.type(layer.result))


def _bias_with(
    given: Array, kernel: Kernel, place: ChannelPlace, total: Composition, dtype: np.dtype[Any]
) -> Array:
    """Return the bias with `given`, what the layer makes of the shift; declines where they cancel.

    What it gives is at least as large as what it makes of what a BatchNormalization spreads.
    """
    bias = kernel.full_bias() + given
    if kernel.bias is not None:
        spread = () if total.typical is None else kernel.largest_of(place.spread(total.typical[1]))
        left = np.concatenate([np.abs(bias), spread])
        need_conditioned(np.stack([kernel.bias, given]), left, dtype)
    return bias
