"""Which tensors of a graph are the same expression (value numbering).

Two tensors with one key are equal to the last bit, whatever the inputs are: the same operators, of
one version, with the same attributes, on constants of the same content and on inputs with one key.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import onnx_graphsurgeon as gs

from ..core.constant_nodes import dense_value_of_constant_node
from ..core.variables import dense_values, is_standard, subgraphs_of
from ..graph.declared import declared, function_version
from ..ops.traits import traits_of
from ..ops.traits.groups import BIASED_LAYERS
from .digests import Digests

_BIAS = 2


class Expressions:
    """The keys of the tensors of `graph`, computed when they are asked for.

    Inputs have their names as keys. A key may become another, before one that depends on it was
    asked for: then all tensors that have it are known to be equal to those that have the other.
    """

    def __init__(self, graph: gs.Graph, digests: Digests, outer: Expressions | None = None) -> None:
        self.graph = graph
        self._digests = digests
        self._outer = outer  # of the graph around this one, whose inputs count by their places
        self._depth: int = outer._depth + 1 if outer else 0
        self._opset: int = outer._opset if outer else int(graph.opset)
        self._inputs = {id(tensor) for tensor in graph.inputs}
        self._keys = {
            id(t): f"input {(self._depth, at) if outer else t.name!r}"
            for at, t in enumerate(graph.inputs)
        }
        self._renamed: dict[str, str] = {}
        self.producer = {id(t): node for node in graph.nodes for t in node.outputs if t.name}

    def rename(self, key: str, other: str) -> None:
        """Have what has `key` have the key of what it is equal to."""
        self._renamed[key] = other

    def is_constant(self, tensor: gs.Tensor) -> bool:
        """Say whether `tensor` is a constant that no caller can override."""
        return isinstance(tensor, gs.Constant) and id(tensor) not in self._inputs

    def key(self, tensor: gs.Tensor) -> str:
        """Return the key of a tensor of the graph."""
        found = self._known(tensor)
        if found is not None:
            return found
        pending = [self.producer[id(tensor)]]
        while pending:
            node = pending[-1]
            missing = [self.producer[id(t)] for t in self._read(node) if self._known(t) is None]
            if missing:
                pending += missing
                continue
            pending.pop()
            self._enter(node)
        return self._current(self._keys[id(tensor)])

    def _current(self, key: str) -> str:
        while key in self._renamed:
            key = self._renamed[key]
        return key

    def _read(self, node: gs.Node) -> list[gs.Tensor]:
        """Return what `node` reads, and the graphs inside it read, of this scope."""
        found = list(node.inputs)
        for body in subgraphs_of(node):
            found += [t for t in captured(body) if id(t) in self._keys or id(t) in self.producer]
        return found

    def _known(self, tensor: gs.Tensor) -> str | None:
        if not tensor.name:
            return ""
        if id(tensor) not in self._keys and isinstance(tensor, gs.Constant):
            self._keys[id(tensor)] = f"constant {self._digests.constant(tensor)}"
        if id(tensor) in self._keys:
            return self._current(self._keys[id(tensor)])
        if id(tensor) not in self.producer:
            outside = self._outer._known(tensor) if self._outer else None
            return outside or f"outside {tensor.name!r}"
        return None

    def _enter(self, node: gs.Node) -> None:
        """Give the outputs of `node` their keys, unless they have some."""
        whole = ""
        for at, tensor in enumerate(node.outputs):
            if not tensor.name or id(tensor) in self._keys:
                continue
            if at == 0 and is_standard(node):
                same = self._same(node)
                if same is not None:
                    self._keys[id(tensor)] = same
                    continue
            whole = whole or _digest(self._node(node))
            self._keys[id(tensor)] = f"{whole} {at}"

    def _same(self, node: gs.Node) -> str | None:
        """Return the key that the node hands on: of what it copies, or of the constant it is."""
        if node.op == "Identity":
            return self._known(node.inputs[0])
        if node.op == "Constant":
            values = dense_value_of_constant_node(node)
            return None if values is None else f"constant {self._digests.of(values)}"
        return None

    def _node(self, node: gs.Node) -> tuple[Any, ...]:
        opset = self._opset
        traits = traits_of(node, opset)
        inputs = [self._known(tensor) for tensor in node.inputs]
        while inputs and (not inputs[-1] or _adds_zero(node, len(inputs) - 1)):
            inputs.pop()
        if traits.commutative and len(inputs) == 2:
            inputs.sort(key=str)
        version, defaults = _declared(node, opset)
        attributes = {name: self._attribute(value) for name, value in node.attrs.items()}
        stated = sorted((k, v) for k, v in attributes.items() if defaults.get(k) != v)
        # What draws numbers is only itself.
        own = [t.name for t in node.outputs] if traits.random or not traits.known else ""
        outputs = len(node.outputs) if traits.trains else 0
        return (
            node.op,
            "" if is_standard(node) else node.domain,
            version,
            inputs,
            stated,
            own,
            outputs,
        )

    def _attribute(self, value: Any) -> str:
        if not isinstance(value, gs.Graph):
            return self._digests.attribute(value)
        body = Expressions(value, self._digests, self)
        return _digest((len(value.inputs), [body.key(tensor) for tensor in value.outputs]))


def _adds_zero(node: gs.Node, place: int) -> bool:
    """Say whether an input is a bias of zeros: fused operators have one where layers have none."""
    if node.op not in BIASED_LAYERS or not is_standard(node) or place != _BIAS:
        return False
    values = dense_values(node.inputs[place])
    return values is not None and not values.any()


def captured(body: gs.Graph) -> list[gs.Tensor]:
    """Return the variables that a graph inside a node, and those inside it, read from outside."""
    made: set[int] = {id(t) for t in body.inputs}
    made.update(id(t) for node in body.nodes for t in node.outputs)
    found: dict[int, gs.Tensor] = {}
    read = [t for node in body.nodes for t in node.inputs] + list(body.outputs)
    read += [t for node in body.nodes for inner in subgraphs_of(node) for t in captured(inner)]
    for tensor in read:
        if tensor.name and id(tensor) not in made and not isinstance(tensor, gs.Constant):
            found[id(tensor)] = tensor
    return list(found.values())


def _declared(node: gs.Node, opset: int) -> tuple[int, Mapping[str, str]]:
    return _schema(str(node.op), opset) if is_standard(node) else (0, {})


@functools.lru_cache(maxsize=512)
def _schema(op: str, opset: int) -> tuple[int, Mapping[str, str]]:
    """Return since when an operator is as at `opset`, and the defaults of its attributes."""
    _, defaults = declared(op, opset)
    digests = Digests()
    return function_version(op, opset), {
        name: digests.attribute(value) for name, value in defaults.items()
    }


def _digest(value: Any) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=16).hexdigest()
