"""Whom a student learns from: the graph before compression, or the model of a file."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import RefusedError
from ....ir.files.load import load
from ....ir.graph.clone import clone
from ...engine.context import Context
from ...fusion.inline_fused_operators import inline_fused_operators


def teacher_of(path: str | None, graph: gs.Graph, context: Context) -> gs.Graph:
    """Return the teacher at `path`, or the original of `context`, with plain operators.

    Raises RefusedError where it does not take and give what the student `graph` does.
    """
    if path is not None:
        found = load(path)
    elif context.original is not None:
        found = clone(context.original)
    else:
        raise RefusedError("there is no graph from before compression; name one with teacher=path")
    inline_fused_operators(found, context.on(found))
    for kind, mine, theirs in (
        ("inputs", graph.inputs, found.inputs),
        ("outputs", graph.outputs, found.outputs),
    ):
        ours = [_port(t) for t in mine if not isinstance(t, gs.Constant)]
        others = [_port(t) for t in theirs if not isinstance(t, gs.Constant)]
        if [p[:2] for p in ours] != [p[:2] for p in others]:
            raise RefusedError(
                f"the teacher's {kind} are {_show(others)}, the student's {_show(ours)}; a teacher "
                "must take and give what its student does"
            )
    return found


def _port(tensor: gs.Tensor) -> tuple[str, str]:
    return tensor.name, "?" if tensor.dtype is None else dtypes.type_name(tensor.dtype)


def _show(ports: list[tuple[str, str]]) -> str:
    return ", ".join(f"'{name}' ({kind})" for name, kind in ports) or "none"
