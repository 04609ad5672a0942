"""A graph of Dynamo's with its weights as constants and its sizes read off its tensors.

Dynamo hands weights and buffers over as inputs, and each open size as one more; with
`dynamic=True` also Python's floats, as tensors of which `item` is taken. The traced graph takes the
tensors alone that a user gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

_STATIC = "_dynamo_static_input_type"


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """`module` takes the inputs at `taken`; those at `weights` have become buffers of it.

    Those at `numbers` have become numbers.

    `dynamic_shapes` says for each that is taken which of its sizes may be open, as torch.export
    reads it; what the network needs to be one number is found there.
    """

    module: torch.fx.GraphModule
    taken: tuple[int, ...]
    weights: tuple[int, ...]
    numbers: tuple[int, ...]
    dynamic_shapes: tuple[Any, ...]


def freeze(module: torch.fx.GraphModule, examples: Sequence[Any]) -> Frozen:
    """Return `module`, which is left as it is, frozen.

    `examples` are what it is called with: tensors that are real, or sizes.
    """
    graph = torch.fx.Graph()
    holder = torch.nn.Module()
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    made: dict[torch.fx.Node, Any] = {}
    taken, weights, shapes = [], [], []
    sizes, numbers = [], []
    for i, (node, example) in enumerate(zip(inputs, examples, strict=True)):
        if not isinstance(example, torch.Tensor):
            if node.users:
                sizes.append((i, node))
        elif _is_number(node):
            made |= dict.fromkeys(node.users, example.item())
            numbers.append(i)
        elif _is_weight(node, example):
            holder.register_buffer(f"w{i}", plain(example))
            weights.append(i)
        else:
            made[node] = graph.placeholder(placeholder_name(i))
            taken.append(i)
            shapes.append(_open_sizes(node))
    for i in weights:
        made[inputs[i]] = graph.get_attr(f"w{i}")
    for i, node in sizes:
        found = _size(graph, node, made)
        made[node] = examples[i] if found is None else found
        numbers.extend([] if found is not None else [i])
    _copy(module, graph, holder, made)
    return Frozen(
        module=torch.fx.GraphModule(holder, graph),
        taken=tuple(taken),
        weights=tuple(weights),
        numbers=tuple(numbers),
        dynamic_shapes=tuple(shapes),
    )


def placeholder_name(place: int) -> str:
    """Return what the input at `place` among Dynamo's is called in a frozen graph."""
    return f"x{place}"


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return `tensor`, or a copy where it was made in inference mode, which cannot be traced."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _is_weight(node: torch.fx.Node, example: torch.Tensor) -> bool:
    return isinstance(example, torch.nn.Parameter) or _STATIC in node.meta.get("tensor_dict", {})


def _is_number(node: torch.fx.Node) -> bool:
    taken = [user.op == "call_method" and user.target == "item" for user in node.users]
    return bool(taken) and all(taken)


def _open_sizes(node: torch.fx.Node) -> Any:
    shape = node.meta["example_value"].shape
    opened = {
        axis: torch.export.Dim.AUTO
        for axis, size in enumerate(shape)
        if isinstance(size, torch.SymInt)
    }
    return opened or None


def _size(
    graph: torch.fx.Graph, node: torch.fx.Node, made: dict[torch.fx.Node, Any]
) -> torch.fx.Node | None:
    """Return what reads the size that `node` stands for; None where it is that of no tensor."""
    symbol = str(node.meta.get("example_value"))
    for source, copy in made.items():
        if source.op != "placeholder":
            continue
        value = source.meta.get("example_value")
        for axis, size in enumerate(getattr(value, "shape", ())):
            if isinstance(size, torch.SymInt) and str(size) == symbol:
                return graph.call_method("size", (copy, axis))
    return None


def _copy(
    module: torch.fx.GraphModule,
    graph: torch.fx.Graph,
    holder: torch.nn.Module,
    made: dict[torch.fx.Node, Any],
) -> None:
    for node in module.graph.nodes:
        if node.op == "placeholder" or node in made:
            continue
        if node.op in ("get_attr", "call_module"):
            owner, _, leaf = str(node.target).rpartition(".")
            _keep(holder, str(node.target), getattr(module.get_submodule(owner), leaf))
        made[node] = graph.node_copy(node, made.__getitem__)


def _keep(holder: torch.nn.Module, target: str, value: Any) -> None:
    *path, last = target.split(".")
    for name in path:
        if not hasattr(holder, name):
            holder.add_module(name, torch.nn.Module())
        holder = getattr(holder, name)
    if isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter):
        holder.register_buffer(last, value)
    else:
        setattr(holder, last, value)
