"""Passes of onnxoptimizer as functions of a graph."""

from __future__ import annotations

import onnx
import onnxoptimizer

from ...ir.core.errors import PassError
from ...ir.core.nearest import nearest
from ..foreign import GraphFunction, through_model
from .restore import restore


def from_pass(name: str, *, fixed_point: bool = False) -> GraphFunction:
    """Return the pass of onnxoptimizer called `name` as a function of a graph.

        planish.register_pass(from_pass("eliminate_nop_pad"), exact=True)

    `fixed_point` repeats it until nothing changes. Metadata and documentation, which onnxoptimizer
    drops, are put back; local functions stay as they are. Raises PassError for a name that it does
    not have.
    """
    known = onnxoptimizer.get_available_passes()
    if name not in known:
        raise PassError(f"onnxoptimizer has no pass '{name}'{nearest(name, known)}")

    def changed(model: onnx.ModelProto) -> onnx.ModelProto:
        made: onnx.ModelProto = onnxoptimizer.optimize(model, [name], fixed_point)
        return made

    return through_model(name, f"Run {name} of onnxoptimizer.", changed, restore)
