"""Local functions of the model: no pass sees the layers in them through their calls."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_graphsurgeon as gs

from ....ir.core.counted import counted
from ....ir.core.variables import is_standard
from ....ir.graph.uses import scopes
from ....ir.ops.fused.own import is_own
from ....ir.ops.traits.groups import INTEGER_LAYERS, LAYERS


def hidden_layers(graph: gs.Graph) -> str:
    """Name the functions called in `graph` that have layers in them, and what opens them; or "".

    What they call counts too.
    """
    functions = {_key(f.domain, f.name): f for f in graph.functions if not is_own(f)}
    called = dict.fromkeys(key for key in _calls(graph) if key in functions)
    names = [name for domain, name in called if _has_layers((domain, name), functions, set())]
    if not names:
        return ""
    which = ", ".join(f"'{name}'" for name in names)
    return (
        f"the layers in {counted(len(names), 'local function')} of the model, {which}, are not "
        "seen through their calls; run exact or inline-functions before"
    )


def _has_layers(
    key: tuple[str, str], functions: dict[tuple[str, str], gs.Function], seen: set[tuple[str, str]]
) -> bool:
    if key in seen:
        return False
    seen.add(key)
    function = functions[key]
    nodes = (node for scope in scopes(function) for node in scope.nodes)
    if any(is_standard(node) and node.op in LAYERS | INTEGER_LAYERS for node in nodes):
        return True
    return any(_has_layers(each, functions, seen) for each in _calls(function) if each in functions)


def _calls(owner: gs.Graph | gs.Function) -> Iterator[tuple[str, str]]:
    nodes = (node for scope in scopes(owner) for node in scope.nodes)
    return (_key(node.domain, node.op) for node in nodes if not is_standard(node))


def _key(domain: str | None, name: str) -> tuple[str, str]:
    return str(domain or ""), str(name)
