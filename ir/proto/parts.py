"""A graph as a flat list of its parts, each of which names the others by their place in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues
from onnx_graphsurgeon.util.misc import SynchronizedList

from ..core.build import linked_list
from ..core.file_values import SOURCE

Part = Any  # a graph, a node or a tensor: none is typed
Flat = list[tuple[Any, dict[str, Any]]]

_LINKS = {"inputs": "outputs", "outputs": "inputs"}


@dataclass(frozen=True, slots=True)
class Place:
    """Stands for the part at place `at` of the list."""

    at: int


def take_apart(roots: Sequence[Part]) -> Flat:
    """Return `roots`, in order, and what they hold: the class and the attributes of each part.

    What makes and reads a tensor is left out: it follows from the nodes. Bodies share the list of
    functions with the graph that they are in.
    """
    taking = _TakingApart()
    for root in roots:
        taking.place(root)
    return taking.flat()


class _TakingApart:
    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._places: dict[int, Place] = {}

    def place(self, part: Part) -> Place:
        found = self._places.get(id(part))
        if found is None:
            found = self._places[id(part)] = Place(len(self._parts))
            self._parts.append(part)
        return found

    def flat(self) -> Flat:
        made: Flat = []
        while len(made) < len(self._parts):  # which grows as parts name others
            part = self._parts[len(made)]
            left_out = (*_LINKS, SOURCE) if isinstance(part, gs.Tensor) else ()
            state = {k: self._value(v) for k, v in vars(part).items() if k not in left_out}
            made.append((type(part), state))
        return made

    def _value(self, value: Any) -> Any:
        if isinstance(value, gs.Graph | gs.Node | gs.Tensor):
            return self.place(value)
        if isinstance(value, LazyValues):
            return np.asarray(value.load())
        if isinstance(value, dict):
            return {key: self._value(item) for key, item in value.items()}
        if type(value) is tuple:
            return tuple(map(self._value, value))
        return list(map(self._value, value)) if type(value) in (list, SynchronizedList) else value


def restore(flat: Flat) -> list[Any]:
    """Return the parts that `take_apart` took apart, in order, linked to one another."""
    parts = [kind.__new__(kind) for kind, _ in flat]
    functions: list[gs.Function] | None = None
    for part, (_, state) in zip(parts, flat, strict=True):
        vars(part).update({name: _restored(value, parts) for name, value in state.items()})
        if isinstance(part, gs.Tensor):
            vars(part).update({name: linked_list(part, back) for name, back in _LINKS.items()})
        elif isinstance(part, gs.Graph):
            functions = part._functions if functions is None else functions
            vars(part)["_functions"] = functions
    for part in parts:
        if isinstance(part, gs.Node):
            _link(part)
    return parts


def _link(node: gs.Node) -> None:
    for name, back in _LINKS.items():
        tensors = vars(node)[name]
        linked = vars(node)[name] = linked_list(node, back)
        list.extend(linked, tensors)
        for tensor in tensors:
            list.append(vars(tensor)[back], node)


def _restored(value: Any, parts: Sequence[Part]) -> Any:
    if isinstance(value, Place):
        return parts[value.at]
    if isinstance(value, dict):
        return {key: _restored(item, parts) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_restored(item, parts) for item in value)
    return value
