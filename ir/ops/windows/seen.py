"""Whether every window of a pool, and every reduction, holds an element of its input.

    along one axis, window o reads input  o * stride - begin + j * dilation,   j = 0 .. k - 1

A dilated window may lie in the pads with all of its taps, and an axis may have no elements. The
result is then no value of the input: of MaxPool the lowest number, of a mean zero, of ReduceMax
minus infinity (ONNX operators MaxPool, AveragePool and ReduceMax, and ONNX Runtime).
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...graph.types import Dim
from ...graph.view import View
from ..axes.reductions import read_reduction
from ..traits import traits_of
from .attributes import WindowAttributes, pool_window


def sees_input(node: gs.Node, view: View) -> bool:
    """Say whether each element of a pool's or reduction's result comes from one of its input.

    False where that is not known. A global pool of no positions is an error wherever it runs.
    """
    traits = traits_of(node, view.opset)
    if traits.reduction:
        return _reduces_some(node, view)
    if not traits.pooling or not traits.windowed:
        return traits.pooling
    window, shape = pool_window(node), view.shape(node.inputs[0])
    sizes = [None] * window.rank if shape is None else list(shape[2:])
    return len(sizes) == window.rank and all(
        _axis_sees(window, axis, size) for axis, size in enumerate(sizes)
    )


def _reduces_some(node: gs.Node, view: View) -> bool:
    found, shape = read_reduction(node, view), view.shape(node.inputs[0])
    if found is None or shape is None:
        return False
    sizes = [shape[axis] for axis in found.axes]
    return all(isinstance(size, int) and size > 0 for size in sizes)


def _axis_sees(window: WindowAttributes, axis: int, size: Dim) -> bool:
    kernel, dilation, stride = (
        each[axis] for each in (window.kernel, window.dilations, window.strides)
    )
    pads = _pads(window, axis, size)
    if pads is None:
        return dilation == 1  # automatic pads are smaller than the reach
    begin, end = pads
    # With ceil_mode the last window may begin up to a stride later, in some runtimes.
    end += stride - 1 if window.ceil else 0
    if begin == end == 0 or (dilation == 1 and max(begin, end) < kernel):
        return True
    if not isinstance(size, int):
        return False
    reach = window.reaches[axis]
    starts = range(-begin, size + end - reach + 1, stride)
    taps = range(0, reach, dilation)
    # Where the window does not fit, some runtimes give one all the same.
    return len(starts) > 0 and all(any(0 <= start + tap < size for tap in taps) for start in starts)


def _pads(window: WindowAttributes, axis: int, size: Dim) -> tuple[int, int] | None:
    """Return the pads of one axis; None where they follow from a size that is not known."""
    fixed = window.fixed_pads()
    if fixed is None and isinstance(size, int):
        fixed = window.pads((size,) * window.rank)
    return None if fixed is None else (fixed[0][axis], fixed[1][axis])
