"""The only way a pass changes a graph, so that changes are counted and lookups stay linear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..core.build import make_constant, make_node, make_variable
from ..core.errors import PassError
from ..core.variables import STANDARD_DOMAINS, label, subgraphs_of
from ..proto.metadata import node_metadata, set_node_metadata
from .journal import Journal
from .order import sort
from .types import Dim, TensorType, Types
from .uses import Uses, scopes

# Readers of a result with more of them are not looked at again: that would be quadratic.
_MOST_TOUCHED = 8


class Edit:
    """A batch of changes to `graph` and its subgraphs, applied by `commit` or on leaving `with`.

    `limit` stops counting (and, through `begin`, changing) after so many edits; `planish bisect`
    uses it to find the first edit that breaks a result. `uses` is an index of the same graph that
    is still right, where there is one.
    """

    def __init__(self, graph: gs.Graph, limit: int | None = None, uses: Uses | None = None) -> None:
        self.graph = graph
        self.uses = uses or Uses(graph)
        self.count = 0
        self.changed = False  # ever, counted or not
        self.touched: list[gs.Node] = []
        self._limit = limit
        self._open = False
        self._dirty = False
        self._suffix: dict[str, int] = {}
        self._removed: dict[int, tuple[gs.Node, gs.Graph]] = {}
        self._before: dict[int, list[gs.Node]] = {}
        self._types = Types()
        self._functions: dict[int, tuple[gs.Function, str]] = {}  # that were asked for, with names
        self._journal: Journal | None = None

    def __enter__(self) -> Edit:
        """Return the batch itself."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Commit, unless an error passes through."""
        if kind is None:
            self.commit()

    @property
    def left(self) -> int | None:
        """How many edits may still be made; None for any number."""
        return None if self._limit is None else self._limit - self.count

    def begin(self) -> bool:
        """Start one edit; False where the limit is used up and nothing may change any more."""
        if self.left is not None and self.left <= 0:
            return False
        self._open = True
        return True

    def savepoint(self) -> None:
        """Remember changes from here on, in place of those remembered before, for `rollback`."""
        self._journal = Journal()
        self._journal.add(partial(self._restore, self.count, self._dirty, len(self.touched)))

    def rollback(self) -> bool:
        """Take back every change since the last `savepoint`; False where that cannot be done.

        Nodes that hold subgraphs cannot be put back. Names that were taken stay taken.
        """
        journal, self._journal = self._journal, None
        return journal is not None and journal.undo()

    def _restore(self, count: int, dirty: bool, touched: int) -> None:
        self.count, self._dirty, self._open = count, dirty, False
        del self.touched[touched:]

    def constant(self, values: np.ndarray[Any, Any], name: str) -> gs.Constant:
        """Return a fresh constant; existing ones are never overwritten. `name` is a hint."""
        values = np.asarray(values)
        if values.flags.writeable:
            values = values.view()
            values.flags.writeable = False
        return make_constant(self._fresh(name, self.uses.tensor_names), values)

    def take_name(self, made: gs.Tensor, tensor: gs.Tensor) -> None:
        """Give `made` the name of `tensor`, which nothing reads or shows any more."""
        freed, was = made.name, tensor.name
        self.uses.tensor_names.discard(freed)
        made.name, tensor.name = was, freed
        if self._journal is not None:
            self._journal.add(partial(self._return_name, made, tensor))

    def _return_name(self, made: gs.Tensor, tensor: gs.Tensor) -> None:
        made.name, tensor.name = tensor.name, made.name
        self.uses.tensor_names.add(made.name)

    def variable(self, name: str, like: TensorType | None = None) -> gs.Variable:
        """Return a fresh variable of the type `like`. `name` is a hint."""
        made = make_variable(self._fresh(name, self.uses.tensor_names))
        if like is not None:
            made.dtype = like.dtype
            made.shape = None if like.shape is None else list(like.shape)
            self._types.learn(made, like)
        return made

    def type_of_new(self, tensor: gs.Tensor) -> TensorType | None:
        """Return the type given to a variable that this batch created."""
        return self._types.learned(tensor) if isinstance(tensor, gs.Variable) else None

    def node(
        self,
        op: str,
        inputs: Sequence[gs.Tensor],
        outputs: Sequence[gs.Tensor],
        attrs: dict[str, Any] | None = None,
        *,
        at: gs.Node,
        domain: str | None = None,
        copy_of: gs.Node | None = None,
    ) -> gs.Node:
        """Add a node in the place of `at`, whose name and metadata it inherits.

        With `copy_of` it inherits those of that node instead. An output that still has a producer
        is refused with PassError: remove that node first.
        """
        scope = self._scope_of(at)
        for tensor in outputs:
            producer = self.uses.producer(tensor)
            if producer is not None:
                raise PassError(
                    f"tensor '{tensor.name}' already has the producer {label(producer)}; "
                    "remove that node before adding another"
                )
        source = at if copy_of is None else copy_of
        name = self._fresh(source.name or op, self.uses.node_names)
        made = make_node(op, name, dict(attrs or {}), inputs, outputs, domain, link=False)
        metadata = node_metadata(source)
        if metadata is not None and copy_of is None:
            same = (source.op, source.domain) == (op, domain)
            parts = metadata.parts if same else ()
            metadata = replace(metadata.inherited(), parts=parts)
        set_node_metadata(made, metadata)
        self._before.setdefault(id(at), []).append(made)
        self.uses.add(made, scope)
        if self._journal is not None:
            self._journal.add(partial(self._unmake, made, at))
        self._change(made)
        return made

    def rename(self, node: gs.Node, name: str) -> None:
        """Give `node`, which this batch added, a name like `name` that no other node has.

        An empty one leaves it without.
        """
        if self._journal is not None:
            self._journal.add(partial(self._name, node, node.name))
        self.uses.node_names.discard(node.name)
        node.name = self._fresh(name, self.uses.node_names) if name else ""

    def tell_apart(self, held: gs.Node | gs.Tensor, name: str) -> None:
        """Give `held`, which something of another scope is called like, a name like `name`.

        No other node or tensor has that. It is no input or output of the whole graph, whose names
        are a caller's.
        """
        if self._journal is not None:
            self._journal.add(partial(setattr, held, "name", held.name))
        nodes, tensors = self.uses.node_names, self.uses.tensor_names
        held.name = self._fresh(name, nodes | tensors | {name})
        (nodes if isinstance(held, gs.Node) else tensors).add(held.name)
        self._change(None)

    def _name(self, node: gs.Node, name: str) -> None:
        self.uses.node_names.discard(node.name)
        node.name = name
        if name:
            self.uses.node_names.add(name)

    def _unmake(self, made: gs.Node, at: gs.Node) -> None:
        self._before[id(at)].pop()
        self.uses.discard(made)
        self.uses.node_names.discard(made.name)

    def _scope_of(self, at: gs.Node) -> gs.Graph:
        scope = self.uses.scope(at)
        if scope is not None:
            return scope
        if id(at) in self._removed:
            return self._removed[id(at)][1]
        raise PassError(
            f"node {label(at)} is not in the graph, so nothing can be put in its place; pass one "
            "that is in it, or that the same batch of changes removed, as `at`"
        )

    def remove(self, node: gs.Node) -> None:
        """Remove `node`; its outputs lose their producer, its inputs one reader each."""
        scope = self.uses.scope(node)
        if scope is None:
            raise PassError(f"node {label(node)} was removed twice")
        self._settle(node)
        self._removed[id(node)] = (node, scope)
        self._touch_around(node)
        self.uses.discard(node)
        self.uses.node_names.discard(node.name)
        if self._journal is not None:
            self._journal.add(partial(self._put_back, node, scope), whole=not _nests(node))
        self._change(None)

    def _put_back(self, node: gs.Node, scope: gs.Graph) -> None:
        del self._removed[id(node)]
        self.uses.add(node, scope)

    def set_input(self, node: gs.Node, position: int, tensor: gs.Tensor) -> None:
        """Make `node` read `tensor` at input `position`."""
        old = node.inputs[position]
        self._read(node, position, tensor)
        if self._journal is not None:
            self._journal.add(partial(self._read, node, position, old))
        self._change(node)

    def _read(self, node: gs.Node, position: int, tensor: gs.Tensor) -> None:
        self.uses.unlink(node.inputs[position], node)
        list.__setitem__(node.inputs, position, tensor)
        self.uses.link(tensor, node)

    def replace(
        self, old: gs.Tensor, new: gs.Tensor, readers: Iterable[gs.Node] | None = None
    ) -> None:
        """Make `readers` of `old`, None for all in any scope, read `new`.

        Graph outputs stay as they are.
        """
        for reader in self.uses.readers(old) if readers is None else readers:
            for position, tensor in enumerate(reader.inputs):
                if tensor is old:
                    self.set_input(reader, position, new)

    def rename_output(self, node: gs.Node, old: gs.Tensor, new: gs.Tensor) -> None:
        """Make `node` produce `new` where it produced `old`, and every reader of `old` read it."""
        position = next(i for i, tensor in enumerate(node.outputs) if tensor is old)
        if self.uses.scope(node) is None:
            raise PassError(f"node {label(node)} was removed and cannot produce '{new.name}'")
        self.uses.produce(node, position, new)
        if self._journal is not None:
            self._journal.add(partial(self.uses.produce, node, position, old))
        self._change(node)
        self.replace(old, new)

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

    def commit(self) -> None:
        """Write the changes into the graph: nodes placed, removed and sorted."""
        if not self._dirty:
            return
        if self._removed or self._before:
            for scope in self.uses.scopes(self.graph):
                self._place_all(scope)
            self._removed.clear()
            self._before.clear()
        self._dirty = False
        self._journal = None
        self.uses.relink()
        for scope in self.uses.scopes(self.graph):
            sort(scope)

    def _settle(self, holder: gs.Node) -> None:
        """Write the changes inside `holder` into its bodies, which may go on in another node."""
        for body in (scope for inner in subgraphs_of(holder) for scope in scopes(inner)):
            before = body.nodes
            self._place_all(body)
            for node in (*before, *body.nodes):
                self._removed.pop(id(node), None)
                self._before.pop(id(node), None)

    def _place_all(self, scope: gs.Graph) -> None:
        """Put the nodes of `scope` that are new among the others, without those removed."""
        placed: list[gs.Node] = []
        for node in scope.nodes:
            if id(node) in self._before or id(node) in self._removed:
                self._place(node, placed)
            else:
                placed.append(node)
        scope.nodes = placed

    def _place(self, node: gs.Node, placed: list[gs.Node]) -> None:
        pending = [(node, False)]
        while pending:
            current, expanded = pending.pop()
            if expanded:
                if id(current) not in self._removed:
                    placed.append(current)
                continue
            pending.append((current, True))
            pending.extend((made, False) for made in reversed(self._before.get(id(current), ())))

    def _change(self, node: gs.Node | None) -> None:
        self._dirty = self.changed = True
        if self._open:
            self._open = False
            self.count += 1
        if node is not None:
            self.touched.append(node)
            self._touch_around(node)

    def _change_for_good(self) -> None:
        """Count a change of the whole graph, which only `clone` can take back."""
        if self._journal is not None:
            self._journal.close()
        self._change(None)

    def _touch_around(self, node: gs.Node) -> None:
        """Queue the neighbours, whose own patterns may have become possible."""
        for tensor in node.inputs:
            producer = self.uses.producer(tensor)
            if producer is not None:
                self.touched.append(producer)
        for tensor in node.outputs:
            if self.uses.fan_out(tensor) <= _MOST_TOUCHED:
                self.touched.extend(self.uses.readers(tensor))

    def _fresh(self, hint: str, taken: set[str]) -> str:
        name = hint
        while name in taken:
            self._suffix[hint] = self._suffix.get(hint, 0) + 1
            name = f"{hint}_{self._suffix[hint]}"
        taken.add(name)
        return name


def _nests(node: gs.Node) -> bool:
    return bool(subgraphs_of(node))
