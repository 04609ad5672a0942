"""A module that was a graph's -> a graph again, with the inputs and outputs that it had."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs
import torch

from ...ir.core.errors import PassError
from ...ir.graph.uses import scopes
from ...ir.proto.metadata import (
    model_metadata,
    set_model_metadata,
    set_tensor_metadata,
    tensor_metadata,
)
from ...ir.run.feeds import drawn_shapes, random_feeds
from ...ir.torch.tensors import to_tensor
from ...ir.torch.trace import trace

_FIRST_OPSET = 18  # of PyTorch's exporter
_BATCH = 2  # what an open number of samples is drawn as


def traced_back(module: torch.fx.GraphModule, before: gs.Graph) -> gs.Graph:
    """Return the graph of `module`, which takes and returns what `before` does.

    Raises PassError where it does not, TraceError where it cannot be traced.
    """
    inputs = [tensor for tensor in before.inputs if isinstance(tensor, gs.Variable)]
    feed = next(iter(random_feeds(before, seed=0, shapes=_other_sizes(before))))
    examples = [to_tensor(feed[tensor.name]) for tensor in inputs]
    opened = tuple(_open_sizes(tensor) for tensor in inputs)
    opset = max(before.opset, _FIRST_OPSET)
    graph = trace(module, examples, opened if any(opened) else None, opset=opset)
    for kind, had, has in (
        ("input", inputs, graph.inputs),
        ("output", before.outputs, graph.outputs),
    ):
        if len(had) != len(has):
            raise PassError(f"it leaves a module of {len(has)} {kind}s, of {len(had)} before")
        for was, now in zip(had, has, strict=True):
            _require_as_open(was, now)
    _forget_inner_types(graph)
    _take_names(graph, [*inputs, *before.outputs])
    for attribute in ("name", "doc_string", "producer_name", "producer_version"):
        setattr(graph, attribute, getattr(before, attribute))
    set_model_metadata(graph, model_metadata(before))
    return graph


def _other_sizes(graph: gs.Graph) -> dict[str, list[int]]:
    """Return sizes for inputs that verification does not draw: what a pass fixes, it then sees."""
    drawn = drawn_shapes(graph)
    declared = {tensor.name: tensor.shape for tensor in graph.inputs}
    return {
        name: [
            size if isinstance(dim, int) else size + 1 if size <= _BATCH else 2 * size
            for size, dim in zip(sizes, declared[name] or sizes, strict=True)
        ]
        for name, sizes in drawn.items()
    }


def _open_sizes(tensor: gs.Variable) -> dict[int, Any] | None:
    axes = [axis for axis, size in enumerate(tensor.shape or ()) if not isinstance(size, int)]
    return dict.fromkeys(axes, torch.export.Dim.AUTO) or None


def _require_as_open(was: gs.Tensor, now: gs.Tensor) -> None:
    for axis, (before, size) in enumerate(zip(was.shape or (), now.shape or (), strict=False)):
        if isinstance(size, int) and size != before:
            raise PassError(
                f"it leaves a module that takes {size} alone along axis {axis} of '{was.name}', "
                f"where {before} stood"
            )


def _forget_inner_types(graph: gs.Graph) -> None:
    """Leave out what the exporter notes of inner values, in symbols of its own."""
    for scope in scopes(graph):
        for node in scope.nodes:
            for tensor in node.outputs:
                if isinstance(tensor, gs.Variable):
                    tensor.shape = None


def _take_names(graph: gs.Graph, had: list[gs.Tensor]) -> None:
    """Give inputs and outputs the names, types and metadata of those that were; others give way."""
    ports = [*graph.inputs, *graph.outputs]
    own = {id(tensor) for tensor in ports}
    wanted = {tensor.name for tensor in had}
    for tensor in graph.tensors().values():
        if tensor.name in wanted and id(tensor) not in own:
            tensor.name = f"{tensor.name}_inner"
    for now, was in zip(ports, had, strict=True):
        now.name, now.dtype = was.name, was.dtype
        now.shape = None if was.shape is None else list(was.shape)
        set_tensor_metadata(now, tensor_metadata(was))
