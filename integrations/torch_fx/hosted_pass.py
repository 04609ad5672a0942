"""A pipeline as a pass of torch.fx."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs
import torch
from torch.fx.passes.infra.pass_base import PassBase, PassResult

from ...ir.torch.to_fx import to_fx
from ...ir.torch.trace import trace
from ...passes.pipeline.pipeline import Pipeline
from ..hosted import Hosted, hosted
from .examples import by_argument, noted_examples
from .same import same
from .signature import with_signature_of


def as_pass(
    pipeline: str | Pipeline,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    **options: Any,
) -> HostedPass:
    """Return `pipeline` as a pass of torch.fx: a GraphModule in, a `PassResult` out.

        result = as_pass("exact", example_inputs=(x,))(torch.fx.symbolic_trace(module.eval()))

    The module is traced as inference, and what the passes make of it is a trainable module
    (`planish.to_fx`) that is called as the first one is; where they change nothing, it is the first
    one. `example_inputs` and `dynamic_shapes` as in `planish.trace`; by default they are what
    PyTorch has noted of the inputs, as torch.export does. Options are those of `onnx_ir.as_pass`.
    Raises TraceError and ConversionError where a module cannot go there or back, and what
    `Pipeline.run` raises.
    """
    return HostedPass(hosted(pipeline, **options), example_inputs, dynamic_shapes)


class HostedPass(PassBase):  # type: ignore[misc]  # untyped
    """A pipeline over modules of torch.fx; what `as_pass` returns."""

    def __init__(self, run: Hosted, example_inputs: Any, dynamic_shapes: Any) -> None:
        self._run = run
        self._example_inputs = example_inputs
        self._dynamic_shapes = dynamic_shapes

    def call(self, graph_module: torch.fx.GraphModule) -> PassResult:
        """Return the module that the pipeline makes of `graph_module`, which is left untouched."""
        made = self._run.run(self._traced(graph_module))
        if made is None:
            return PassResult(graph_module, False)
        found = with_signature_of(graph_module, to_fx(made))
        if same(graph_module, found):  # edits were of what tracing writes out again
            return PassResult(graph_module, False)
        return PassResult(found, True)

    def _traced(self, module: torch.fx.GraphModule) -> gs.Graph:
        if self._example_inputs is not None:
            return trace(module, self._example_inputs, self._dynamic_shapes)
        noted = noted_examples(module)
        args, kwargs = by_argument(module, noted.inputs)
        opened = by_argument(module, noted.open_sizes)
        dynamic = self._dynamic_shapes or (*opened[0], *opened[1].values())
        if not kwargs:
            return trace(module, args, dynamic)
        with torch.no_grad():
            program = torch.export.export(module, args, kwargs, dynamic_shapes=dynamic)
        return trace(program)

    def __repr__(self) -> str:
        return f"as_pass({str(self._run.pipeline)!r})"
