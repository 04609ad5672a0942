"""Models without what no output needs."""

from __future__ import annotations

import onnx

from tests.strategies.random_graphs.builder import reads


def only_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return `model` with one output, and what it needs."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    kept = [_copy(output) for output in model.graph.output if output.name == name]
    del made.graph.output[:]
    made.graph.output.extend(kept)
    prune(made.graph)
    return made


def prune(graph: onnx.GraphProto) -> None:
    """Remove what no output needs."""
    needed = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(reads(node))
            kept.append(_copy(node))
    del graph.node[:]
    graph.node.extend(reversed(kept))
    for field in (graph.initializer, graph.input, graph.value_info):
        kept_values = [_copy(v) for v in field if v.name in needed]
        del field[:]
        field.extend(kept_values)


def _copy(message):
    made = type(message)()
    made.CopyFrom(message)
    return made
