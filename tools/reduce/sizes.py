"""Smaller sizes: every axis of one size becomes shorter at once, in inputs, weights and shapes.

Sizes that belong together are equal, or multiples: 64 channels, 256 = 4 x 64 behind an expansion,
the numbers in the constant that a Reshape reads. So the number is replaced wherever it is a size,
alone or with its multiples, and whoever runs the model says whether that fits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import numpy_helper

from .case import Array, Case, graphs_of
from .known import open_type
from .search import DeltaSearch

_TARGETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
# Attributes of any operator whose numbers are sizes, and not axes, paddings or steps.
_SIZES = frozenset({"group", "hidden_size", "kernel_shape", "output_shape", "shape", "split"})
# Constants of integers up to this length may be shapes.
_LONGEST_SHAPE = 16

Resize = Callable[[int], int]


def reduce_sizes(search: DeltaSearch) -> None:
    """Make sizes as small as the fault allows."""
    for axis in _input_axes(search.best):
        _shorten_input(search, *axis)
    for size in sorted(_sizes(search.best), reverse=True):
        for target in [t for t in _TARGETS if t < size]:
            resizes = (_multiples(size, target), _exactly(size, target))
            if any(search.attempt(resized(search.best, r), "sizes") for r in resizes):
                break


def _exactly(size: int, target: int) -> Resize:
    return lambda found: target if found == size else found


def _multiples(size: int, target: int) -> Resize:
    return lambda found: found // size * target if found % size == 0 else found


def _sizes(case: Case) -> set[int]:
    graph = case.model.graph
    found = {dim for tensor in graph.initializer for dim in tensor.dims}
    for value in graph.input:
        found |= {d.dim_value for d in value.type.tensor_type.shape.dim}
    found |= {size for array in case.feed.values() for size in array.shape}
    return {size for size in found if size > 1}


def _input_axes(case: Case) -> list[tuple[str, int]]:
    return [(name, axis) for name, array in case.feed.items() for axis in range(array.ndim)]


def _shorten_input(search: DeltaSearch, name: str, axis: int) -> None:
    """Make one axis of one input shorter, as of a batch or a picture whose weights do not know."""
    array = search.best.feed.get(name)
    if array is None or array.shape[axis] < 2:
        return
    for target in [t for t in _TARGETS if t < array.shape[axis]]:
        case = search.best.copy()
        for value in case.model.graph.input:
            if value.name == name and value.type.tensor_type.HasField("shape"):
                dim = value.type.tensor_type.shape.dim[axis]
                if dim.HasField("dim_value"):
                    dim.dim_value = target
        feed = {**case.feed, name: np.take(array, range(target), axis)}
        if search.attempt(_open_inside(Case(case.model, feed)), "sizes"):
            return


def _open_inside(case: Case) -> Case:
    """Drop the shapes of what is computed, which are others now."""
    del case.model.graph.value_info[:]
    for value in case.model.graph.output:
        open_type(value)
    return case


def resized(case: Case, resize: Resize) -> Case:
    """Return the case with sizes as `resize` has them; values are the first ones of each axis."""
    made = case.copy()
    for graph in graphs_of(made.model.graph):
        for tensor in graph.initializer:
            _resize_tensor(tensor, resize)
        for value in graph.input:
            for dim in value.type.tensor_type.shape.dim:
                if dim.HasField("dim_value"):
                    dim.dim_value = resize(dim.dim_value)
        for node in graph.node:
            _resize_node(node, resize)
    feed = {name: _shortened(array, resize) for name, array in made.feed.items()}
    return _open_inside(Case(made.model, feed))


def _resize_node(node: onnx.NodeProto, resize: Resize) -> None:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            _resize_tensor(attribute.t, resize)
        elif attribute.name in _SIZES:
            if attribute.type == onnx.AttributeProto.INT:
                attribute.i = resize(attribute.i)
            attribute.ints[:] = map(resize, attribute.ints)


def _resize_tensor(tensor: onnx.TensorProto, resize: Resize) -> None:
    try:
        array = numpy_helper.to_array(tensor)
    except (TypeError, ValueError):  # weights in a file beside the model, or none
        return
    if array.dtype == np.int64 and array.ndim < 2 and array.size <= _LONGEST_SHAPE:
        changed = np.array([resize(int(n)) if n > 1 else n for n in array.flat], np.int64)
        new = changed.reshape(array.shape)
    else:
        new = _shortened(array, resize)
    if new.shape != array.shape or new is not array:
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(new), tensor.name))


def _shortened(array: Array, resize: Resize) -> Array:
    kept = tuple(slice(0, resize(size) if size > 1 else size) for size in array.shape)
    return array[kept] if array.ndim else array
