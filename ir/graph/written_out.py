"""How many nodes a graph has once its calls of local functions are written out.

    size(body) = sum over its nodes: size(function) of a call, else 1

Functions that call one another twice each double it: whoever infers types or runs such a graph
writes it out.
"""

from __future__ import annotations

from collections import Counter

import onnx_graphsurgeon as gs

from ..core.errors import GraphError
from .uses import scopes

MOST_NODES = 1 << 24

_Key = tuple[str, str]


def require_few_nodes(graph: gs.Graph) -> None:
    """Raise GraphError where calls, written out, are more than `MOST_NODES` nodes.

    A function that calls itself counts as one node where it does: nobody can write it out.
    """
    if not graph.functions:
        return
    bodies = {_key(function): _counted(function) for function in graph.functions}
    sizes: dict[_Key, int] = {}
    for first in bodies:
        waiting, open_ones = [first], set[_Key]()
        while waiting:
            key = waiting[-1]
            missing = [k for k in bodies[key] if k in bodies and k not in sizes]
            missing = [k for k in missing if k not in open_ones and k != key]
            open_ones.add(key)
            if missing and key not in sizes:
                waiting += missing
                continue
            waiting.pop()
            sizes.setdefault(key, _size(bodies[key], sizes))
    total = _size(_counted(graph), sizes)
    if total > MOST_NODES:
        raise GraphError(
            f"the calls of local functions, written out, are {total} nodes, more than the "
            f"{MOST_NODES} that a graph may have; a model of that size is made to be unfolded"
        )


def _size(body: Counter[_Key], sizes: dict[_Key, int]) -> int:
    return sum(times * sizes.get(key, 1) for key, times in body.items())


def _counted(body: gs.Graph) -> Counter[_Key]:
    nodes = (node for scope in scopes(body) for node in scope.nodes)
    return Counter((node.domain or "", node.op) for node in nodes)


def _key(function: gs.Function) -> _Key:
    return function.domain or "", function.name
