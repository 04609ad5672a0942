"""Copying what a body declares (of a function, an If or a Loop) to the place that runs it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_graphsurgeon as gs

from ..core.variables import exotic_type, set_exotic_type, subgraphs_of
from .clone import Copier
from .edit import Edit
from .types import TensorType
from .uses import scopes


class BodyCopier(Copier):
    """Copies tensors of `nodes` and of the graphs inside them, through `edit`."""

    def __init__(self, nodes: Iterable[gs.Node], edit: Edit) -> None:
        super().__init__()
        self._edit = edit
        self.nested = [s for node in nodes for g in subgraphs_of(node) for s in scopes(g)]
        self._ports = {id(t) for scope in self.nested for t in (*scope.inputs, *scope.outputs)}

    def variable(
        self, original: gs.Tensor, name: str, like: TensorType | None = None
    ) -> gs.Variable:
        """Return a fresh copy of a variable, of the type `like` where that is known."""
        copy = self._edit.variable(name, like=like)
        if id(original) in self._ports:  # runtimes read the declared types of these
            copy.dtype, copy.shape = original.dtype, original.shape
        exotic = exotic_type(original)
        if exotic is not None:
            set_exotic_type(copy, exotic)
        return copy


def copy_constant(edit: Edit, original: gs.Constant, name: str) -> gs.Constant:
    """Return a constant with the values of `original`, dense, sparse or lazy, which both share."""
    copy = edit.constant(np.zeros(0, np.float32), name)
    copy._values = original._values
    return copy


def deliver(edit: Edit, value: gs.Tensor, target: gs.Tensor, at: gs.Node) -> None:
    """Make every reader of `target`, which has no producer, find `value` there."""
    if id(target) in edit.uses.pinned:
        edit.node("Identity", [value], [target], at=at)
    else:
        edit.replace(target, value)
