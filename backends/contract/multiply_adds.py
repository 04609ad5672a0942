"""How many multiply-adds each node of a run has, under the names that a profile may call it by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...passes.analysis.cost import cost


def multiply_adds_by_name(
    graph: gs.Graph, feeds: Mapping[str, np.ndarray[Any, Any]]
) -> dict[str, int]:
    """Return the multiply-adds of each node in a run on `feeds`, by its name and its outputs'."""
    sizes = {
        name: size
        for tensor in graph.inputs
        if tensor.shape is not None and tensor.name in feeds
        for name, size in zip(tensor.shape, feeds[tensor.name].shape, strict=True)
        if isinstance(name, str)
    }
    return {
        name: one.macs or 0
        for node, one in zip(graph.nodes, cost(graph, sizes).nodes, strict=True)
        for name in (node.name, *(tensor.name for tensor in node.outputs))
        if name
    }
