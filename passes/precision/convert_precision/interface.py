"""Graph inputs and outputs of the narrow type, the Casts behind and before them gone.

x_32 -> Cast_16 -> f   becomes   x_16 -> f          f -> Cast_32 -> y_32   becomes   f -> y_16

What is still float32 inside gets the Cast that callers made before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.graph.edit import Edit
from ....ir.graph.view import View

_FLOAT32: np.dtype[Any] = np.dtype(np.float32)


def narrow_interface(graph: gs.Graph, view: View, edit: Edit, dtype: np.dtype[Any]) -> None:
    """Make the float32 inputs and outputs of `graph` of type `dtype`, names and order kept.

    Inputs with defaults, and outputs that no node makes, stay.
    """
    for tensor in graph.outputs:
        producer = view.producer(tensor)
        if view.dtype(tensor) == _FLOAT32 and producer is not None and edit.begin():
            _narrow_output(tensor, producer, view, edit, dtype)
    shown = {id(tensor) for tensor in graph.outputs}
    for tensor in graph.inputs:
        plain = not isinstance(tensor, gs.Constant) and id(tensor) not in shown
        if plain and view.dtype(tensor) == _FLOAT32 and edit.begin():
            _narrow_input(tensor, view, edit, dtype)


def _narrow_output(
    tensor: gs.Tensor, producer: gs.Node, view: View, edit: Edit, dtype: np.dtype[Any]
) -> None:
    narrow = producer.inputs[0] if producer.op == "Cast" else None
    maker = None if narrow is None else view.producer(narrow)
    if narrow is not None and maker is not None and _takes_over(narrow, tensor, view, dtype):
        edit.remove(producer)
        edit.rename_output(maker, narrow, tensor)
    else:
        wide = edit.variable(f"{tensor.name}_float32", view.type(tensor))
        edit.rename_output(producer, tensor, wide)
        edit.node("Cast", [wide], [tensor], {"to": dtypes.elem_type(dtype)}, at=producer)
    tensor.dtype = dtype


def _takes_over(narrow: gs.Tensor, tensor: gs.Tensor, view: View, dtype: np.dtype[Any]) -> bool:
    """Say whether `tensor` may take the place of `narrow`, which it widens for no one else."""
    widened = view.fan_out(tensor)
    return view.dtype(narrow) == dtype and not view.is_output(narrow) and not widened


def _narrow_input(tensor: gs.Variable, view: View, edit: Edit, dtype: np.dtype[Any]) -> None:
    wide = edit.variable(f"{tensor.name}_float32", view.type(tensor))
    to = dtypes.elem_type(dtype)
    casts = [n for n in view.readers(tensor) if n.op == "Cast" and n.attrs.get("to") == to]
    edit.replace(tensor, wide)
    for cast in casts:
        made = cast.outputs[0]
        if view.is_output(made):
            edit.set_input(cast, 0, tensor)
            continue
        edit.remove(cast)
        edit.replace(made, tensor)
    if edit.uses.fan_out(wide):
        at = edit.graph.nodes[0]
        edit.node("Cast", [tensor], [wide], {"to": dtypes.elem_type(_FLOAT32)}, at=at)
    tensor.dtype = dtype
