"""Keep one of several equal constants.

f(x; c1), g(x; c2) = f(x; c1), g(x; c1)     where c1 and c2 have the same type, shape and bytes

Exporters write tied weights, and one zero a layer, as tensors of their own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.constant_nodes import value_of_constant_node
from ...ir.core.variables import dense_values, is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.parts import is_restored, is_written_out
from ...ir.graph.uses import scopes
from ..engine.context import Context
from ..engine.contract import Pass

# So many bytes of a large constant are compared before all of it is read from disk or memory.
_SAMPLE = 4096


@dataclass(frozen=True)
class DeduplicateConstants(Pass):
    """Merge constants of equal type, shape and bytes, in all scopes, and Constant nodes with them.

    Bytes decide, so 0 and -0 differ and equal NaNs do not. Linear: only constants with the same
    type, shape and first bytes are read in full, in place, so mapped files stay on disk.
    """

    name: ClassVar[str] = "deduplicate-constants"

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Group all constants by ever more of their content, then merge the groups."""
        with context.editing() as edit:
            groups = [_constants(graph, edit)]
            for refine in (_kind, _sample, _digest):
                groups = [part for group in groups for part in _split(group, refine)]
            if not groups:
                return
            names = _names(graph)
            _find_readers(groups, graph, edit)
            for group in groups:
                _merge(group, graph, edit, names)


@dataclass(slots=True)
class _Entry:
    tensor: gs.Tensor
    values: np.ndarray[Any, Any]
    node: gs.Node | None  # the Constant node that produces it
    scopes: dict[int, gs.Graph] = field(default_factory=dict)  # where it is read
    is_own: bool = False  # some reader spells no fused operator out


def _names(graph: gs.Graph) -> Counter[str]:
    """Count the tensors that have one name, in all scopes."""
    tensors: dict[int, gs.Tensor] = {}
    for scope in scopes(graph):
        found = [*scope.inputs, *scope.outputs]
        for node in scope.nodes:
            found += node.inputs
            found += node.outputs
        tensors.update({id(tensor): tensor for tensor in found})
    return Counter(tensor.name for tensor in tensors.values())


def _constants(graph: gs.Graph, edit: Edit) -> list[_Entry]:
    """Return the constants that nodes read and no caller can override."""
    found: dict[int, _Entry | None] = {}
    uses = edit.uses
    for scope in uses.scopes(graph):
        for node in scope.nodes:
            if node.op == "Constant" and is_standard(node):
                tensor = node.outputs[0]
                values = value_of_constant_node(node)
                if values is not None and id(tensor) not in uses.pinned and uses.reads(tensor):
                    found[id(tensor)] = _Entry(tensor, values, node)
            for tensor in node.inputs:
                if isinstance(tensor, gs.Constant) and id(tensor) not in found:
                    values = None if id(tensor) in uses.interface_inputs else dense_values(tensor)
                    found[id(tensor)] = None if values is None else _Entry(tensor, values, None)
    return [entry for entry in found.values() if entry is not None]


def _find_readers(groups: Sequence[list[_Entry]], graph: gs.Graph, edit: Edit) -> None:
    """Find out where the constants of `groups` are read, and by what."""
    entries = {id(entry.tensor): entry for group in groups for entry in group}
    for scope in edit.uses.scopes(graph):
        for node in scope.nodes:
            for tensor in node.inputs:
                entry = entries.get(id(tensor))
                if entry is not None:
                    entry.scopes[id(scope)] = scope
                    entry.is_own = entry.is_own or not is_written_out(node)


def _kind(entry: _Entry) -> Hashable:
    return (dtypes.full_name(entry.values.dtype), entry.values.shape)


def _sample(entry: _Entry) -> Hashable:
    values = entry.values
    if values.dtype.kind == "O":
        return tuple(values.flat)
    if values.nbytes <= _SAMPLE:
        return values.tobytes()
    data, half = _bytes(values), _SAMPLE // 2
    return np.concatenate([data[:half], data[-half:]]).tobytes()


def _digest(entry: _Entry) -> Hashable:
    if entry.values.dtype.kind == "O" or entry.values.nbytes <= _SAMPLE:
        return None  # compared in full before
    return hashlib.sha256(_bytes(entry.values).data).digest()


def _bytes(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def _split(group: list[_Entry], key: Any) -> list[list[_Entry]]:
    """Return the parts of `group` with equal keys that have more than one member."""
    parts: dict[Hashable, list[_Entry]] = {}
    if len(group) > 1:
        for entry in group:
            parts.setdefault(key(entry), []).append(entry)
    return [part for part in parts.values() if len(part) > 1]


def _merge(group: list[_Entry], graph: gs.Graph, edit: Edit, names: Counter[str]) -> None:
    # The others go with what reads them, when it is fused again.
    group = [entry for entry in group if entry.is_own or is_restored(entry.tensor)]
    if len(group) < 2:
        return
    kept = _kept(group, graph, edit, names)
    for entry in group:
        if entry.tensor is kept:
            continue
        if not is_restored(entry.tensor) and not edit.begin():
            return
        if kept is None:
            kept = edit.constant(entry.values, entry.tensor.name)
        edit.replace(entry.tensor, kept)
        if entry.node is not None:
            edit.remove(entry.node)


def _kept(
    group: list[_Entry], graph: gs.Graph, edit: Edit, names: Counter[str]
) -> gs.Tensor | None:
    """Return the member that all scopes of the group can read under its name, or None.

    One of the main graph is visible everywhere, unless an inner scope has a name like it; one of a
    subgraph is where all others are read in that subgraph too. An output stays in any case. What a
    fused operator was given back goes before what the model has: that is no edit.
    """
    everywhere = {key for entry in group for key in entry.scopes}

    def goes_first(entry: _Entry) -> tuple[bool, bool]:
        return (is_restored(entry.tensor), id(entry.tensor) not in edit.uses.pinned)

    for entry in sorted(group, key=goes_first):
        visible = id(graph) in entry.scopes or len(everywhere) == 1
        if entry.node is None and visible and names[entry.tensor.name] == 1:
            return entry.tensor
    return None
