"""The bodies of local functions in the place of their calls."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.build import make_variable
from ..core.variables import (
    FUSED_DOMAIN,
    dense_values,
    is_standard,
)
from ..proto.metadata import (
    Part,
    node_metadata,
    set_node_metadata,
    set_tensor_metadata,
    tensor_metadata,
)
from .bodies import BodyCopier, copy_constant, deliver
from .clone import clone
from .edit import Edit
from .functions import fused_functions
from .parts import mark, match_parts
from .uses import scopes

# Constants of bodies up to this size are one constant where their values are equal.
_SHARED_BYTES = 64


class CallInliner:
    """Inlines calls through `edit`; equal small constants of all bodies become one.

    With `keep_parts`, nodes get the names and documentation that they had before they became a
    call, and are marked as parts of their function.
    """

    def __init__(self, edit: Edit, *, keep_parts: bool = False) -> None:
        self._edit = edit
        self._keep_parts = keep_parts
        self._shared: dict[Hashable, gs.Constant] = {}
        self._owned: dict[int, gs.Constant] = {}
        for node in edit.graph.nodes:
            for tensor in node.inputs:
                self._offer(tensor)

    def _offer(self, tensor: gs.Tensor) -> None:
        values = dense_values(tensor)
        if values is None or values.nbytes > _SHARED_BYTES:
            return
        if id(tensor) not in self._edit.uses.interface_inputs:
            self._shared.setdefault(_content(values), tensor)

    def inline(self, call: gs.Node, function: gs.Function) -> list[gs.Node]:
        """Replace `call` by copies of the nodes of `function`; return them."""
        edit = self._edit
        edit.remove(call)
        parts = self._parts(call, function)
        copier = _Body(call, function, edit, self.constant, parts)
        made = []
        for inner, part in zip(function.nodes, parts, strict=True):
            held = _held(inner)
            if held is not None and copier.is_inner(inner.outputs[0]):
                copier.stand_in(
                    inner.outputs[0], self.constant(held, _named(call, inner.outputs[0].name))
                )
                continue
            inputs = [copier.tensor(t) for t in inner.inputs]
            while inputs and _may_leave_out(inputs, part):
                inputs.pop()
            outputs = [copier.tensor(t) for t in inner.outputs]
            attrs = copier.attributes(inner)
            node = edit.node(
                inner.op, inputs, outputs, attrs, at=call, domain=inner.domain, copy_of=inner
            )
            self._name(node, call, function, inner, part)
            made.append(node)
        copier.deliver()
        return made

    def _parts(self, call: gs.Node, function: gs.Function) -> list[Part | None]:
        metadata = node_metadata(call)
        if not self._keep_parts or metadata is None:
            return [None] * len(function.nodes)
        return match_parts(function.nodes, metadata.parts)

    def _name(
        self,
        node: gs.Node,
        call: gs.Node,
        function: gs.Function,
        inner: gs.Node,
        part: Part | None,
    ) -> None:
        last = inner is function.nodes[-1]
        own = call.name if last else _named(call, inner.name or inner.op)
        self._edit.rename(node, own if part is None else part.name)
        if not self._keep_parts:
            return
        if part is None:
            metadata = node_metadata(call)
            set_node_metadata(node, metadata.inherited() if metadata else None)
        mark(node, function.name, part)

    def constant(self, original: gs.Constant, name: str) -> gs.Constant:
        """Return the constant that stands for one of a body: small ones are shared by value."""
        values = dense_values(original)
        small = values is not None and values.nbytes <= _SHARED_BYTES
        table: dict[Any, gs.Constant] = self._shared if small else self._owned
        key = _content(values) if values is not None and small else id(original)
        if key not in table:
            table[key] = copy_constant(self._edit, original, name)
        return table[key]


class _Body(BodyCopier):
    """Copies what the body of one call declares, under names of the call."""

    def __init__(
        self,
        call: gs.Node,
        function: gs.Function,
        edit: Edit,
        constant: Callable[[gs.Constant, str], gs.Constant],
        parts: list[Part | None],
    ) -> None:
        super().__init__(function.nodes, edit)
        self._call = call
        self._function = function
        self._constant = constant
        absent = len(function.inputs) - len(call.inputs)
        given = [*call.inputs, *(make_variable("") for _ in range(absent))]
        self.copies.update(zip(map(id, function.inputs), given, strict=True))
        made = {id(t): node for node in function.nodes for t in node.outputs if _held(node) is None}
        self._undelivered: list[tuple[gs.Tensor, gs.Tensor]] = []
        for formal, actual in zip(function.outputs, call.outputs, strict=False):
            if id(formal) in made and id(formal) not in self.copies and actual.name:
                self.copies[id(formal)] = actual
            elif actual.name:
                self._undelivered.append((formal, actual))
        self._parts = {
            id(node.outputs[0]): part
            for node, part in zip(function.nodes, parts, strict=True)
            if part is not None
        }

    def is_inner(self, formal: gs.Tensor) -> bool:
        """Say whether nothing stands for a tensor of the body yet."""
        return id(formal) not in self.copies

    def stand_in(self, formal: gs.Tensor, actual: gs.Tensor) -> None:
        """Read `actual` wherever the body reads `formal`."""
        self.copies[id(formal)] = actual

    def tensor(self, original: gs.Tensor) -> gs.Tensor:
        if not original.name:
            return make_variable("")
        if id(original) not in self.copies:
            name = _named(self._call, original.name)
            constant = isinstance(original, gs.Constant)
            made = self._constant(original, name) if constant else self._inner(original, name)
            self.copies[id(original)] = made
        return self.copies[id(original)]

    def _inner(self, original: gs.Tensor, name: str) -> gs.Variable:
        part = self._parts.get(id(original))
        made = self.variable(original, part.result if part and part.result else name)
        set_tensor_metadata(made, part.tensor if part else tensor_metadata(original))
        return made

    def attributes(self, node: gs.Node) -> dict[str, Any]:
        """Return the attributes of a node of the body; one that the call leaves out is left out."""
        bound = {name: self._bound(value) for name, value in node.attrs.items()}
        return {name: self.attribute(v) for name, v in bound.items() if v is not None}

    def _bound(self, value: Any) -> Any:
        if not isinstance(value, gs.Node.AttributeRef):
            return value
        given = self._call.attrs.get(value.name)
        return self._function.attrs.get(value.name) if given is None else given

    def deliver(self) -> None:
        """Make an output that no node of the body gives, or gives twice, be found at the call."""
        for formal, actual in self._undelivered:
            deliver(self._edit, self.tensor(formal), actual, self._call)


def inline_fused(graph: gs.Graph) -> gs.Graph:
    """Return a copy of `graph` with every fused operator written out and the domain gone.

    Functions of other domains stay, written out inside. Constants of the bodies are constants of
    the graph, each once.
    """
    made = clone(graph)
    bodies = {function.name: function for function in fused_functions(made)}
    if not bodies:
        return made
    made.functions = [f for f in made.functions if f.domain != FUSED_DOMAIN]
    for owner in (made, *made.functions):
        _write_out(owner, bodies)
        used = {node.domain for scope in scopes(owner) for node in scope.nodes}
        owner.import_domains = [
            entry
            for entry in owner.import_domains or ()
            if entry.domain != FUSED_DOMAIN or FUSED_DOMAIN in used
        ]
    return made


def _write_out(owner: gs.Graph, bodies: dict[str, gs.Function]) -> None:
    while True:
        calls = [
            node
            for scope in scopes(owner)
            for node in scope.nodes
            if node.domain == FUSED_DOMAIN and node.op in bodies
        ]
        if not calls:
            return
        with Edit(owner) as edit:
            inliner = CallInliner(edit, keep_parts=True)
            for call in calls:
                inliner.inline(call, bodies[call.op])


def _may_leave_out(inputs: list[gs.Tensor], part: Part | None) -> bool:
    """Say whether the last input is absent, or a bias of zeros that the model did not have.

    ONNX Runtime lays a convolution out in blocks only without an absent input at the end.
    """
    values = dense_values(inputs[-1])
    added = part is not None and len(inputs) > part.arity
    return not inputs[-1].name or (added and values is not None and not values.any())


def _held(node: gs.Node) -> gs.Constant | None:
    """Return the tensor of a Constant node, which is how a file spells a constant of a body."""
    held = node.attrs.get("value") if node.op == "Constant" and is_standard(node) else None
    return held if isinstance(held, gs.Constant) else None


def _named(call: gs.Node, name: str) -> str:
    return f"{call.name or call.op}/{name}"


def _content(values: np.ndarray[Any, Any]) -> Hashable:
    data = tuple(values.flat) if values.dtype.kind == "O" else values.tobytes()
    return (values.dtype.str, values.dtype.name, values.shape, data)
