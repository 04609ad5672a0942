"""Cut a part out of a network.

f = h . g,   z = g(x), y = h(z)   ->   h alone, from z to y      (or g alone, from x to z)

Tensors between become inputs and outputs of the graph, under the names that they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.errors import RefusedError
from ...ir.core.nearest import nearest
from ...ir.graph.backward_slice import backward_slice, names_read
from ...ir.graph.edit import Edit
from ...ir.graph.types import TensorType, Types
from ...ir.ops.shapes.infer import declared_type
from ..engine.context import Context
from ..engine.contract import Pass


@dataclass(frozen=True)
class Extract(Pass):
    """Keep the part of the graph that makes the outputs from the inputs.

    - `inputs`: the tensors that are given from outside; by default the inputs that are needed.
    - `outputs`: the tensors that are asked for; by default the outputs of the graph.
    """

    name: ClassVar[str] = "extract"
    keeps_interface: ClassVar[bool] = False

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that something is named, each once."""
        if not (self.inputs or self.outputs):
            raise RefusedError("extract takes inputs, outputs or both; name tensors")
        for names in (self.inputs, self.outputs):
            if len(set(names)) < len(names):
                raise RefusedError(f"[{', '.join(names)}] names a tensor twice")

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Cut the part out."""
        held = {t.name: t for t in graph.inputs}
        held |= {t.name: t for node in graph.nodes for t in node.outputs if t.name}
        inputs = [_named(name, "inputs", held) for name in self.inputs]
        outputs = [_named(name, "outputs", held) for name in self.outputs] or list(graph.outputs)
        names = {tensor.name for tensor in outputs}
        kept = backward_slice(graph, names, {tensor.name for tensor in inputs})
        read = names.union(*map(names_read, kept))
        rest = [t for t in graph.inputs if t.name in read and t.name not in self.inputs]
        _check(inputs, rest, read)
        inputs = [*inputs, *rest] if self.inputs else rest
        if _same(inputs, graph.inputs) and _same(outputs, graph.outputs):
            return
        given = {id(tensor) for tensor in graph.inputs}
        cut = [t for t in (*inputs, *outputs) if id(t) not in given]
        declared = [(t, _type_of(t, context.infer())) for t in cut if isinstance(t, gs.Variable)]
        with context.editing() as edit:
            if not edit.begin():
                return
            staying = {id(node) for node in kept}
            for node in list(graph.nodes):
                if id(node) not in staying:
                    edit.remove(node)
            for tensor in inputs:
                _make_input(tensor, edit)
            for tensor, found in declared:
                edit.declare(tensor, found.dtype, found.shape)
            edit.set_interface(inputs, outputs)


def _named(name: str, option: str, held: dict[str, gs.Tensor]) -> gs.Tensor:
    if name not in held:
        raise RefusedError(
            f"{option} names '{name}', which no input and no node of the graph gives"
            f"{nearest(name, held)}"
        )
    return held[name]


def _type_of(tensor: gs.Tensor, types: Types) -> TensorType:
    found = types.of(tensor)
    if found is None:
        raise RefusedError(f"the type of '{tensor.name}' is not known; cut elsewhere")
    return declared_type(found)


def _check(inputs: Sequence[gs.Tensor], rest: Sequence[gs.Tensor], read: set[str]) -> None:
    """Refuse an input that makes no difference, and one that is needed beside those named."""
    for tensor in inputs:
        if tensor.name not in read:
            raise RefusedError(f"no output that is asked for depends on '{tensor.name}'")
    needed = [tensor.name for tensor in rest if isinstance(tensor, gs.Variable)]
    if inputs and needed:
        raise RefusedError(
            f"the outputs depend on '{needed[0]}' beside the inputs that are named; name it too"
        )


def _make_input(tensor: gs.Tensor, edit: Edit) -> None:
    """Leave `tensor` without a producer: one that makes other results too makes a fresh tensor."""
    producer = edit.uses.producer(tensor)
    if producer is not None and edit.uses.scope(producer) is not None:
        unread = edit.variable(f"{tensor.name}_unread")
        edit.rename_output(producer, tensor, unread)
        edit.replace(unread, tensor)


def _same(tensors: Sequence[gs.Tensor], others: Sequence[gs.Tensor]) -> bool:
    return [t.name for t in tensors] == [t.name for t in others]
