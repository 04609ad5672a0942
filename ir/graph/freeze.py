"""Weights that are graph inputs with a default, as old exporters list all of them.

A caller may give such an input another value, so passes take it for data: nothing folds into it,
and a layer with it is no layer to quantize. Without its place among the inputs it is a constant.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_graphsurgeon as gs


def freeze_initializers(graph: gs.Graph, keep: Collection[str] = ()) -> tuple[str, ...]:
    """Make inputs that have a value constants, in place, but for those called as in `keep`.

    Returns their names. Other inputs stay what they are.
    """
    frozen = [t for t in graph.inputs if isinstance(t, gs.Constant) and t.name not in keep]
    gone = {id(tensor) for tensor in frozen}
    if gone:
        graph.inputs = [tensor for tensor in graph.inputs if id(tensor) not in gone]
    return tuple(tensor.name for tensor in frozen)
