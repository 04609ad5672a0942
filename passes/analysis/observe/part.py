"""A part of a graph, ready to run from tensors that are known."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ....ir.core.build import make_variable
from ....ir.graph.clone import clone
from ....ir.graph.uses import scopes
from ....ir.run.reference import Reference
from .capture import Arrays


def run_part(
    graph: gs.Graph,
    nodes: Sequence[gs.Node],
    known: Arrays,
    wanted: Sequence[str],
    *,
    optimized: bool,
) -> Reference:
    """Return `nodes` of `graph`, ready to run from the graph's inputs and the arrays `known`.

    It gives the tensors called `wanted`, which the nodes make.
    """
    copy = clone(graph, nodes)
    tensors = {t.name: t for s in scopes(copy) for n in s.nodes for t in (*n.inputs, *n.outputs)}
    for name, array in known.items():
        given = tensors.get(name)
        if given is None:  # what only later parts read
            given = make_variable(name)
        given.dtype, given.shape = array.dtype, None
        copy.inputs.append(given)
    copy.outputs = [tensors[name] for name in wanted]
    return Reference(copy, optimized=optimized)
