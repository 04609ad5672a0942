"""A layer that reads channels: second moments of what it reads, and what an error of it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.graph.view import View
from .....ir.ops.linear.layer import Layer
from ....analysis.channels.group import ChannelSlice
from ....analysis.observe.moments import Moments, join_columns
from ....analysis.observe.patches import draw_positions, patches_at, position_shape, results_at
from ....analysis.observe.stages import parts_of
from .elimination import ReadingLayer, inverse_of, lone_reader, reader_of

Array = np.ndarray[Any, Any]

# Ops between a layer and the Add where its branch ends.
_PASSED = frozenset({"BatchNormalization", "Identity", "Dropout"})

# Added to the variance of a channel, of their mean: what hardly varies counts less.
_LEAST_VARIANCE = 1e-2


@dataclass
class _ChannelVariance:
    """Variance of each channel of a tensor, streamed over the positions of all feeds."""

    count: int = 0
    sums: Any = 0.0
    squares: Any = 0.0

    def add(self, values: Array, axis: int) -> None:
        lines = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        self.count += lines.shape[1]
        self.sums = self.sums + lines.sum(axis=1, dtype=np.float64)
        self.squares = self.squares + np.einsum("cp,cp->c", lines, lines, dtype=np.float64)

    def variance(self) -> Array:
        mean = self.sums / self.count
        return np.asarray(np.maximum(self.squares / self.count - mean**2, 0))


class MeasuredLayer:
    """A layer that reads channels, the moments of what it reads, and where its branch ends."""

    def __init__(self, layer: Layer, view: View) -> None:
        self.layer = layer
        self.branch, self.sum = _end_of_branch(layer, view)
        self.moments = Moments(parts=parts_of(layer))
        self._part, self._whole = _ChannelVariance(), _ChannelVariance()

    @property
    def names(self) -> list[str]:
        """The tensors to look at."""
        found = [self.layer.source, self.layer.result, self.branch, self.sum]
        return [tensor.name for tensor in found if tensor is not None]

    def add(self, arrays: Mapping[str, Array], most: int, generator: np.random.Generator) -> None:
        """Take in one feed."""
        source, result = (arrays[t.name] for t in (self.layer.source, self.layer.result))
        at = draw_positions(position_shape(self.layer, result), most, generator)
        if at.size:
            patches = patches_at(self.layer, source, result, at)
            self.moments.add(patches, results_at(self.layer, result, at))
        if self.branch is not None and self.sum is not None:
            axis = self.layer.axis
            self._part.add(arrays[self.branch.name], axis)
            self._whole.add(arrays[self.sum.name], axis)

    def reader(self, slot: ChannelSlice) -> ReadingLayer:
        """Return the reader of the channels at `slot`, the groups of a convolution side by side."""
        weight = self._flat_weight() * np.sqrt(self._prices)[:, None]
        taps = weight.shape[1] // self.layer.inputs
        columns = slot.index[..., None] * taps + np.arange(taps)
        columns = columns.reshape(len(slot.index), -1)
        if self.moments.parts == 1:
            return reader_of(weight, self._inverse, columns)
        # Of so many columns the moments are not held: each counts as if it were alone.
        alone = np.einsum("mk,mk->k", weight, weight) * self._variances()
        return lone_reader(alone[columns].sum(axis=1))

    def _flat_weight(self) -> Array:
        """Return [G M, G K]: the weights of a group stand where the group reads."""
        blocks = self.layer.kernel().weight  # [G, M, C, taps...]
        groups, outputs = blocks.shape[:2]
        weight = np.zeros((groups, outputs, groups, blocks[0, 0].size))
        for g in range(groups):
            weight[g, :, g] = blocks[g].reshape(outputs, -1)
        return weight.reshape(groups * outputs, -1)

    @cached_property
    def _inverse(self) -> Array:
        """Return the inverse [G K, G K] of the moments of what is read, group by group."""
        found = self.moments.input_moment()
        groups, size = found.shape[:2]
        inverse = np.zeros((groups, size, groups, size))
        for g in range(groups):
            inverse[g, :, g] = inverse_of(found[g], self.moments.count)
        return inverse.reshape(groups * size, -1)

    def _variances(self) -> Array:
        blocks = self.moments.input_moment()  # [G parts, K', K']
        parts = np.einsum("gkk->gk", blocks)[..., None]
        size = self.layer.weight.size // self.layer.outputs
        return join_columns(parts, self.moments.parts, size).reshape(-1)

    @cached_property
    def _prices(self) -> Array:
        """What one unit of squared error of each channel of the layer's result is worth, [M].

        Channels count alike, however small: the next layer scales them as it likes.
        """
        own = self.moments.output_moment().reshape(-1)
        if self.branch is None:
            return _over(np.ones(len(own)), own) / len(own)
        scale = np.divide(self._part.variance(), own, out=np.zeros(len(own)), where=own > 0)
        return _over(scale, self._whole.variance()) / len(own)


def _over(values: Array, variance: Array) -> Array:
    floor = _LEAST_VARIANCE * float(variance.mean())
    return values / (variance + floor) if floor > 0 else np.zeros(len(values))


def _end_of_branch(layer: Layer, view: View) -> tuple[gs.Tensor | None, gs.Tensor | None]:
    """Return what a branch that ends with `layer` puts into an Add, and that sum; or None twice."""
    tensor = layer.result
    while True:
        node = view.only_reader(tensor)
        if node is None:
            return None, None
        # A mean or a largest of branches is no residual connection.
        if node.op in ("Add", "Sub", "Sum"):
            others = [t for t in node.inputs if t is not tensor]
            shapes = [view.shape(t) for t in (tensor, *others)]
            alike = len(others) == 1 and shapes[0] is not None and shapes[0] == shapes[1]
            computed = alike and view.constant(others[0]) is None
            return (tensor, node.outputs[0]) if computed else (None, None)
        if node.op not in _PASSED:
            return None, None
        tensor = node.outputs[0]
