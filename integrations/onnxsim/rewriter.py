"""Rewriters of onnxsim: functions of a ModelProto, which `simplify` runs to its fixed point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import onnx
import onnx_graphsurgeon as gs

from ...ir.files.load import load
from ...ir.files.save import to_model
from ...ir.graph.inline import inline_fused
from ...ir.proto.to_proto import to_proto
from ...passes.pipeline.pipeline import Pipeline
from ..foreign import GraphFunction, through_model
from ..hosted import hosted


def as_rewriter(
    pipeline: str | Pipeline, **options: Any
) -> Callable[[onnx.ModelProto], onnx.ModelProto | Literal[False]]:
    """Return `pipeline` as a `custom_rewriter` of onnxsim.

        onnxsim.simplify(model, custom_rewriter=as_rewriter("exact"))

    It returns False where it changes nothing, which ends onnxsim's search for a fixed point. Fused
    operators are written out as standard ones, which onnxsim reads. Options are those of
    `onnx_ir.as_pass`. Raises what `load` and `Pipeline.run` raise.
    """
    run = hosted(pipeline, **options)

    def rewrite(model: onnx.ModelProto) -> onnx.ModelProto | Literal[False]:
        graph = load(model)
        made = run.run(graph)
        if made is None or _same(graph, written_out := inline_fused(made)):
            return False
        return to_model(written_out)

    return rewrite


def _same(before: gs.Graph, after: gs.Graph) -> bool:
    """Say whether both compute by the same nodes, whatever is noted beside them."""
    return bool(to_proto(before, bare=True)[0] == to_proto(after, bare=True)[0])


def from_rewriter(rewriter: Callable[[onnx.ModelProto], Any]) -> GraphFunction:
    """Return a `custom_rewriter` of onnxsim as a function of a graph, to be registered as a pass.

        planish.register_pass(from_rewriter(fuse_my_operators), exact=True)

    It returns a ModelProto, changes the one it is given and returns None, or returns False where it
    did nothing. Any function of a ModelProto that does so will do.
    """
    name = getattr(rewriter, "__name__", type(rewriter).__name__)
    return through_model(name, rewriter.__doc__ or f"{name} of a ModelProto.", rewriter)
