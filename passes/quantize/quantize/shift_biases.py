"""Biases that take back what integers add to the mean of each channel, layer after layer.

    b^ = b + f (E[y] - E[y^])       y: the float layer's result,   y^: the same layer's on integers,
                                    those before it corrected already;   f: `lasting_part`

Rounding moves a value that many positions share, such as the background of an image, to one side
at all of them. Such errors do not average out, neither over a picture nor over pictures, and add up
from layer to layer; the mean of a channel shows them.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
(2019), appendix D, with activations on integers as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import node_key
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.linear.operators import bias_of
from ....ir.ops.quantization.nodes import dequantizer
from ....ir.ops.quantization.pairs import channel_scale
from ....ir.ops.traits.groups import LAYERS
from ...analysis.observe.capture import Arrays, stream_tensors
from ...analysis.observe.staged_capture import StagedCapture
from ...analysis.observe.stages import levels_of
from ...engine.context import Context, Feeds
from ..qdq.units import BOUNDING
from ..rounding.held_back import lasting_part

Array = np.ndarray[Any, Any]

# Means need few samples, and every layer's are taken anew.
_MOST_FEEDS = 64
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class IntegerLayer:
    """A layer whose bias is int32 behind `dequantize`, and the name of its float result."""

    node: gs.Node
    dequantize: gs.Node
    float_result: str


def float_results(graph: gs.Graph, view: View, chosen: Collection[str]) -> dict[int, str]:
    """Return what those of the `chosen` layers give whose weights are floats, by id of the node."""
    return {
        id(node): node.outputs[0].name
        for node in graph.nodes
        if node.op in LAYERS and node_key(node) in chosen and view.is_constant(node.inputs[1])
    }


def channel_means(floats: gs.Graph, names: Sequence[str], feeds: Feeds) -> dict[str, HalfMeans]:
    """Return the means of the channels of those of the tensors `names` that `floats` makes."""
    made = {tensor.name for node in floats.nodes for tensor in node.outputs}
    there = [name for name in names if name in made]
    return _means(stream_tensors(floats, there, _First(feeds, _MOST_FEEDS))) if there else {}


def shift_biases(
    graph: gs.Graph,
    context: Context,
    wanted: Mapping[str, HalfMeans],
    results: Mapping[int, str],
    feeds: Feeds,
) -> dict[str, Array]:
    """Correct the biases of the layers of `graph`, quantized, towards the means `wanted`.

    `wanted`: of the float graph, by result. `results`: of the layers before they were quantized, as
    `float_results` has them. Layers without a bias, or whose result is not `wanted`, stay as they
    are. Returns the others' new biases, by these results.
    """
    shifted: dict[str, Array] = {}
    layers = [layer for layer in _layers(graph, context, results) if layer.float_result in wanted]
    if not layers:
        return shifted
    few = _First(feeds, _MOST_FEEDS)
    with StagedCapture(graph, few, optimized=False) as actual, context.editing() as edit:
        view = context.view()
        levels = levels_of(graph, {id(one.node): one for one in layers}, _result)
        done = 0
        for level in levels:
            means = _means(_results(level, actual))
            for layer in level:
                goal = wanted[layer.float_result].over(_result_scale(layer.node, view))
                bias = _shifted(layer, goal.minus(means[_result(layer).name]), view)
                if bias is not None:
                    if not edit.begin():
                        return shifted
                    _write(layer, bias, edit)
                    shifted[layer.float_result] = bias
            edit.commit()  # what the next layers are measured on
            done += len(level)
            context.progress(done / len(layers))
    return shifted


def set_biases(
    graph: gs.Graph, context: Context, results: Mapping[int, str], biases: Mapping[str, Array]
) -> None:
    """Write what `shift_biases` returned into the same graph, quantized as it was."""
    with context.editing() as edit:
        for layer in _layers(graph, context, results):
            if layer.float_result in biases:
                if not edit.begin():
                    return
                _write(layer, biases[layer.float_result], edit)


def _results(layers: Sequence[IntegerLayer], actual: StagedCapture) -> Iterator[Arrays]:
    """Yield what `layers` give, feed by feed; what they read counts as run, and they do not yet."""
    results = [_result(layer).name for layer in layers]
    sources = list(dict.fromkeys(layer.node.inputs[0].name for layer in layers))
    with closing(actual.stage(sources, beyond=results)) as found:
        for arrays in found:
            yield {result: arrays[result] for result in results}


def _result(layer: IntegerLayer) -> gs.Tensor:
    return layer.node.outputs[0]


def _layers(
    graph: gs.Graph, context: Context, results: Mapping[int, str]
) -> Iterator[IntegerLayer]:
    view = context.view()
    for node in graph.nodes:
        bias = bias_of(node) if id(node) in results else None
        source = None if bias is None else dequantizer(bias, view)
        values = None if source is None else view.constant(source.inputs[0])
        if source is not None and values is not None and values.dtype == np.int32:
            yield IntegerLayer(node, source, results[id(node)])


def _result_scale(node: gs.Node, view: View) -> Array | None:
    """Return the scale [M] over which `node` gives its result; None for 1."""
    result = node.outputs[0]
    reader = view.only_reader(result)
    bound = reader is not None and reader.op in BOUNDING
    return channel_scale(reader.outputs[0] if bound and reader is not None else result, view)


def _shifted(layer: IntegerLayer, error: HalfMeans, view: View) -> Array | None:
    """Return the bias with what lasts of `error` added; None where it stays as it is."""
    integers, scale = (view.constant(tensor) for tensor in layer.dequantize.inputs[:2])
    assert integers is not None
    assert scale is not None
    if error.mean.shape != integers.shape:
        return None  # nothing was seen of it
    steps = np.rint(error.lasting / scale.astype(np.float64))
    shifted = np.clip(integers.astype(np.float64) + steps, _INT32.min, _INT32.max)
    shifted = shifted.astype(np.int32)
    return None if np.array_equal(shifted, integers) else shifted


def _write(layer: IntegerLayer, bias: Array, edit: Edit) -> None:
    held = layer.dequantize.inputs[0]
    edit.set_input(layer.dequantize, 0, edit.constant(bias, held.name))


@dataclass
class HalfMeans:
    """Sums of channels [2, M] and their counts [2]: samples go to the halves in turn."""

    sums: Array
    counts: Array
    samples: int = 0

    def add(self, array: Array) -> None:
        """Take in a result [N, M, ...]."""
        if not array.size:  # of an empty batch
            return
        rows = array.reshape(*array.shape[:2], -1).sum(axis=2, dtype=np.float64)
        positions = array[0, 0].size
        for row in rows:
            half = self.samples % 2
            self.sums[half] += row
            self.counts[half] += positions
            self.samples += 1

    def over(self, scale: Array | None) -> HalfMeans:
        """Return those of channels over `scale` [M], None for 1."""
        sums = self.sums if scale is None else self.sums / scale
        return HalfMeans(sums, self.counts, self.samples)

    def minus(self, other: HalfMeans) -> HalfMeans:
        """Return the difference to `other`, of the same samples."""
        return HalfMeans(self.sums - other.sums, self.counts, self.samples)

    @property
    def mean(self) -> Array:
        """The means of all samples [M]; 0 where there is none."""
        return np.asarray(self.sums.sum(axis=0) / max(int(self.counts.sum()), 1))

    @property
    def lasting(self) -> Array:
        """The part of the means that other samples show too [M]."""
        if not self.counts.all():
            return self.mean
        return lasting_part(*(self.sums / self.counts[:, None])) * self.mean


def _means(found: Iterator[Mapping[str, Array]]) -> dict[str, HalfMeans]:
    means: dict[str, HalfMeans] = {}
    for arrays in found:
        for name, array in arrays.items():
            if array.ndim < 2:  # a vector times a matrix: one number of each channel is no mean
                continue
            if name not in means:
                means[name] = HalfMeans(np.zeros((2, array.shape[1])), np.zeros(2, np.int64))
            means[name].add(array)
    return means


class _First:
    """The first `most` of `feeds`, read anew each time."""

    def __init__(self, feeds: Feeds, most: int) -> None:
        self._feeds, self._most = feeds, most

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        return itertools.islice(iter(self._feeds), self._most)
