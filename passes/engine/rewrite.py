"""Rewrites, and their driver: one worklist over the nodes, linear in nodes plus edits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import onnx_graphsurgeon as gs

from ...ir.core.decline import DeclinedError
from ...ir.core.errors import FeedError, PassError, PipelineError, RefusedError
from ...ir.core.variables import FUSED_DOMAIN, is_standard, label
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from .context import Context
from .contract import Pass

Site = TypeVar("Site")

_PROGRESS_EVERY = 256
# Rewrites that undo one another would never end.
_MOST_SWEEPS = 16

# What the person who runs a pass is to know of, whatever becomes of the site.
NOT_OF_A_SITE = (FeedError, PipelineError, RefusedError, MemoryError)


class Rewrite(ABC, Generic[Site]):
    """One local match-and-replace, rooted at a node whose operator is in `ops`.

    `match` is pure: it asks `view`, declines through `need`, and returns None for a node that is no
    candidate at all. `rewrite` makes the change it was promised and cannot refuse. `Site` is
    whatever `match` found and `rewrite` needs.
    """

    ops: ClassVar[frozenset[str]]

    @abstractmethod
    def match(self, node: gs.Node, view: View) -> Site | None:
        """Return what was found at `node`, or None; raise through `need` to decline."""

    @abstractmethod
    def rewrite(self, site: Site, edit: Edit) -> None:
        """Replace what `match` found, by changes through `edit` alone."""

    def restores(self, site: Site) -> bool:
        """Say whether the rewrite only puts a fused operator back that a portable file spells out.

        That is no edit: written out, the graph is what it was.
        """
        return False


@dataclass(frozen=True)
class RewritePass(Pass):
    """A pass that is a set of rewrites, tried at every node until none applies."""

    @abstractmethod
    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites, in the order in which they are tried at a node."""

    def starts_at(self) -> frozenset[str] | None:
        """Return where rewrites are tried; with a `run` of its own, a subclass says it itself."""
        return root_ops(self.rewrites()) if type(self).run is RewritePass.run else None

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Run the rewrites over `graph` and its subgraphs with the shared driver."""
        drive(graph, self.rewrites(), context)


def root_ops(rewrites: Sequence[Rewrite[Any]]) -> frozenset[str]:
    """Return the operators at which one of `rewrites` is tried."""
    return frozenset[str]().union(*(rewrite.ops for rewrite in rewrites))


def drive(graph: gs.Graph, rewrites: Sequence[Rewrite[Any]], context: Context) -> None:
    """Apply `rewrites` to `graph` and its subgraphs until no node matches any of them.

    Each node is looked at once, and again whenever an edit touched it or a neighbour. After edits
    all are looked at once more: a match may ask for what lies further away, and for types, which
    are those from before. Operators of unknown domains are never offered to a rewrite. Unless
    `context.strict`, an exception in `match` or `rewrite` leaves that site as it was, and the
    context is told; where the graph contradicts itself, that is why the site is declined.
    """
    by_op: dict[str, list[Rewrite[Any]]] = {}
    for rewrite in rewrites:
        for op in rewrite.ops:
            by_op.setdefault(op, []).append(rewrite)
    failed = _FailedSites()
    for _ in range(_MOST_SWEEPS):
        nodes = context.nodes_with(by_op)
        if not nodes:
            return
        with context.editing() as edit:
            _Driver(by_op, edit, context, failed).run(nodes)
        if not edit.count or context.limit == context.edits:
            return


class _UncountedError(PassError):
    """A rewrite made no edit."""


class _FailedSites:
    """Where rewrites raised: they are not tried there again."""

    def __init__(self) -> None:
        self._known: set[tuple[int, int]] = set()  # rewrites and nodes
        self._held: list[gs.Node] = []  # so that their ids stay taken

    def add(self, rewrite: Rewrite[Any], node: gs.Node) -> None:
        """Leave `node` to other rewrites."""
        self._known.add((id(rewrite), id(node)))
        self._held.append(node)

    def has(self, rewrite: Rewrite[Any], node: gs.Node) -> bool:
        """Say whether `rewrite` raised at `node`."""
        return (id(rewrite), id(node)) in self._known


class _Driver:
    """The worklist of one run of rewrites, by operator, over a graph."""

    def __init__(
        self,
        by_op: Mapping[str, Sequence[Rewrite[Any]]],
        edit: Edit,
        context: Context,
        failed: _FailedSites,
    ) -> None:
        self._by_op = by_op
        self._edit = edit
        self._context = context
        self._views: dict[int, View] = {}
        self._declined: list[gs.Node] = []
        self._failed = failed

    def run(self, nodes: Sequence[gs.Node]) -> None:
        """Look at `nodes`, and again at what edits touch, until none matches or no edit is left."""
        edit, queue = self._edit, deque(nodes)
        queued = {id(node) for node in queue}
        total, done, within_limit = len(queue), 0, True
        while queue and within_limit:
            node = queue.popleft()
            queued.discard(id(node))
            done += 1
            if done % _PROGRESS_EVERY == 0:
                self._context.progress(min(done / total, 1.0))
            within_limit = self._visit(node)
            for touched in edit.touched:
                if touched.op in self._by_op and id(touched) not in queued:
                    queue.append(touched)
                    queued.add(id(touched))
            edit.touched.clear()
        for node in self._declined:
            if edit.uses.scope(node) is None:
                self._context.accept(node)  # another site took it in

    def _visit(self, node: gs.Node) -> bool:
        """Apply the first rewrite that matches at `node`; False where no edit is left for it."""
        scope = self._edit.uses.scope(node)
        if scope is None or not (is_standard(node) or node.domain == FUSED_DOMAIN):
            return True
        view = self._view(scope)
        for rewrite in self._by_op.get(node.op, ()):
            if self._failed.has(rewrite, node):
                continue
            site = self._match(rewrite, node, view)
            if site is None:
                continue
            if not rewrite.restores(site) and not self._edit.begin():
                return False
            if self._rewrite(rewrite, site, node):
                break
        return True

    def _match(self, rewrite: Rewrite[Any], node: gs.Node, view: View) -> Any:
        try:
            return rewrite.match(node, view)
        except DeclinedError as reason:
            self._context.decline(node, str(reason))
            self._declined.append(node)
        except NOT_OF_A_SITE:
            raise
        except Exception as error:
            if self._context.strict and self._context.contradiction() is None:
                self._context.blame(node)
                raise
            self._leave(rewrite, node, error)
        return None

    def _leave(self, rewrite: Rewrite[Any], node: gs.Node, error: Exception) -> None:
        """Go on without `rewrite` at `node`."""
        self._failed.add(rewrite, node)
        reason = self._context.contradiction()
        if reason is None:
            self._context.fail(node, error)
        else:
            self._context.decline(node, reason)

    def _rewrite(self, rewrite: Rewrite[Any], site: Any, node: gs.Node) -> bool:
        """Make one edit; False where it raised and was taken back."""
        strict = self._context.strict
        if not strict:
            self._edit.savepoint()
        try:
            self._change(rewrite, site, node)
        except NOT_OF_A_SITE:
            raise
        except Exception as error:
            # What was done past `edit` only a copy of the whole graph can take back.
            if strict or isinstance(error, _UncountedError) or not self._edit.rollback():
                self._context.blame(node)
                raise
            self._leave(rewrite, node, error)
            return False
        return True

    def _change(self, rewrite: Rewrite[Any], site: Any, node: gs.Node) -> None:
        made, restored = self._edit.count, rewrite.restores(site)
        rewrite.rewrite(site, self._edit)
        # By hand, it would be neither counted nor checked.
        if self._edit.count == made and not restored:
            raise _UncountedError(
                f"{type(rewrite).__name__} matched {label(node)} and changed nothing; make every "
                "change through `edit`"
            )
        self._context.accept(node)

    def _view(self, scope: gs.Graph) -> View:
        if id(scope) not in self._views:
            self._views[id(scope)] = self._context.view(scope)
        return self._views[id(scope)]
