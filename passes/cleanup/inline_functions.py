"""Replace calls of the model's own local functions by their bodies.

F(x; a) = body(x; a)      for a local function F with attributes a (ONNX IR, "Functions")

Exporters write a module or an operator of another framework as a function, and no rewrite sees
through its call. Fused operators stay; `inline-fused-operators` opens those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.decline import DeclinedError, need
from ...ir.core.variables import STANDARD_DOMAINS, is_standard, subgraphs_of
from ...ir.graph.edit import Edit
from ...ir.graph.inline import CallInliner
from ...ir.graph.uses import scopes
from ...ir.ops.fused.own import is_own
from ...ir.ops.opsets import version_of
from ...ir.proto.metadata import node_metadata
from ..engine.context import Context
from ..engine.contract import Pass

_Key = tuple[str, str, str]
# Runtimes have kernels for operators of these, which a function of the same name only explains.
_OF_RUNTIMES = ("com.microsoft", "com.ms.", "ai.onnx")


@dataclass(frozen=True)
class InlineFunctions(Pass):
    """Replace calls of local functions by their bodies, those of functions inside them too.

    Left alone: recursive functions, those for another version of an operator than the model's, and
    those that explain an operator of ONNX Runtime. Constants of a body are shared by its copies;
    the functions go with `eliminate-unused-functions`.

    - `limit`: nodes that one call may become.
    """

    name: ClassVar[str] = "inline-functions"
    limit: int = 1 << 14

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Inline what is called, then what the copies call, until nothing is left."""
        functions = {_key_of(function): function for function in graph.functions}
        if not functions:
            return
        judge = _Judge(functions, graph, self.limit)
        while True:
            with context.editing() as edit:
                inliner = CallInliner(edit)
                for call in list(_calls(graph)):
                    self._inline(call, judge, inliner, edit, context)
            if not edit.count:
                return

    def _inline(
        self, call: gs.Node, judge: _Judge, inliner: CallInliner, edit: Edit, context: Context
    ) -> None:
        function = judge.functions.get(_called(call))
        if function is None or is_own(function):
            return
        try:
            judge.need_inlinable(call, function)
        except DeclinedError as reason:
            context.decline(call, str(reason))
            return
        if edit.begin():
            judge.import_domains(function, edit)
            inliner.inline(call, function)
            context.accept(call)


class _Judge:
    """What is known of the functions of one model: what they call, and how large they become."""

    def __init__(self, functions: Mapping[_Key, gs.Function], graph: gs.Graph, limit: int) -> None:
        self.functions = functions
        self._graph = graph
        self._limit = limit
        self._sizes: dict[_Key, int | None] = {}

    def need_inlinable(self, call: gs.Node, function: gs.Function) -> None:
        """Decline where `call` cannot be replaced by the body of `function`."""
        domain = str(function.domain or "")
        known = domain in STANDARD_DOMAINS or domain.startswith(_OF_RUNTIMES)
        need(not known, f"runtimes have operators of the domain '{domain}' themselves")
        need(not subgraphs_of(call), "it is given a graph as an attribute")
        need(len(call.inputs) <= len(function.inputs), "it has more inputs than its function")
        size = need(self._size(_key_of(function)), "its function calls itself")
        need(size <= self._limit, f"it would become {size} nodes, over limit={self._limit}")
        for node in _nodes(function):
            if is_standard(node):
                opsets = (int(function.opset), int(self._graph.opset))
                same = len({version_of(str(node.op), opset) for opset in opsets}) == 1
                need(same, f"{node.op} in it is of another version than the model's")
        imported = {e.domain: e.version for e in self._graph.import_domains or ()}
        for entry in function.import_domains or ():
            other = imported.get(entry.domain, entry.version) != entry.version
            need(
                not other or entry.domain in STANDARD_DOMAINS,
                f"it imports another version of the domain '{entry.domain}' than the model",
            )

    def import_domains(self, function: gs.Function, edit: Edit) -> None:
        """Import what the body needs and the model does not import."""
        for entry in function.import_domains or ():
            if entry.domain not in STANDARD_DOMAINS:
                edit.add_import(entry)

    def _size(self, key: _Key) -> int | None:
        """Return how many nodes a call becomes, all calls in it inlined; None for recursion."""
        if key in self._sizes:
            return self._sizes[key]
        self._sizes[key] = None  # stays for one that is reached again from itself
        total: int | None = 0
        for node in _nodes(self.functions[key]):
            inner = _called(node)
            called = inner in self.functions and not is_own(self.functions[inner])
            size = self._size(inner) if called else 1
            total = None if total is None or size is None else total + size
        self._sizes[key] = total
        return total


def _key_of(function: gs.Function) -> _Key:
    metadata = node_metadata(function)
    return (str(function.domain or ""), str(function.name), metadata.overload if metadata else "")


def _called(node: gs.Node) -> _Key:
    metadata = node_metadata(node)
    return (str(node.domain or ""), str(node.op), metadata.overload if metadata else "")


def _calls(graph: gs.Graph) -> Iterator[gs.Node]:
    return (node for node in _nodes(graph) if not is_standard(node))


def _nodes(owner: gs.Graph) -> Iterator[gs.Node]:
    return (node for scope in scopes(owner) for node in scope.nodes)
