"""A graph made ready to be lowered: standard operators only, simplified, with types."""

from __future__ import annotations

import warnings

import onnx.inliner
import onnx_graphsurgeon as gs

from ...ir.files.load import load
from ...ir.files.save import to_model
from ...ir.graph.uses import Uses
from ...ir.graph.view import View
from ...ir.ops.shapes.infer import infer_types
from ...passes.pipeline.pipeline import Pipeline

# Fused operators would only be opened again, and their nodes have no names of their own.
_PIPELINE = "simplify,inline-fused-operators"


def prepare(graph: gs.Graph, *, optimize: bool = True, strict: bool = True) -> gs.Graph:
    """Return `graph` as standard operators only, simplified by planish's exact passes.

    What goes wrong in a pass is raised where `strict`, else rolled back, and a warning says it.
    """
    if optimize:
        result = Pipeline.parse(_PIPELINE).run(graph, verify="off", strict=strict)
        for failure in result.failures:
            warnings.warn(f"{failure}; {failure.report}", UserWarning, stacklevel=2)
        graph = result.graph
    if graph.functions:
        graph = load(onnx.inliner.inline_local_functions(to_model(graph)))
    return graph


def typed_view(graph: gs.Graph) -> View:
    """Return a view of `graph` with its inferred types."""
    return View(graph, Uses(graph), infer_types(graph).of)
