"""Changes of a graph as a whole: what it takes and gives, its functions and operator sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from ..core.variables import STANDARD_DOMAINS
from .types import Dim
from .uses import Uses, scopes


class WholeGraphEdits(ABC):
    """Changes of `graph` that only a clone can take back; `uses` is its index."""

    def __init__(self, graph: gs.Graph, uses: Uses) -> None:
        self.graph = graph
        self.uses = uses
        self._functions: dict[int, tuple[gs.Function, str]] = {}  # that were asked for, with names

    @abstractmethod
    def _change(self, node: gs.Node | None) -> None:
        """Count a change, of a node or of none."""

    @abstractmethod
    def _change_for_good(self) -> None:
        """Count a change of the whole graph, which only `clone` can take back."""

    def declare(self, tensor: gs.Variable, dtype: Any, shape: Sequence[Dim] | None) -> None:
        """Declare the type of an input or output of the graph, where that is not what it was."""
        wanted = None if shape is None else list(shape)
        if tensor.dtype != dtype or tensor.shape != wanted:
            tensor.dtype, tensor.shape = dtype, wanted
            self._change_for_good()

    def set_interface(self, inputs: Sequence[gs.Tensor], outputs: Sequence[gs.Tensor]) -> None:
        """Make `inputs` and `outputs` those of the graph."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        self.uses.set_interface(self.graph)
        self._change_for_good()

    def rename_tensor(self, tensor: gs.Tensor, name: str) -> None:
        """Call a tensor `name`, as nothing else is called; readers and callers follow."""
        self.uses.tensor_names.discard(tensor.name)
        tensor.name = name
        self.uses.tensor_names.add(name)
        self._change_for_good()

    def function_name(
        self, function: gs.Function, ensure: Callable[[gs.Graph, gs.Function], str]
    ) -> str:
        """Return what `function` is called in the graph, as `ensure` says once for each."""
        if id(function) not in self._functions:
            self._functions[id(function)] = (function, ensure(self.graph, function))
        return self._functions[id(function)][1]

    def remove_function(self, function: gs.Function) -> None:
        """Remove a local function, which nothing calls."""
        self.graph.functions = [f for f in self.graph.functions if f is not function]
        self._functions.clear()
        self._change_for_good()

    def remove_import(self, owner: gs.Graph | gs.Function, domain: str) -> None:
        """Remove the import of an operator domain that no node of `owner` is of."""
        owner.import_domains = [e for e in owner.import_domains if e.domain != domain]
        self._change_for_good()

    def add_import(self, entry: onnx.OperatorSetIdProto) -> None:
        """Import an operator domain in every scope, unless it is imported already."""
        if any(known.domain == entry.domain for known in self.graph.import_domains or ()):
            return
        imports = [*(self.graph.import_domains or ()), entry]
        for scope in scopes(self.graph):
            scope.import_domains = imports
        self._change(None)

    def raise_opset(self, version: int) -> None:
        """Declare the standard opset `version` in every scope and local function.

        The IR version is raised where that opset needs it. Nodes must have the form that it wants,
        or be given it next.
        """
        for owner in (self.graph, *self.graph.functions):
            imports = [
                onnx.helper.make_opsetid(e.domain, version) if e.domain in STANDARD_DOMAINS else e
                for e in owner.import_domains or [onnx.helper.make_opsetid("", version)]
            ]
            for scope in scopes(owner):
                scope.opset, scope.import_domains = version, list(imports)
        least = onnx.helper.find_min_ir_version_for(list(self.graph.import_domains), True)
        self.graph.ir_version = max(self.graph.ir_version or least, least)
        self._change_for_good()
