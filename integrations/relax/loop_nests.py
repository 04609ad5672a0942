"""Loop nests that stand for an operator: TVM's ONNX importer writes a Clip as two of them.

What a call is said to compute is made anew by TVM, and compared as it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Written in ONNX as operators of Relax are, under these names.
NAMES = ("topi.maximum", "topi.minimum")


def operator_name(call: Any, module: Any) -> str:
    """Return the name of what `call`, one of `module`, computes; "" where it has none."""
    name = str(getattr(call.op, "name", ""))
    if name != "relax.call_tir":
        return name
    from tvm import topi

    function = module[call.args[0]]
    known: dict[str, Callable[..., Any]] = dict(
        zip(NAMES, (topi.maximum, topi.minimum), strict=True)
    )
    for found, compute in known.items():
        if _computes(function, compute, call.args[1].fields):
            return found
    return name


def _computes(function: Any, compute: Callable[..., Any], args: Any) -> bool:
    import tvm_ffi
    from tvm import relax

    if len(args) != 2 or not all(isinstance(a.ty, relax.TensorType) for a in args):
        return False
    given = [relax.Var(f"x{i}", arg.ty) for i, arg in enumerate(args)]
    builder = relax.BlockBuilder()
    with builder.function("main", given):
        builder.emit_func_output(builder.emit(builder.call_te(compute, *given)))
    made = [f for _, f in builder.get().functions_items() if not isinstance(f, relax.Function)]
    return len(made) == 1 and bool(tvm_ffi.structural_equal(_bare(made[0]), _bare(function)))


def _bare(function: Any) -> Any:
    """Return `function` without what says nothing of what it computes."""
    return function.without_attr("global_symbol")
