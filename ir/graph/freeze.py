"""Weights that are graph inputs with a default, as old exporters list all of them.

A caller may give such an input another value, so passes take it for data: nothing folds into it,
and a layer with it is no layer to quantize. Without its place among the inputs it is a constant.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_graphsurgeon as gs

from ..core.counted import counted
from ..proto.versions import FIRST_IR_WITH_DEFAULTS


def freeze_initializers(graph: gs.Graph, keep: Collection[str] = ()) -> tuple[str, ...]:
    """Make inputs that have a value constants, in place, but for those called as in `keep`.

    Returns their names. Other inputs stay what they are.
    """
    frozen = [t for t in graph.inputs if isinstance(t, gs.Constant) and t.name not in keep]
    gone = {id(tensor) for tensor in frozen}
    if gone:
        graph.inputs = [tensor for tensor in graph.inputs if id(tensor) not in gone]
    return tuple(tensor.name for tensor in frozen)


def list_initializers(graph: gs.Graph) -> bool:
    """Make weights inputs with a value, in place, where the file is too old to tell the two apart.

    Before IR version 4 all weights are listed as inputs, and are constants. As an input of version
    4 each may be kept, or frozen. Says whether there were any.
    """
    if graph.ir_version is None or graph.ir_version >= FIRST_IR_WITH_DEFAULTS:
        return False
    read = [tensor for node in graph.nodes for tensor in node.inputs]
    weights = {id(tensor): tensor for tensor in read if isinstance(tensor, gs.Constant)}
    for tensor in graph.inputs:
        weights.pop(id(tensor), None)
    if weights:
        graph.inputs = [*graph.inputs, *weights.values()]
        graph.ir_version = FIRST_IR_WITH_DEFAULTS
    return bool(weights)


def frozen_line(count: int, option: str, *, old: bool) -> str:
    """Say that `count` weights are constants now, which `option` prevents.

    `old`: they have been so in the file, whose version knows no inputs with a value.
    """
    weights = counted(count, "weight is also an input", "weights are also inputs")
    if old:
        return f"{weights} by name, and constants at the file's IR version; {option} frees them"
    return f"{weights}, now frozen; {option} keeps it so"
