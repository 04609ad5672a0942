"""Passes of torch.fx as functions of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs
import torch
from torch.fx.passes.infra.pass_base import PassResult

from ...ir.core.errors import PassError
from ...ir.core.kind import kind_of
from ...ir.torch.from_fx import from_fx
from ...ir.torch.to_fx import to_fx
from ..foreign import GraphFunction
from .back import traced_back
from .same import structure


def from_pass(given: Callable[[torch.fx.GraphModule], Any]) -> GraphFunction:
    """Return a pass of torch.fx as a function of a graph, which is registered as a pass.

        planish.register_pass(from_pass(FuseMyOperators()), exact=True)

    `given`: a `PassBase`, or any function of a GraphModule that returns a `PassResult`, another
    GraphModule, or None where it changes the one it is given. It is given the module of
    `planish.to_fx`, whose layers are those of `torch.nn`. Where it changes weights alone, nodes
    keep their names; else the module is traced, and the graph is one of PyTorch's exporter, with
    the inputs and outputs that it had. Raises PassError for what cannot be called.
    """
    if not callable(given):
        raise PassError(f"{kind_of(given)} is no pass of torch.fx; give a PassBase or a function")

    def changed(graph: gs.Graph) -> gs.Graph | None:
        module = to_fx(graph)
        before = structure(module)
        found = given(module)
        if isinstance(found, PassResult):
            if not found.modified:
                return None
            found = found.graph_module
        made = module if found is None else found
        if not isinstance(made, torch.fx.GraphModule):
            raise PassError(
                f"it returns {kind_of(made)}; return a PassResult, a GraphModule or None"
            )
        if structure(made) == before:
            return from_fx(made)
        return traced_back(made, graph)

    name = getattr(given, "__name__", type(given).__name__)
    return GraphFunction(name, given.__doc__ or f"{name} of torch.fx.", changed)
