"""Mean and variance of each channel, without data: normal distributions pushed through a graph.

    linear        m = W m_x + b,  v = W^2 v_x            independent inputs, padding left aside
    f(x)          m = E f(z), v = var f(z),  z ~ N(m_x, v_x)    Relu, Clip, Sigmoid, ...
    BatchNormalization   m = B, v = scale^2              exact, by what its statistics are

A sum of many inputs is near a normal distribution, whatever each of them is. Means err where
inputs are strongly correlated (their variances then do, and with them what Relu makes of them), so
that a BatchNormalization in between, whose parameters state both, sets them right again.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
(2019), section 4.2.1, which takes the moments from the BatchNormalization before a Relu; here they
are carried on where it was folded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.graph.view import View
from ....ir.ops.clips import clip_bounds
from ....ir.ops.linear.kernel import Kernel
from ....ir.ops.linear.layer import read_layer
from ....ir.ops.traits import Homogeneous, function_of, operators_with, traits_of
from ....ir.ops.traits.groups import LAYERS

Array = np.ndarray[Any, Any]

_Z = np.linspace(-7.0, 7.0, 1401)
_DENSITY = np.exp(-(_Z**2) / 2) / np.exp(-(_Z**2) / 2).sum()


@dataclass(frozen=True)
class Normal:
    """Mean and variance of each channel, [C]."""

    mean: Array
    variance: Array

    def through(self, function: Callable[[Array], Array]) -> Normal:
        """Return the moments of an element-wise function of it."""
        values = function(self.mean[:, None] + np.sqrt(self.variance)[:, None] * _Z)
        mean = values @ _DENSITY
        return Normal(mean, np.maximum((values - mean[:, None]) ** 2 @ _DENSITY, 0.0))

    def linear(self, kernel: Kernel) -> Normal:
        """Return the moments of what `kernel` gives for independent inputs."""
        taps = kernel.weight.reshape(*kernel.weight.shape[:3], -1)
        total, squared = taps.sum(axis=3), (taps**2).sum(axis=3)
        mean = np.einsum("gmc,gc->gm", total, self.mean.reshape(kernel.group, -1))
        spread = np.einsum("gmc,gc->gm", squared, self.variance.reshape(kernel.group, -1))
        return Normal(mean.reshape(-1) + kernel.full_bias(), spread.reshape(-1))


# These keep the distribution of each channel: a mean is near what it is of, at least its own mean.
_KEEP = operators_with(lambda t: t.pooling and t.homogeneous == Homogeneous.ANY) | {
    "Identity",
    "Dropout",
}


def channel_moments(view: View, inputs: Normal) -> dict[int, Normal]:
    """Return moments by the id of a tensor, for those of the scope whose channels have them.

    `inputs` [1] are those of every channel of every graph input.
    """
    found: dict[int, Normal] = {}
    for tensor in view.scope.inputs:
        shape = view.shape(tensor)
        if shape is not None and len(shape) > 1 and isinstance(shape[1], int):
            parts = (np.full(shape[1], part.item()) for part in (inputs.mean, inputs.variance))
            found[id(tensor)] = Normal(*parts)
    for node in view.scope.nodes:
        if traits_of(node, view.opset).known and node.outputs:
            moments = _moments_of(node, view, found)
            if moments is not None and np.isfinite(moments.mean).all():
                found[id(node.outputs[0])] = moments
    return found


def _moments_of(node: gs.Node, view: View, found: dict[int, Normal]) -> Normal | None:
    if node.op == "BatchNormalization":
        scale, shift = (view.constant(tensor) for tensor in node.inputs[1:3])
        if scale is None or shift is None:
            return None
        return Normal(shift.astype(np.float64), scale.astype(np.float64) ** 2)
    parts = [found.get(id(tensor)) for tensor in node.inputs]
    first = parts[0] if parts else None
    if node.op == "Concat" and node.attrs.get("axis") == 1:
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return Normal(*(np.concatenate([getattr(p, f) for p in known]) for f in _FIELDS))
    if node.op == "Add":
        return _sum(node, view, parts)
    if first is None:
        return None
    if node.op in LAYERS:
        try:
            kernel = read_layer(node, view).kernel()
        except DeclinedError:
            return None
        return first.linear(kernel) if kernel.inputs == len(first.mean) else None
    if node.op == "Flatten":
        shape = view.shape(node.outputs[0])
        return first if shape is not None and shape[1:] == (len(first.mean),) else None
    if node.op in _KEEP:
        return first
    function = _function(node, view)
    return None if function is None else first.through(function)


_FIELDS = ("mean", "variance")


def _sum(node: gs.Node, view: View, parts: list[Normal | None]) -> Normal | None:
    known = [part for part in parts if part is not None]
    if len(known) == 2:
        a, b = known
        if a.mean.shape != b.mean.shape or not view.same_shape(*node.inputs):
            return None
        return Normal(a.mean + b.mean, a.variance + b.variance)
    if not known:
        return None
    other = view.constant(node.inputs[1 if parts[0] is not None else 0])
    if other is None or other.size not in (1, len(known[0].mean)):
        return None
    rank = view.rank(node.outputs[0])
    if rank is None or (other.size > 1 and other.shape[1 - rank :][:1] != (other.size,)):
        return None
    return Normal(known[0].mean + other.reshape(-1), known[0].variance)


def _function(node: gs.Node, view: View) -> Callable[[Array], Array] | None:
    if node.op != "Clip":
        return function_of(node, view.opset)
    bounds = clip_bounds(node, view)
    if bounds is None or math.isnan(sum(bounds)):
        return None
    return lambda x: np.minimum(np.maximum(x, bounds[0]), bounds[1])
