"""Recognize normalizations that exporters spell out.

(x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias
    = LayerNormalization      with means over the last axes and a scale of their shape
    = InstanceNormalization   with means over all spatial axes and a scale of one number a channel

A decomposed GroupNormalization is an InstanceNormalization between two Reshapes, which is also what
PyTorch's exporter gives: ONNX Runtime has a kernel for that, and none for GroupNormalization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ....ir.ops.fused.bodies import layer_normalization_function
from ....ir.ops.opsets import has_operator
from ...engine.rewrite import Rewrite, RewritePass
from ..expressions import need_private
from ..replacement import Array, Recognition, RecognizedOperator
from .deviations import Normalized, read_normalized


@dataclass(frozen=True)
class RecognizeNormalizations(RewritePass):
    """Write LayerNormalization or InstanceNormalization for their arithmetic.

    Means over channels alone (a LayerNorm of images) stay: the operator would need two Transposes.
    """

    name: ClassVar[str] = "recognize-normalizations"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_Normalization(),)


class _Normalization(Recognition):
    ops = frozenset({"Div", "Mul"})

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        found = read_normalized(node, view)
        if found is None:
            return None
        shape = need(view.shape(found.source), "the shape of its input is not known")
        dtype = view.dtype(found.source)
        need(
            dtype is not None and dtypes.bits(dtype) <= 32 and dtypes.is_float(dtype),
            "ONNX Runtime normalizes no float64",
        )
        # ONNX Runtime refuses to normalize what has no elements.
        need(all(shape[axis] != 0 for axis in found.axes), "its means are over no elements")
        spatial = len(shape) >= 3 and found.axes == tuple(range(2, len(shape)))
        last = found.axes == tuple(range(found.axes[0], len(shape))) and found.axes[0] > 0
        if not spatial and not last:
            return need(None, f"its means are over axes {list(found.axes)}, not the last ones")
        candidates = [_layer] if last else []
        if spatial:
            # Of an image the spatial axes are more likely meant than a plane of features.
            candidates.insert(0 if len(shape) > 3 or _is_grouped(found, view) else 1, _instance)
        sites = [site for make in candidates if (site := make(node, found, shape, view))]
        need(bool(sites), "its channels or normalized sizes are not static")
        short = [site for site in sites if site.is_no_longer]
        need(bool(short), "written out as a function for this opset, it takes more nodes")
        return max(short, key=lambda site: len(site.nodes))  # the first of those that take most in


def _is_grouped(found: Normalized, view: View) -> bool:
    source = view.producer(found.source)
    return source is not None and source.op == "Reshape"


def _layer(node: gs.Node, found: Normalized, shape: Shape, view: View) -> RecognizedOperator | None:
    sizes = _static(shape[found.axes[0] :])
    if sizes is None:
        return None
    scale, bias, nodes = _scale_and_bias(node, sizes, len(shape), view)
    removed = need_private((*found.nodes, *nodes[1:], node), nodes[0], view)
    inputs = (found.source, scale, bias)
    if has_operator("LayerNormalization", view.opset):
        attrs = {"axis": found.axes[0] - len(shape), "epsilon": found.epsilon}
        return RecognizedOperator("LayerNormalization", inputs, removed, attrs)
    epsilon = np.array(found.epsilon, scale.dtype)
    axes = [axis - len(shape) for axis in found.axes]
    return RecognizedOperator(
        "LayerNormalization",
        (*inputs, epsilon),
        removed,
        {"axes": axes},
        layer_normalization_function(view.opset),
    )


def _instance(
    node: gs.Node, found: Normalized, shape: Shape, view: View
) -> RecognizedOperator | None:
    channels = _static(shape[1:2])
    if channels is None:
        return None
    per_channel = (*channels, *[1] * (len(shape) - 2))
    scale, bias, nodes = _scale_and_bias(node, per_channel, len(shape), view)
    removed = need_private((*found.nodes, *nodes[1:], node), nodes[0], view)
    inputs = (found.source, scale.reshape(-1), bias.reshape(-1))
    return RecognizedOperator("InstanceNormalization", inputs, removed, {"epsilon": found.epsilon})


def _static(sizes: Shape) -> tuple[int, ...] | None:
    found = tuple(size for size in sizes if isinstance(size, int))
    return found if len(found) == len(sizes) else None


def _scale_and_bias(
    node: gs.Node, sizes: tuple[int, ...], rank: int, view: View
) -> tuple[Array, Array, tuple[gs.Node, ...]]:
    """Return the constants of shape `sizes` after `node`, and the nodes from the last to `node`."""
    dtype = need(view.dtype(node.outputs[0]), "the type of its result is not known")
    scale, bias = np.ones(sizes, dtype), np.zeros(sizes, dtype)
    nodes: tuple[gs.Node, ...] = (node,)
    for ops in (("Mul", "Div"), ("Add", "Sub")):
        reader = view.only_reader(nodes[0].outputs[0])
        if reader is None or reader.op not in ops or not is_standard(reader):
            continue
        place = 1 if reader.inputs[0] is nodes[0].outputs[0] else 0
        values = view.constant(reader.inputs[place])
        values = None if values is None else _broadcast(values, sizes, rank)
        inverse = _inverse(values) if reader.op == "Div" and place == 1 else None
        if values is None or (reader.op == "Div" and inverse is None):
            break
        match reader.op:
            case "Mul" | "Div":
                scale = values if inverse is None else inverse
            case "Add":
                bias = values
            case _:
                scale, bias = (scale, -values) if place == 1 else (-scale, values)
        nodes = (reader, *nodes)
    return scale, bias, nodes


def _inverse(values: Array | None) -> Array | None:
    """Return 1 / values in their type; None where one of them is not finite, or subnormal."""
    if values is None:
        return None
    with np.errstate(divide="ignore", over="ignore"):
        found = (1 / values.astype(np.float64)).astype(values.dtype)
    normal = np.abs(found) >= np.finfo(values.dtype).tiny
    return found if bool((np.isfinite(found) & normal).all()) else None


def _broadcast(values: Array, sizes: tuple[int, ...], rank: int) -> Array | None:
    """Return `values` in shape `sizes`, if they repeat along all other axes of the `rank`."""
    if values.ndim > rank:
        return None
    while values.ndim > len(sizes) and values.shape[0] == 1:
        values = values[0]
    if values.ndim > len(sizes):
        return None
    try:
        return np.ascontiguousarray(np.broadcast_to(values, sizes))
    except ValueError:
        return None
