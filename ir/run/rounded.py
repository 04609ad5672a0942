"""Graphs on bfloat16 as float32 that is rounded likewise, for a runtime that casts to it alone.

    y = f(x, w)        in bfloat16        ->        y = round(f(widen(x), widen(w)))

Products of bfloat16 are exact in float32, where runtimes sum them.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.variables import is_standard
from ..graph.clone import clone
from ..graph.edit import Edit
from ..graph.types import TensorType
from ..graph.uses import Uses
from ..graph.view import View
from ..ops.shapes.infer import infer_types

_NARROW: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
_WIDE: np.dtype[Any] = np.dtype(np.float32)


def rounded_between(graph: gs.Graph) -> gs.Graph | None:
    """Return a copy of `graph` whose nodes compute in float32 and round what they give.

    None where no node of its main scope computes with bfloat16.
    """
    copy = clone(graph)
    view = View(copy, Uses(copy), infer_types(copy).of)
    nodes = [node for node in copy.nodes if _computes(node, view)]
    if not nodes:
        return None
    with Edit(copy) as edit:
        rounding = _Rounding(edit, view)
        for node in nodes:
            rounding.convert(node)
    return copy


def _computes(node: gs.Node, view: View) -> bool:
    ends = [*node.inputs, *node.outputs]
    # What a constant or a Cast holds may well be bfloat16.
    own = is_standard(node) and bool(node.inputs) and node.op != "Cast"
    return own and any(_is_narrow(tensor, view) for tensor in ends)


def _is_narrow(tensor: gs.Tensor, view: View) -> bool:
    return not tensor.is_empty() and view.dtype(tensor) == _NARROW


class _Rounding:
    """The edits; every tensor that is read has one float32 form."""

    def __init__(self, edit: Edit, view: View) -> None:
        self._edit = edit
        self._view = view
        # By the id of the narrow tensor, which each entry holds so that the id stays taken.
        self._wide: dict[int, tuple[gs.Tensor, gs.Tensor]] = {}

    def convert(self, node: gs.Node) -> None:
        """Make `node` compute in float32."""
        edit, outputs = self._edit, list(node.outputs)
        inputs = [self._widened(tensor, node) for tensor in node.inputs]
        edit.remove(node)
        rounded = [(p, t) for p, t in enumerate(outputs) if _is_narrow(t, self._view)]
        for place, tensor in rounded:
            outputs[place] = edit.variable(f"{tensor.name}_float32", TensorType(_WIDE, None))
        edit.node(node.op, inputs, outputs, dict(node.attrs), at=node)
        for place, tensor in rounded:
            self._cast(outputs[place], tensor, _NARROW, node)

    def _widened(self, tensor: gs.Tensor, at: gs.Node) -> gs.Tensor:
        if not _is_narrow(tensor, self._view):
            return tensor
        if id(tensor) not in self._wide:
            values, name = self._view.constant(tensor), f"{tensor.name}_float32"
            found: gs.Tensor
            if values is not None:
                found = self._edit.constant(values.astype(np.float32), name)
            else:
                found = self._edit.variable(name, TensorType(_WIDE, None))
                self._cast(tensor, found, _WIDE, at)
            self._wide[id(tensor)] = tensor, found
        return self._wide[id(tensor)][1]

    def _cast(self, x: gs.Tensor, y: gs.Tensor, dtype: np.dtype[Any], at: gs.Node) -> None:
        self._edit.node("Cast", [x], [y], {"to": dtypes.elem_type(dtype)}, at=at)
