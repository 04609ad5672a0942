"""Pooling, resizing and padding."""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.ops.parameters import read_parameter
from ...ir.ops.resizing import ratio_policy, resize_positions, resized_shape
from ...ir.ops.traits import attribute
from ...ir.ops.windows.attributes import pool_window
from ...ir.ops.windows.pad import read_padding
from .model import Parameter
from .scope import NcnnScope

_KERNEL = {1: (1,), 2: (11, 1), 3: (21, 11, 1)}
_STRIDE = {1: (2,), 2: (12, 2), 3: (22, 12, 2)}
_BEFORE = {1: (3,), 2: (13, 3), 3: (23, 13, 3)}
_AFTER = {1: (14,), 2: (15, 14), 3: (16, 15, 14)}
_DIMENSIONS = {1: "1D", 2: "", 3: "3D"}
_VALID = 1  # ncnn's mode without windows that lie partly outside


def convert_pool(to: NcnnScope, node: gs.Node) -> None:
    """Add a MaxPool or AveragePool; pads after are what the last window needs."""
    window = pool_window(node)
    need(len(node.outputs) == 1 or node.outputs[1].is_empty(), "its indices are read")
    need(set(window.dilations) == {1}, "its window is dilated")
    need(window.rank in _KERNEL, f"its window has {window.rank} axes")
    x, y = to.shape(node.inputs[0])[1:], to.shape(node.outputs[0])[1:]
    before, after = window.pads(x)
    reaches = [(n - 1) * s + k for n, s, k in zip(y, window.strides, window.kernel, strict=True)]
    ends = [max(0, r - n - b) for r, n, b in zip(reaches, x, before, strict=True)]
    averages = node.op == "AveragePool"
    if averages and window.counts_pads:
        beyond = any(e > a for e, a in zip(ends, after, strict=True))
        need(not beyond, "its last window counts what lies beyond its pads")
    params: dict[int, Parameter] = {0: int(averages), 5: _VALID, 6: int(window.counts_pads)}
    for keys, values in (
        (_KERNEL, window.kernel),
        (_STRIDE, window.strides),
        (_BEFORE, before),
        (_AFTER, ends),
    ):
        params |= dict(zip(keys[window.rank], map(int, values), strict=True))
    added = to.add("Pooling" + _DIMENSIONS[window.rank], (to.blob(node.inputs[0]),), params)
    to.define(node.outputs[0], added)


def convert_global_pool(to: NcnnScope, node: gs.Node) -> None:
    """Add a GlobalAveragePool or GlobalMaxPool."""
    shape = to.shape(node.inputs[0])
    rank = len(shape) - 1
    need(rank in _DIMENSIONS, "it has no positions")
    params: dict[int, Parameter] = {0: int(node.op == "GlobalAveragePool"), 4: 1}
    found = to.add("Pooling" + _DIMENSIONS[rank], (to.blob(node.inputs[0]),), params)
    to.define(node.outputs[0], to.reshaped(found, to.shape(node.outputs[0])))


def convert_resize(to: NcnnScope, node: gs.Node) -> None:
    """Add a Resize of images as Interp, where both mean the same."""
    x, y = to.shape(node.inputs[0]), to.shape(node.outputs[0])
    need(len(x) == 3 and x[0] == y[0], "it resizes more than two axes")
    shape = need(resized_shape(node, to.view), "its sizes are not known")
    need(tuple(shape[1:]) == y, "its sizes are not known")
    mode = str(attribute(node, "mode", to.view.opset))
    where, rounds = resize_positions(node, to.view)
    need(not node.attrs.get("antialias", 0), "it is antialiased")
    need(ratio_policy(node) == "stretch", "its sizes keep the ratio of the axes")
    need(_has_factors_of_sizes(node, to, x, y), "its factors differ from those of its sizes")
    params: dict[int, Parameter] = {3: y[1], 4: y[2]}
    if mode == "nearest":
        floors = where == "asymmetric" and rounds == "floor"
        centres = where == "half_pixel" and rounds.startswith("round")
        whole = all(b % a == 0 for a, b in zip(x, y, strict=True))
        need(whole and (floors or centres), "which element is nearest is a matter of rounding")
        params[0] = 1
    else:
        need(mode == "linear", f"its mode is {mode}")
        need(where in ("half_pixel", "align_corners"), f"its coordinates are {where}")
        params |= {0: 2, 6: int(where == "align_corners")}
    to.define(node.outputs[0], to.add("Interp", (to.blob(node.inputs[0]),), params))


def _has_factors_of_sizes(
    node: gs.Node, to: NcnnScope, before: tuple[int, ...], after: tuple[int, ...]
) -> bool:
    """Say whether positions go by the ratios of sizes, which are all that ncnn is told.

    Scales whose products are no whole sizes are others, except where corners are aligned.
    """
    scales = read_parameter(node, "scales", to.view)
    sizes = read_parameter(node, "sizes", to.view)
    if (sizes.given and (sizes.values is None or sizes.values.size)) or not scales.given:
        return True
    if scales.values is None:
        return False
    if resize_positions(node, to.view)[0] == "align_corners":
        return True
    axes = list(node.attrs.get("axes") or range(len(before) + 1))
    given = {int(axis) % (len(before) + 1): s for axis, s in zip(axes, scales.values, strict=True)}
    told = [float(given.get(i + 1, 1)) for i in range(len(before))]
    return all(
        math.isclose(a * scale, b, rel_tol=1e-6)
        for a, b, scale in zip(before, after, told, strict=True)
    )


def convert_pad(to: NcnnScope, node: gs.Node) -> None:
    """Add a Pad with a constant value."""
    found = read_padding(node, to.view)
    need(not found.crops, "it crops")
    need(not found.begins[0] and not found.ends[0], "it pads along the images")
    rank = len(to.shape(node.inputs[0]))
    begins, ends = (list(map(int, part[1:])) for part in (found.begins, found.ends))
    blob = to.blob(node.inputs[0])
    if rank == 4 and (begins[0] or ends[0]):
        blob = _padded_channels(to, node, (begins[0], ends[0]), found.value)
    # Outermost last: columns, rows, and channels or planes.
    params: dict[int, Parameter] = {4: 0, 5: float(found.value)}
    for place, keys in zip(range(1, rank + 1), ((2, 3), (0, 1), (7, 8)), strict=False):
        params |= {keys[0]: begins[-place], keys[1]: ends[-place]}
    to.define(node.outputs[0], to.add("Padding", (blob,), params))


def _padded_channels(to: NcnnScope, node: gs.Node, counts: tuple[int, int], value: float) -> str:
    """Return volumes with channels around, for which Padding has no place."""
    shape = to.shape(node.inputs[0])[1:]
    before, after = (
        [to.constant(np.full((count, *shape), value, np.float32))] if count else []
        for count in counts
    )
    return to.add("Concat", [*before, to.blob(node.inputs[0]), *after], {0: 0})
