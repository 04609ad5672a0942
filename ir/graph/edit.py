"""The only way a pass changes a graph, so that changes are counted and lookups stay linear."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.build import make_constant, make_node, make_variable
from ..core.errors import PassError
from ..core.variables import label, subgraphs_of
from ..proto.metadata import node_metadata, set_node_metadata
from .journal import Journal
from .order import sort
from .pending import Pending
from .trail import Trail
from .types import TensorType, Types, without_made_up
from .uses import Uses
from .whole_edits import WholeGraphEdits

# Readers of a result with more of them are not looked at again: that would be quadratic.
_MOST_TOUCHED = 8


class Edit(WholeGraphEdits):
    """A batch of changes to `graph` and its subgraphs, applied by `commit` or on leaving `with`.

    `limit` stops counting (and, through `begin`, changing) after so many edits; `planish bisect`
    uses it to find the first edit that breaks a result. `uses` is an index of the same graph that
    is still right, where there is one.
    """

    def __init__(self, graph: gs.Graph, limit: int | None = None, uses: Uses | None = None) -> None:
        super().__init__(graph, uses or Uses(graph))
        self.count = 0
        self.changed = False  # ever, counted or not
        self.touched: list[gs.Node] = []
        self.edited: dict[int, gs.Node] = {}  # nodes, by id, that were added or read other tensors
        self.everywhere = False  # whether more has changed than nodes
        self._limit = limit
        self._open = False
        self._dirty = False
        self._suffix: dict[str, int] = {}
        self._pending = Pending()
        self._types = Types()
        self._journal: Journal | None = None
        self.trail: Trail | None = None  # of somebody who wants to know what was touched

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
        self.uses.let_go()  # of what edits before have replaced
        return True

    def savepoint(self) -> None:
        """Remember changes from here on, in place of those remembered before, for `rollback`."""
        self._journal = Journal()
        trailed = 0 if self.trail is None else len(self.trail.edits)
        self._journal.add(
            partial(self._restore, self.count, self._dirty, len(self.touched), trailed)
        )

    def rollback(self) -> bool:
        """Take back every change since the last `savepoint`; False where that cannot be done.

        Nodes that hold subgraphs cannot be put back. Names that were taken stay taken.
        """
        journal, self._journal = self._journal, None
        return journal is not None and journal.undo()

    def _restore(self, count: int, dirty: bool, touched: int, trailed: int) -> None:
        self.count, self._dirty, self._open = count, dirty, False
        if self.trail is not None:
            self.trail.cut(trailed)
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
            made.shape = None if like.shape is None else list(map(without_made_up, like.shape))
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
        self._pending.add(made, at)
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
        self._pending.take_back(at)
        self.uses.discard(made)
        self.uses.node_names.discard(made.name)

    def _scope_of(self, at: gs.Node) -> gs.Graph:
        scope = self.uses.scope(at) or self._pending.scope(at)
        if scope is not None:
            return scope
        raise PassError(
            f"node {label(at)} is not in the graph, so nothing can be put in its place; pass one "
            "that is in it, or that the same batch of changes removed, as `at`"
        )

    def remove(self, node: gs.Node) -> None:
        """Remove `node`; its outputs lose their producer, its inputs one reader each."""
        scope = self.uses.scope(node)
        if scope is None:
            raise PassError(f"node {label(node)} was removed twice")
        nests = self.uses.nests and bool(subgraphs_of(node))
        if nests:
            self.everywhere = True
            self._pending.settle(node)
        self._pending.remove(node, scope)
        self._touch_around(node)
        self.uses.discard(node)
        self.uses.node_names.discard(node.name)
        if self._journal is not None:
            self._journal.add(partial(self._put_back, node, scope), whole=not nests)
        self._change(None)
        if self.trail is not None:
            self.trail.note(self, self.count, node)

    def _put_back(self, node: gs.Node, scope: gs.Graph) -> None:
        self._pending.put_back(node)
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

    def commit(self) -> None:
        """Write the changes into the graph: nodes placed, removed and sorted."""
        if not self._dirty:
            return
        self._pending.write(self.uses.scopes(self.graph))
        self._dirty = False
        self._journal = None
        self.uses.let_go()
        self.uses.relink()
        for scope in self.uses.scopes(self.graph):
            sort(scope)

    def _change(self, node: gs.Node | None) -> None:
        self._dirty = self.changed = True
        if self._open:
            self._open = False
            self.count += 1
        if self.trail is not None:
            self.trail.note(self, self.count, node)
        if node is not None:
            self.edited[id(node)] = node
            self.touched.append(node)
            self._touch_around(node)

    def _change_for_good(self) -> None:
        """Count a change of the whole graph, which only `clone` can take back."""
        self.everywhere = True
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
