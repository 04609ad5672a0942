"""What the layers of a backend compute, where only the graph can tell: operators and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...backends.contract.layer_times import LayerTime, LayerTimes
from ...ir.core.errors import PlanishError
from ...passes.analysis.cost import cost

_Known = dict[str, tuple[str, tuple[int | str | None, ...] | None]]


def with_operators(
    times: LayerTimes, graph: gs.Graph, feed: Mapping[str, np.ndarray[Any, Any]]
) -> LayerTimes:
    """Return `times` with operators and shapes of `graph` for layers that have none, by name.

    A backend has other nodes than the graph where it rewrites it first: those stay without, unless
    it says itself what they are. Named sizes are those of `feed`.
    """
    sizes = _sizes(graph, feed)
    missing = not all(layer.operators for layer in times.layers)
    known = _known(graph, sizes) if missing else {}
    layers = tuple(_named(layer, known) for layer in times.layers)
    return replace(
        times, layers=tuple(replace(each, shape=_sized(each.shape, sizes)) for each in layers)
    )


def _named(layer: LayerTime, known: _Known) -> LayerTime:
    found = [known[name] for name in layer.nodes if name in known]
    if layer.operators or not found:
        return layer
    return replace(layer, operators=tuple(op for op, _ in found), shape=found[-1][1])


def _sizes(graph: gs.Graph, feed: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, int]:
    """Return what the named sizes of the inputs are in `feed`."""
    return {
        name: size
        for tensor in graph.inputs
        if tensor.shape is not None and tensor.name in feed
        for name, size in zip(tensor.shape, feed[tensor.name].shape, strict=True)
        if isinstance(name, str)
    }


def _known(graph: gs.Graph, sizes: Mapping[str, int]) -> _Known:
    """Return operator and output shape by the name of a node, or of what it makes."""
    try:
        costs = cost(graph, dict(sizes)).nodes
    except PlanishError:
        return {}
    return {
        name: (node.op, each.output_shape)
        for node, each in zip(graph.nodes, costs, strict=True)
        for name in (node.name, *(tensor.name for tensor in node.outputs))
        if name
    }


def _sized(
    shape: tuple[int | str | None, ...] | None, sizes: Mapping[str, int]
) -> tuple[int | str | None, ...] | None:
    if shape is None:
        return None
    return tuple(sizes.get(size, size) if isinstance(size, str) else size for size in shape)
