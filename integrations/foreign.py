"""Passes of other programs as functions of a graph, which `planish.register_pass` takes.

A pass of planish then verifies what such a function did, counts it, bisects to it and rolls it
back, as it does with a GraphSurgeon script.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..ir.core.errors import LoadError, PassError, RefusedError, SaveError
from ..ir.core.kind import kind_of
from ..ir.files.load import load
from ..ir.files.save import to_model
from ..ir.graph.uses import scopes
from ..ir.proto.to_proto import to_proto
from ..ir.proto.versions import FIRST_IR_WITH_DEFAULTS

Change = Callable[[gs.Graph], gs.Graph | None]


class GraphFunction:
    """A function of a graph that is called `name`, after the host's pass, and documented `doc`."""

    def __init__(self, name: str, doc: str, change: Change) -> None:
        self.__name__ = kebab_case(name)
        self.__doc__ = doc
        self._change = change

    def __call__(self, graph: gs.Graph) -> gs.Graph | None:
        """Return what the host makes of `graph`; None where that is the same.

        Raises PassError where it is no graph, and what the host raises.
        """
        try:
            return self._change(graph)
        except LoadError as error:
            raise PassError(f"it leaves what is no graph: {error}") from error


def through_model(
    name: str,
    doc: str,
    change: Callable[[onnx.ModelProto], object],
    keep: Callable[[gs.Graph, gs.Graph], None] = lambda before, after: None,
) -> GraphFunction:
    """Return the function of a graph that `change` is of a ModelProto.

    `change` may return another model, change the one it is given and return None, or return False
    where it did nothing. It is given a copy of the weights; those that come back as they were are
    the graph's own again. `keep(before, after)` may put back what the host lost.
    """

    def changed(graph: gs.Graph) -> gs.Graph | None:
        try:
            model = to_model(graph)
        except SaveError as error:
            raise RefusedError(str(error)) from error
        lists_weights = model.ir_version < FIRST_IR_WITH_DEFAULTS
        if lists_weights:  # as inputs, which they would be where a host raises the version
            model = to_proto(graph)[0]
        found = change(model)
        if found is False:
            return None
        made = model if found is None else found
        if not isinstance(made, onnx.ModelProto):
            raise PassError(f"it returns {kind_of(made)}; return a ModelProto, None or False")
        after = load(made)
        if lists_weights:
            after.ir_version = graph.ir_version
        _share_weights(graph, after)
        keep(graph, after)
        return after

    return GraphFunction(name, doc, changed)


def kebab_case(name: str) -> str:
    """Return the name of a host's pass as planish's passes have it: FuseBNPass is fuse-bn."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    words = re.sub(r"[^a-zA-Z0-9]+", "-", words).strip("-").lower()
    return words.removesuffix("-pass") or words


def _share_weights(before: gs.Graph, after: gs.Graph) -> None:
    """Give `after` the arrays of `before`, where constants of one name hold the same."""
    known = {tensor.name: tensor._values for tensor in _arrays(before)}
    for tensor in _arrays(after):
        values = known.get(tensor.name)
        if values is not None and _same(values, tensor._values):
            tensor._values = values


def _arrays(graph: gs.Graph) -> Iterator[gs.Constant]:
    for scope in scopes(graph):
        for node in scope.nodes:
            for tensor in node.inputs:
                if isinstance(tensor, gs.Constant) and isinstance(tensor._values, np.ndarray):
                    yield tensor


def _same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
