"""What the IR version of a file allows, and which one a graph needs."""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs

from ..core.variables import FUSED_DOMAIN

# Operator sets are imported from this IR version on.
_FIRST_IR_WITH_OPSETS = 3

# Below this version every initializer is listed as an input, and none can be overridden.
FIRST_IR_WITH_DEFAULTS = 4

# Local functions and float8 came with this IR version (ONNX 1.10).
_FIRST_IR_WITH_FUNCTIONS = 8


def opset_imports(graph: gs.Graph) -> list[onnx.OperatorSetIdProto]:
    """Return the opset imports of `graph`, with the domain of its fused operators where used."""
    imports = list(graph.import_domains or [onnx.helper.make_opsetid("", graph.opset)])
    known = {entry.domain for entry in imports}
    for function in graph.functions:
        if function.domain not in known:
            imports.append(onnx.helper.make_opsetid(function.domain, 1))
            known.add(function.domain)
    return imports


def ir_version(graph: gs.Graph) -> int:
    """Return the IR version to declare: the model's own, raised where the graph needs that."""
    own = graph.ir_version or onnx.helper.find_min_ir_version_for(opset_imports(graph), True)
    return max(int(own), _least(graph))


def _least(graph: gs.Graph) -> int:
    if any(function.domain == FUSED_DOMAIN for function in graph.functions):
        return _FIRST_IR_WITH_FUNCTIONS
    if any(isinstance(tensor, gs.Constant) for tensor in graph.inputs):
        return FIRST_IR_WITH_DEFAULTS
    return _FIRST_IR_WITH_OPSETS
