"""Whether two modules of torch.fx are one: the same calls of the same layers, the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.fx.node import map_arg


def same(one: torch.fx.GraphModule, other: torch.fx.GraphModule) -> bool:
    """Say whether both compute by the same calls in the same order, whatever these are named."""
    if structure(one) != structure(other):
        return False
    tensors = zip(_tensors(one), _tensors(other), strict=True)
    return all(torch.equal(a, b) for a, b in tensors)


def structure(module: torch.fx.GraphModule) -> list[tuple[str, str, str]]:
    """Return what `module` calls with what, in order, without names and values of weights."""
    return list(_calls(module))


def _calls(module: torch.fx.GraphModule) -> Iterator[tuple[str, str, str]]:
    places = {node: f"%{index}" for index, node in enumerate(module.graph.nodes)}
    for node in module.graph.nodes:
        arguments = map_arg((node.args, node.kwargs), places.__getitem__)
        called: Any = node.target
        if node.op == "call_module":
            called = repr(module.get_submodule(node.target))
        elif node.op in ("get_attr", "output"):
            called = [tuple(t.shape) for t in _held(module, node)]
        yield node.op, str(called), str(arguments)


def _tensors(module: torch.fx.GraphModule) -> Iterator[torch.Tensor]:
    for node in module.graph.nodes:
        yield from _held(module, node)


def _held(module: torch.fx.GraphModule, node: torch.fx.Node) -> list[torch.Tensor]:
    if node.op == "call_module":
        return list(module.get_submodule(node.target).state_dict().values())
    if node.op != "get_attr":
        return []
    owner, _, leaf = str(node.target).rpartition(".")
    found = getattr(module.get_submodule(owner), leaf)
    return [found] if isinstance(found, torch.Tensor) else []
