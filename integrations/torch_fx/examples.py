"""Example inputs of a module of torch.fx, and which of their sizes are open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx.graph import _PyTreeCodeGen
from torch.utils import _pytree as pytree

from ...ir.core.errors import ConversionError

_NOTES = ("val", "example_value")  # what torch.export and Dynamo write of a node's result
NOTHING = object()


@dataclass(frozen=True)
class Examples:
    """What a module may be called with, flat, and for each tensor of it its open sizes by axis."""

    inputs: tuple[Any, ...]
    open_sizes: tuple[dict[int, Any] | None, ...]


def placeholders(module: torch.fx.GraphModule) -> list[torch.fx.Node]:
    """Return the nodes that stand for what `module` is called with."""
    return [node for node in module.graph.nodes if node.op == "placeholder"]


def noted_value(node: torch.fx.Node) -> Any:
    """Return what PyTorch has noted of the result of `node`; `NOTHING` where it has not."""
    return next((node.meta[note] for note in _NOTES if note in node.meta), NOTHING)


def noted_examples(module: torch.fx.GraphModule) -> Examples:
    """Return tensors like those that PyTorch has noted for the inputs of `module`.

    Raises ConversionError naming the first input of which it has noted nothing.
    """
    inputs, opened = [], []
    for node in placeholders(module):
        value = noted_value(node)
        if value is NOTHING:
            raise ConversionError(
                f"input '{node.target}' of the module has no example: nothing is noted of it; give "
                "example_inputs"
            )
        is_tensor = isinstance(value, torch.Tensor)
        inputs.append(_like(value) if is_tensor else value)
        opened.append(_open_sizes(value.shape) if is_tensor else None)
    return Examples(tuple(inputs), tuple(opened))


def by_argument(
    module: torch.fx.GraphModule, flat: Sequence[Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return `flat`, one for each placeholder, as positional and keyword arguments of `module`."""
    codegen = module.graph._codegen
    if not isinstance(codegen, _PyTreeCodeGen):
        return tuple(flat), {}
    found = pytree.tree_unflatten(flat, codegen.pytree_info.in_spec)
    is_pair = len(found) == 2 and isinstance(found[0], tuple) and isinstance(found[1], dict)
    args, kwargs = found if is_pair else (found, {})
    return args, kwargs


def _like(value: torch.Tensor) -> torch.Tensor:
    sizes = [int(s.node.hint) if isinstance(s, torch.SymInt) else s for s in value.shape]
    if value.dtype.is_floating_point:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(sizes, generator=generator).to(value.dtype)
    return torch.zeros(sizes, dtype=value.dtype)


def _open_sizes(shape: Sequence[Any]) -> dict[int, Any] | None:
    found = {
        axis: torch.export.Dim.AUTO
        for axis, size in enumerate(shape)
        if isinstance(size, torch.SymInt)
    }
    return found or None
