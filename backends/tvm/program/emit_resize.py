"""Resize and Upsample: repetition of positions, or sums of a few along each axis."""

from __future__ import annotations

import math
from typing import Any

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ..graph.groups import REAL, FusionGroup
from ..graph.resampling import AxisSampling, read_resampling
from ..graph.spatial import is_known
from ..kernels.elementwise import Elementwise, elementwise
from ..kernels.resample import Resample, resample
from ..kernels.tiles import Sizes
from ..spec.chain import ElementwiseChain
from ..spec.layout import BufferSpec, no_halo
from .blocked import BlockedProgram
from .kernel_program import KernelMaker
from .kernel_result import KernelResult
from .value import Value

# Above so many elements a result, one axis after the other is faster.
_MOST_TAPS = 16

_Samplings = list[AxisSampling | None]


def can_emit_resize(node: gs.Node, view: View) -> bool:
    """Say whether `node` resamples positions of known number by constant factors."""
    return (
        view.dtype(node.inputs[0]) in REAL
        and (view.rank(node.inputs[0]) or 0) >= 3
        and is_known(view, node.inputs[0], node.outputs[0])
        and read_resampling(node, view) is not None
    )


def emit_resize(program: BlockedProgram, group: FusionGroup) -> None:
    """Emit a repetition where it is one, else a sum by tables."""
    node = group.anchor
    found = read_resampling(node, program.view)
    assert found is not None
    along: _Samplings = [*[None] * (3 - len(found)), *found]
    x = program.blocked(node.inputs[0])
    assert x.layout is not None
    y = KernelResult(program, group, x.layout, x.shape[0])
    repeated = _repetitions(along, x.spec().spatial, y.spec.spatial)
    raw = repeated is not None and y.keeps(x)
    if not raw:
        y.follow()
    if repeated is not None:
        op = Elementwise((x.spec(raw=raw),), (repeated,), y.spec, y.epilogue.chain, y.batch)
        y.emit("resize", op, elementwise, [x.expr])
        return
    spec, expr, last = _all_but_last(program, x, y, along)
    whole = Resample(spec, y.spec, _taps(last), y.epilogue.chain, y.batch)
    y.emit("resample", whole, resample, [expr, *_tables(program, last)])


def _repetitions(along: _Samplings, x: tuple[int, ...], y: tuple[int, ...]) -> Sizes | None:
    """Return how often each position is repeated along each axis, None where it is not so."""
    times = [b // a for a, b in zip(x, y, strict=True)]
    whole = all(
        (a == b if one is None else one.repeats(count))
        for one, count, a, b in zip(along, times, x, y, strict=True)
    )
    return (times[0], times[1], times[2]) if whole else None


def _all_but_last(
    program: BlockedProgram, x: Value, y: KernelResult, along: _Samplings
) -> tuple[BufferSpec, Any, _Samplings]:
    """Emit one axis after the other where all at once are many elements, but for the last step.

    Returns what that reads, and what is left to do.
    """
    spec, expr = x.spec(), x.expr
    axes = [axis for axis, one in enumerate(along) if one is not None]
    if math.prod(one.taps for one in along if one is not None) <= _MOST_TAPS:
        return spec, expr, along
    assert x.layout is not None
    sizes = list(spec.spatial)
    for axis in axes[:-1]:
        step: _Samplings = [one if at == axis else None for at, one in enumerate(along)]
        sizes[axis] = y.spec.spatial[axis]
        rank = spec.rank
        to = x.layout.with_halo(no_halo(rank)).spec(sizes[3 - rank :])
        op = Resample(spec, to, _taps(step), ElementwiseChain(), y.batch)
        kernel = KernelMaker("resample", op, resample)
        expr = program.call(kernel, [expr, *_tables(program, step)], to, x.shape[0])
        spec = to
    return spec, expr, [one if at == axes[-1] else None for at, one in enumerate(along)]


def _taps(along: _Samplings) -> Sizes:
    first, second, third = (0 if one is None else one.taps for one in along)
    return first, second, third


def _tables(program: BlockedProgram, along: _Samplings) -> list[Any]:
    return [
        program.parameter(values)
        for one in along
        if one is not None
        for values in (one.places, one.weights)
    ]
