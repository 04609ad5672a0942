"""Remove local functions that nothing calls and imports of domains that nothing is of.

a function is used  <=>  a node of the graph, or of a function that is used, is of its name
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.variables import STANDARD_DOMAINS
from ...ir.graph.parts import is_restored
from ...ir.graph.uses import scopes
from ..engine.context import Context
from ..engine.contract import Pass

Key = tuple[str, str]


@dataclass(frozen=True)
class EliminateUnusedFunctions(Pass):
    """Remove local functions that nothing calls, and opset imports that nothing needs.

    Imports of functions are looked at too. The standard domain stays imported, and so does the
    domain of every function that is left.
    """

    name: ClassVar[str] = "eliminate-unused-functions"

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Follow the calls from the graph, then count what is of each domain."""
        with context.editing() as edit:
            used = _called(graph)
            for function in list(graph.functions):
                if _key(function.domain, function.name) in used:
                    continue
                # One that came with what a portable file spells out is no edit when it goes.
                if is_restored(function) or edit.begin():
                    edit.remove_function(function)
            kept = list(graph.functions)
            inside = {id(f): {domain for domain, _ in _calls(f)} for f in kept}
            needed = {domain for domain, _ in _calls(graph)}
            needed.update(*inside.values(), (_key(f.domain, f.name)[0] for f in kept))
            for owner, domains in ((graph, needed), *((f, inside[id(f)]) for f in kept)):
                for entry in list(owner.import_domains or ()):
                    unused = entry.domain not in domains and entry.domain not in STANDARD_DOMAINS
                    if unused and edit.begin():
                        edit.remove_import(owner, entry.domain)


def _key(domain: str | None, name: str) -> Key:
    return ("" if domain in STANDARD_DOMAINS else str(domain), name)


def _calls(owner: gs.Graph | gs.Function) -> Iterator[Key]:
    return (_key(node.domain, node.op) for scope in scopes(owner) for node in scope.nodes)


def _called(graph: gs.Graph) -> set[Key]:
    """Return domain and name of whatever is called from the graph, directly or through others."""
    bodies: dict[Key, list[gs.Function]] = {}
    for function in graph.functions:
        bodies.setdefault(_key(function.domain, function.name), []).append(function)
    used = set(_calls(graph))
    pending = list(used)
    while pending:
        for function in bodies.get(pending.pop(), ()):
            new = set(_calls(function)) - used
            used |= new
            pending += new
    return used
