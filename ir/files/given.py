"""What people hand over where a graph is asked for: a graph, or what one is read from."""

from __future__ import annotations

import os
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from ..core.errors import GraphError
from ..core.kind import kind_of
from .load import load

Model = gs.Graph | str | os.PathLike[str] | bytes | onnx.ModelProto

_FROM_GRAPH = "planish"  # in the metadata of a module that `to_fx` made


def as_graph(given: Any) -> gs.Graph:
    """Return `given` where it is a graph, else the one that it names, holds or came out with.

    A path, bytes or a ModelProto is loaded; of a `Result` it is the graph. Raises LoadError as
    `load` does, and GraphError for anything else, with what makes a graph of it.
    """
    if isinstance(given, gs.Graph):
        return given
    if isinstance(given, str | os.PathLike | bytes | onnx.ModelProto):
        return load(given)
    held = getattr(given, "graph", None)
    if isinstance(held, gs.Graph):
        return held
    kind = kind_of(given)
    metadata = getattr(given, "meta", None)
    if isinstance(metadata, dict) and _FROM_GRAPH in metadata:
        raise GraphError(f"{kind} of planish.to_fx is given; write planish.from_fx(module)")
    if _is_module(given):
        raise GraphError(
            f"a PyTorch module ({type(given).__name__}) is given; write "
            "planish.trace(module, example_inputs)"
        )
    raise GraphError(
        f"{kind} is given where a graph is needed; give what planish.load or planish.trace "
        "returns, or the path of an ONNX file"
    )


def _is_module(given: object) -> bool:
    """Say whether it is an nn.Module, without importing PyTorch."""
    names = [f"{each.__module__}.{each.__name__}" for each in type(given).__mro__]
    return "torch.nn.modules.module.Module" in names
