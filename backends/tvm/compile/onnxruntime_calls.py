"""Which nodes of a program ONNX Runtime runs, once constants are folded and dead code is gone."""

from __future__ import annotations

import base64
from typing import Any

import onnx

from ..runtime.onnx_node import INTO, NAME


def nodes_elsewhere(module: Any) -> tuple[str, ...]:
    """Return the nodes whose models `module` still calls ONNX Runtime with, in order of names."""
    import tvm_ffi
    from tvm import ir, relax

    found: set[str] = set()

    def visit(expr: Any) -> None:
        strings = [str(each.value) for each in expr.args if isinstance(each, ir.StringImm)]
        names = [
            str(each.global_symbol) for each in expr.args if isinstance(each, relax.ExternFunc)
        ]
        if NAME in names or INTO in strings:
            found.update(strings)

    for _, function in module.functions_items():
        if _names(function) & {NAME, INTO}:
            tvm_ffi.structural_walk(function, (ir.Call, visit))
    return tuple(sorted({_node_of(text) for text in found - {INTO}}))


def calls_outside(function: Any) -> bool:
    """Say whether `function` calls ONNX Runtime."""
    return bool(_names(function) & {NAME, INTO})


def _names(function: Any) -> set[str]:
    """Return the strings in `function` and the names that it calls; it may be of many calls."""
    import tvm_ffi
    from tvm import ir, relax

    found: set[str] = set()
    strings = (ir.StringImm, lambda expr: found.add(str(expr.value)))
    outside = (relax.ExternFunc, lambda expr: found.add(str(expr.global_symbol)))
    tvm_ffi.structural_walk(function, [strings, outside])
    return found


def _node_of(model: str) -> str:
    """Return the operator of a packed model's last node, and its name or that of its result."""
    *_, node = onnx.ModelProto.FromString(base64.b64decode(model)).graph.node
    return f"{node.op_type} '{node.name or node.output[0]}'"
