"""Constants that are stored narrow and widened before they are used: as what they are used as.

f(x, Cast_32(w'))  ->  f(x, w)        so that kernels for constant weights see some
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.variables import dense_values, is_standard
from ....ir.graph.clone import clone
from ....ir.graph.edit import Edit

_WIDE: np.dtype[Any] = np.dtype(np.float32)


def fold_widened(graph: gs.Graph) -> gs.Graph:
    """Return `graph` with every constant of 16 bits that is cast to float32 as float32.

    `graph` itself is left as it is.
    """
    if not any(map(_widens, graph.nodes)):
        return graph
    graph = clone(graph)
    with Edit(graph) as edit:
        for node in filter(_widens, list(graph.nodes)):
            result = node.outputs[0]
            if id(result) in edit.uses.pinned:
                continue
            values = dense_values(node.inputs[0])
            assert values is not None
            edit.replace(result, edit.constant(values.astype(_WIDE), result.name))
            edit.remove(node)
    return graph


def _widens(node: gs.Node) -> bool:
    if node.op != "Cast" or not is_standard(node):
        return False
    if int(node.attrs.get("to", 0)) != dtypes.elem_type(_WIDE):
        return False
    values = dense_values(node.inputs[0])
    return values is not None and dtypes.is_float(values.dtype) and values.dtype.itemsize == 2
