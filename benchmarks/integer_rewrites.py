"""Two exact rewrites in front of `int8` that were tried and do not pay: see `integer_accuracy`.

    W2 f(x) = W2 f(x) / 2 + W2 f(x) / 2              split: the channels of largest x stand twice
    W2 x + b = W2 (x - c) + (b + W2 c)               centred: each channel around 0, without padding

Sources: Zhao et al., "Improving Neural Network Quantization without Retraining using Outlier
Channel Splitting" (2019); Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction" (2019), section 4.1.3, for shifts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from planish.ir.graph.clone import clone
from planish.passes.analysis.observe.capture import stream_tensors

Array = np.ndarray[Any, Any]
Feeds = Sequence[Mapping[str, Array]]
_PART = 0.05


def split_outliers(graph: gs.Graph, feeds: Feeds) -> gs.Graph:
    """Return `graph` with 5 % of the channels behind each Conv and Relu halved and doubled.

    Those of largest absolute value on `feeds`, where nothing but Convs reads them.
    """
    graph = clone(graph)
    places = [(conv, relu) for conv, relu in _rectified(graph) if _is_read_by_convs(relu, graph)]
    ends = _ends(graph, [relu.outputs[0].name for _, relu in places], feeds)
    for conv, relu in places:
        result = relu.outputs[0]
        most = np.abs(ends[result.name]).max(axis=0)
        chosen = np.sort(np.argsort(-most)[: math.ceil(_PART * len(most))])
        for place in range(1, len(conv.inputs)):
            values = conv.inputs[place].values.copy()
            values[chosen] /= 2
            _set(conv, place, np.concatenate([values, values[chosen]]))
        for tensor in (conv.outputs[0], result):
            tensor.shape = None
        for reader in result.outputs:
            weight = reader.inputs[1].values
            _set(reader, 1, np.concatenate([weight, weight[:, chosen]], axis=1))
    return graph


def centre_channels(graph: gs.Graph, feeds: Feeds) -> gs.Graph:
    """Return `graph` with each channel between a Conv and a Conv without padding around 0."""
    graph = clone(graph)
    convs = [node for node in graph.nodes if _is_dense(node)]
    places = [c for c in convs if _is_read_by_convs(c, graph, padded=False)]
    ends = _ends(graph, [conv.outputs[0].name for conv in places], feeds)
    for conv in places:
        result = conv.outputs[0]
        centre = ends[result.name].mean(axis=0)
        _add_to_bias(conv, -centre)
        for reader in result.outputs:
            _add_to_bias(reader, reader.inputs[1].values.sum(axis=(2, 3)) @ centre)
    return graph


def _is_dense(node: gs.Node) -> bool:
    constants = all(isinstance(tensor, gs.Constant) for tensor in node.inputs[1:])
    return bool(node.op == "Conv" and node.attrs.get("group", 1) == 1 and constants)


def _rectified(graph: gs.Graph) -> list[tuple[gs.Node, gs.Node]]:
    readers = [(node, node.outputs[0].outputs) for node in graph.nodes if _is_dense(node)]
    return [(c, found[0]) for c, found in readers if len(found) == 1 and found[0].op == "Relu"]


def _is_read_by_convs(node: gs.Node, graph: gs.Graph, *, padded: bool = True) -> bool:
    result = node.outputs[0]
    if not result.outputs or any(result is each for each in graph.outputs):
        return False
    pads = [reader.attrs.get("pads", [0]) for reader in result.outputs]
    return all(map(_is_dense, result.outputs)) and (padded or not any(map(any, pads)))


def _ends(graph: gs.Graph, names: list[str], feeds: Feeds) -> dict[str, Array]:
    """Return the least and the largest value of each channel of the tensors, [2, C]."""
    found: dict[str, list[Array]] = {name: [] for name in names}
    for arrays in stream_tensors(graph, names, feeds):
        for name, array in arrays.items():
            found[name].append(np.stack([array.min(axis=(0, 2, 3)), array.max(axis=(0, 2, 3))]))
    return {
        name: np.stack([np.min(each, axis=0)[0], np.max(each, axis=0)[1]])
        for name, each in found.items()
    }


def _set(node: gs.Node, place: int, values: Array) -> None:
    name = f"{node.inputs[place].name}_{node.outputs[0].name}"
    node.inputs[place] = gs.Constant(name, values.astype(np.float32))


def _add_to_bias(conv: gs.Node, values: Array) -> None:
    if len(conv.inputs) < 3:
        conv.inputs.append(gs.Constant(f"{conv.outputs[0].name}_bias", np.float32(0 * values)))
    _set(conv, 2, conv.inputs[2].values + values)
