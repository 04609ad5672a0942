"""Narrow constants whose values are widened again before they are used.

f(x, w)  ->  f(x, Cast_32(w'))
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.counted import counted
from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard, node_key
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.uses import scopes
from ....ir.graph.view import View
from ....ir.ops.opsets import opset_taking
from ....ir.ops.quantization.nodes import quantizes_or_back
from ...engine.context import Context
from ...opset.convert_opset import ensure_opset
from .groups import CAST
from .narrow import check_range, lost, narrow_values
from .plan import NarrowingLimits
from .stored import stored_values


def narrow_weights(graph: gs.Graph, context: Context, limits: NarrowingLimits) -> None:
    """Store the constants of `graph` and its bodies narrow, each with one Cast to float32."""
    needed = opset_taking("Cast", limits.dtype)
    assert needed is not None, "a type that nothing is cast from"
    if not any(True for scope in scopes(graph) for _ in _constants(context.view(scope))):
        return
    if not ensure_opset(graph, context, needed):
        if not context.exhausted:
            context.remark(
                f"nothing was narrowed: {limits.kind} came with opset {needed}, and the model "
                f"cannot leave opset {graph.opset}",
                idle=True,
            )
        return
    gone = count = size = 0
    with context.editing() as edit:
        for scope in scopes(graph):
            view = context.view(scope)
            for tensor, readers in list(_constants(view)):
                values = stored_values(tensor, view)
                assert values is not None
                narrowed = narrow_values(values, limits.dtype)
                try:
                    for node in readers:
                        need(node_key(node) not in limits.exclude, "it is excluded")
                        for position, read in enumerate(node.inputs):
                            if read is tensor:
                                check_range(node, position, values, narrowed)
                except DeclinedError as reason:
                    context.decline(node, str(reason))
                    continue
                if not edit.begin():
                    break
                _widen(edit, tensor, narrowed, readers)
                gone, count, size = gone + lost(values, narrowed), count + 1, size + narrowed.nbytes
    if count:
        context.remark(
            f"{counted(count, 'constant')} of {2 * size / 1e6:.1f} MB "
            f"{'takes' if count == 1 else 'take'} {size / 1e6:.1f} MB as "
            f"{limits.kind}; a runtime widens them when it loads the model, and computes in float32"
        )
        remark_lost(gone, limits.kind, context)


def remark_lost(count: int, kind: str, context: Context) -> None:
    """Say how many values of constants became 0, if any did."""
    if count:
        values = counted(count, "value of a constant is", "values of constants are")
        context.remark(f"{values} too small for {kind} and became 0")


def _constants(view: View) -> Iterator[tuple[gs.Tensor, list[gs.Node]]]:
    """Yield what is worth it of one scope, with the nodes of it that read it."""
    found: dict[int, tuple[gs.Tensor, list[gs.Node]]] = {}
    for node in view.scope.nodes:
        for tensor in {id(t): t for t in node.inputs}.values():
            if stored_values(tensor, view) is not None:
                found.setdefault(id(tensor), (tensor, []))[1].append(node)
    for tensor, readers in found.values():
        values = stored_values(tensor, view)
        if values is None or values.dtype != np.float32 or values.nbytes <= 2 * CAST:
            continue
        # Runtimes look for constants beside quantizers when they build integer kernels.
        if any(quantizes_or_back(n) or not is_standard(n) for n in readers):
            continue
        if len(readers) == view.fan_out(tensor) and not view.is_output(tensor):
            yield tensor, readers


def _widen(edit: Edit, tensor: gs.Tensor, narrowed: np.ndarray, readers: list[gs.Node]) -> None:
    stored = edit.constant(narrowed, f"{tensor.name}_{narrowed.dtype.name}")
    float32 = np.dtype(np.float32)
    wide = edit.variable(f"{tensor.name}_float32", TensorType(float32, narrowed.shape))
    edit.replace(tensor, wide, readers)
    edit.node("Cast", [stored], [wide], {"to": dtypes.elem_type(float32)}, at=readers[0])
    made_by = edit.uses.producer(tensor)
    if made_by is not None:
        edit.remove(made_by)
    edit.take_name(stored, tensor)
