"""Rewrites, and their driver: one worklist over the nodes, linear in nodes plus edits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import onnx_graphsurgeon as gs

from ...ir.core.decline import DeclinedError
from ...ir.core.variables import FUSED_DOMAIN, is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.types import TensorType
from ...ir.graph.uses import scopes
from ...ir.graph.view import View
from .context import Context
from .contract import Pass

Site = TypeVar("Site")

_PROGRESS_EVERY = 256


class Rewrite(ABC, Generic[Site]):
    """One local match-and-replace, rooted at a node whose operator is in `ops`.

    `match` is pure: it asks `view`, declines through `need`, and returns None for a node that is no
    candidate at all. `rewrite` makes the change it was promised and cannot refuse.
    """

    ops: ClassVar[frozenset[str]]

    @abstractmethod
    def match(self, node: gs.Node, view: View) -> Site | None:
        """Return what was found at `node`, or None; raise through `need` to decline."""

    @abstractmethod
    def rewrite(self, site: Site, edit: Edit) -> None:
        """Replace what `match` found."""


@dataclass(frozen=True)
class RewritePass(Pass):
    """A pass that is a set of rewrites, tried at every node until none applies."""

    @abstractmethod
    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites, in the order in which they are tried at a node."""

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Run the rewrites over `graph` and its subgraphs with the shared driver."""
        drive(graph, self.rewrites(), context)


def drive(graph: gs.Graph, rewrites: Sequence[Rewrite[Any]], context: Context) -> None:
    """Apply `rewrites` to `graph` and its subgraphs until no node matches any of them.

    Each node is looked at once, and again whenever an edit touched it or a neighbour. Operators of
    unknown domains are never offered to a rewrite.
    """
    by_op: dict[str, list[Rewrite[Any]]] = {}
    for rewrite in rewrites:
        for op in rewrite.ops:
            by_op.setdefault(op, []).append(rewrite)
    queue: deque[gs.Node] = deque(
        node for scope in scopes(graph) for node in scope.nodes if node.op in by_op
    )
    if not queue:
        return
    edit = context.edit()
    views: dict[int, View] = {}
    declined: list[gs.Node] = []
    queued = {id(node) for node in queue}
    total, done, within_limit = len(queue), 0, True
    while queue and within_limit:
        node = queue.popleft()
        queued.discard(id(node))
        done += 1
        if done % _PROGRESS_EVERY == 0:
            context.progress(min(done / total, 1.0))
        scope = edit.uses.scope(node)
        if scope is None or not (is_standard(node) or node.domain == FUSED_DOMAIN):
            continue
        if id(scope) not in views:
            views[id(scope)] = make_view(scope, edit, context)
        for rewrite in by_op.get(node.op, ()):
            try:
                site = rewrite.match(node, views[id(scope)])
            except DeclinedError as reason:
                context.decline(node, str(reason))
                declined.append(node)
                continue
            if site is None:
                continue
            within_limit = edit.begin()
            if within_limit:
                rewrite.rewrite(site, edit)
                context.accept(node)
            break
        for touched in edit.touched:
            if touched.op in by_op and id(touched) not in queued:
                queue.append(touched)
                queued.add(id(touched))
        edit.touched.clear()
    for node in declined:
        if edit.uses.scope(node) is None:
            context.accept(node)  # another site took it in
    edit.commit()


def make_view(scope: gs.Graph, edit: Edit, context: Context) -> View:
    """Return the view of `scope` that sees the changes made through `edit`."""

    def type_of(tensor: gs.Tensor) -> TensorType | None:
        return edit.type_of_new(tensor) or context.infer().of(tensor)

    return View(scope, edit.uses, type_of)
