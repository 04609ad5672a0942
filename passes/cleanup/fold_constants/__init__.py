"""Replace what does not depend on the inputs by its value.

    f(c1, ..., cn) = c        for a deterministic operator f and constants c1, ..., cn
    Shape(x) = [d1, ..., dn]  where those sizes follow from the graph's inputs
    CastLike(c, x) = Cast(c, to = type of x)

Exporters leave weights behind such arithmetic (`torch.onnx.export(..., optimize=False)` computes a
zero bias as Expand(CastLike(0, x), Shape(w))), and then no optimizer recognizes the convolution.
Values are computed on the reference runtime, many operators in one session.
"""

from __future__ import annotations

from collections import ChainMap, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import ExecutionError
from ....ir.core.variables import dense_values, is_standard, subgraphs_of
from ....ir.graph.edit import Edit
from ....ir.graph.uses import scopes
from ....ir.graph.view import View
from ....ir.run.reference import evaluate
from ...analysis.constants.evaluation import byte_size, evaluable_form, infer_alone, may_fold
from ...analysis.constants.static_values import is_static, static_value
from ...engine.context import Context
from ...engine.contract import Pass
from .growth import constant_bytes, growing

Array = np.ndarray[Any, Any]

_DECIDES = (
    "it decides an If alone; a constant condition would make the rank of one branch known to "
    "runtimes, which reject code that only the other branch's rank allows"
)

# What these compute follows from the types of their inputs, without their values.
_ASKS_TYPES = frozenset({"Shape", "Size", "CastLike"})
# Output size depends on values, but is never larger than the input's times its rank.
_BOUNDED = frozenset({"NonZero", "Unique", "Compress", "StringSplit"})


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Compute operators whose inputs are all constant, and shape arithmetic that is static.

    Random and stateful operators, operators of unknown domains and QuantizeLinear/DequantizeLinear
    are never folded.

    - `size-limit`: bytes that a result larger than its inputs may have, so that a folded Expand or
      ConstantOfShape cannot blow the file up.
    - `growth`: by how much all results together may make the model larger, as a multiple of what
      its constants take, and at least `size-limit` bytes. Where it would be more, nothing is folded
      that makes it larger, so that another run folds no more either.
    """

    name: ClassVar[str] = "fold-constants"
    size_limit: int = 1 << 20
    growth: float = 1.0

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Fold every scope of `graph`, outer ones first."""
        while True:
            with context.editing() as edit:
                self._fold(graph, edit, context)
            # A folded shape may have made those static that these ask for.
            asked = any(n.op in _ASKS_TYPES for scope in scopes(graph) for n in scope.nodes)
            if not edit.count or not asked:
                return

    def _fold(self, graph: gs.Graph, edit: Edit, context: Context) -> None:
        """Fold in all scopes at once, so that what the results take is known for the model."""
        folders = {
            id(scope): _Folder(scope, edit, context, self.size_limit)
            for scope in scopes(graph)
            if any(may_fold(node, scope.opset) for node in scope.nodes)
        }

        def look_at(nodes: Iterable[gs.Node]) -> None:
            for node in nodes:
                folder = folders.get(id(edit.uses.scope(node)))
                if folder is not None:
                    folder.queue.append(node)

        while True:
            for folder in folders.values():
                folder.gather(look_at)
            if not any(folder.group for folder in folders.values()):
                return
            self._keep_small(graph, folders.values(), edit)
            for folder in folders.values():
                look_at(folder.evaluate())

    def _keep_small(self, graph: gs.Graph, folders: Iterable[_Folder], edit: Edit) -> None:
        """Leave out what would make the model too large."""
        sizes = ChainMap(*(folder.sizes for folder in folders))
        nodes = [node for folder in folders for node in folder.group]
        parts = growing(nodes, lambda t: _bytes_of(t, sizes), edit.uses)
        total = sum(part.growth for part in parts)
        if total <= self.size_limit:
            return
        allowed = max(self.size_limit, int(self.growth * constant_bytes(graph)))
        if total <= allowed:
            return
        reason = f"folding would make the model larger by {total} bytes, and {allowed} are allowed"
        left_out = {id(node) for part in parts for node in part.nodes}
        for folder in folders:
            folder.leave_out(left_out, reason)


def _bytes_of(tensor: gs.Tensor, computed: Mapping[int, int]) -> int | None:
    values = dense_values(tensor)
    return values.nbytes if values is not None else computed.get(id(tensor))


class _Folder:
    """Folds one scope with a worklist: each node is looked at once for each of its inputs."""

    def __init__(self, scope: gs.Graph, edit: Edit, context: Context, limit: int) -> None:
        self._scope: gs.Graph = scope
        self._edit = edit
        self._context = context
        self._limit = limit
        self._view: View = context.view(scope)
        self._order = {id(node): i for i, node in enumerate(scope.nodes)}
        self._refused: set[int] = set()
        for node in _deciders(scope, self._view):
            self._refuse(node, _DECIDES)
        self.queue = deque(scope.nodes)
        self.group: list[gs.Node] = []  # what can be computed now
        self.sizes: dict[int, int] = {}  # of the tensors that the group will compute, in bytes

    def gather(self, look_at: Callable[[Iterable[gs.Node]], None]) -> None:
        """Take the nodes that can be computed together; static ones are replaced at once."""
        queue, group = self.queue, self.group
        taken: set[int] = set()
        while queue:
            node = queue.popleft()
            if (
                id(node) in taken
                or id(node) in self._refused
                or self._edit.uses.scope(node) is not self._scope
                or not may_fold(node, self._view.opset)
            ):
                continue
            value = self._static_value(node)
            if value is not None:
                look_at(self._materialize(node.outputs[0], value, node))
            elif self._is_ready(node):
                group.append(node)
                taken.add(id(node))
                for tensor in node.outputs:
                    queue.extend(self._view.readers(tensor))
        group.sort(key=lambda node: self._order.get(id(node), 0))

    def leave_out(self, nodes: Set[int], reason: str) -> None:
        """Fold none of `nodes`, given by id, now or later, and nothing that needs them now."""
        kept: list[gs.Node] = []
        missing: set[int] = set()
        for node in self.group:
            if id(node) in nodes:
                self._refuse(node, reason)
            elif not any(id(tensor) in missing for tensor in node.inputs):
                kept.append(node)
                continue
            missing.update(id(tensor) for tensor in node.outputs)
        self.group = kept

    def evaluate(self) -> list[gs.Node]:
        """Compute the group; return who reads its results."""
        group, self.group = self.group, []
        return self._evaluate(group) if group else []

    def _static_value(self, node: gs.Node) -> Array | None:
        """Return what `node` computes where that needs no evaluation."""
        if node.op == "Constant" and self._view.is_output(node.outputs[0]):
            return None
        return static_value(node, self._view)

    def _is_ready(self, node: gs.Node) -> bool:
        """Say whether `node` can be computed in this group, within the size limit."""
        inputs = [t for t in node.inputs if not t.is_empty()]
        if node.op == "CastLike":
            if self._view.dtype(node.inputs[1]) is None:
                return False
            inputs = inputs[:1]
        sizes = [self._bytes_of_input(t) for t in {id(t): t for t in inputs}.values()]
        if any(size is None for size in sizes):
            return False
        total = sum(size for size in sizes if size is not None)
        real = all(self._view.is_constant(t) for t in inputs)
        for tensor in node.outputs:
            if tensor.is_empty():
                continue
            size = self._bytes_of_output(node, tensor, real)
            if size is None and not real:
                return False  # comes back once its inputs are constants
            if size is None and node.op in _BOUNDED:
                size = 8 * total
            if size is None:
                return self._refuse(node, "the size of its result cannot be told beforehand")
            if size > max(self._limit, total):
                return self._refuse(
                    node,
                    f"its result of {size} bytes outgrows its inputs of {total} bytes and "
                    f"size-limit={self._limit}",
                )
            self.sizes[id(tensor)] = size
        return True

    def _refuse(self, node: gs.Node, reason: str) -> bool:
        self._refused.add(id(node))
        self._context.decline(node, reason)
        return False

    def _bytes_of_input(self, tensor: gs.Tensor) -> int | None:
        values = self._view.constant(tensor)
        return values.nbytes if values is not None else self.sizes.get(id(tensor))

    def _bytes_of_output(self, node: gs.Node, tensor: gs.Tensor, real: bool) -> int | None:
        found = self._view.type(tensor)
        if (found is None or not is_static(found.shape)) and real:
            found = infer_alone(self._scope, node, tensor)
        return byte_size(found)

    def _evaluate(self, group: Sequence[gs.Node]) -> list[gs.Node]:
        """Compute `group` in one session, or node by node where that fails; return who reads it."""
        inside = {id(node) for node in group}
        wanted = [
            tensor
            for node in group
            for tensor in node.outputs
            if not tensor.is_empty()
            and (
                self._view.is_output(tensor)
                or any(id(reader) not in inside for reader in self._view.readers(tensor))
            )
        ]
        self.sizes.clear()
        if not wanted:
            return []  # nobody reads any of it: dead code
        try:
            values = evaluate(
                self._scope,
                [evaluable_form(node, self._view) for node in group],
                self._typed(wanted),
            )
        except ExecutionError as error:
            if len(group) == 1:
                self._refuse(group[0], f"the reference runtime cannot compute it: {error}")
                return []
            return [reader for node in group for reader in self._evaluate_alone(node)]
        readers: list[gs.Node] = []
        done = self._edit.count
        for tensor, value in zip(wanted, values, strict=True):
            readers += self._materialize(tensor, value, None)
        if self._edit.count > done:
            for node in reversed(group):
                self._remove_if_unread(node)
        return readers

    def _evaluate_alone(self, node: gs.Node) -> list[gs.Node]:
        inputs = evaluable_form(node, self._view).inputs
        if all(t.is_empty() or self._view.is_constant(t) for t in inputs):
            return self._evaluate([node])
        return []

    def _typed(self, tensors: Iterable[gs.Tensor]) -> list[gs.Tensor]:
        return [gs.Variable(t.name, self._view.dtype(t)) for t in tensors]

    def _materialize(
        self, tensor: gs.Tensor, value: Array, producer: gs.Node | None
    ) -> list[gs.Node]:
        """Make the readers of `tensor` read `value`; return them."""
        readers = self._view.readers(tensor)
        node = producer or self._edit.uses.producer(tensor)
        if node is None:
            return []
        is_output = self._view.is_output(tensor)
        if not readers and (not is_output or node.op == "Constant" or len(node.outputs) > 1):
            return []
        if not self._edit.begin():
            return []
        if readers:
            constant = self._edit.constant(value, tensor.name)
            self._edit.replace(tensor, constant)
            if not is_output and len(node.outputs) == 1:
                self._edit.take_name(constant, tensor)
        if is_output and node.op != "Constant" and len(node.outputs) == 1:
            self._edit.remove(node)
            self._edit.node(
                "Constant", [], [tensor], {"value": gs.Constant("value", value)}, at=node
            )
        elif producer is not None:
            self._remove_if_unread(producer)
        self._context.accept(node)
        return readers

    def _remove_if_unread(self, node: gs.Node) -> None:
        gone = self._edit.uses.scope(node) is None
        if not gone and not any(
            self._view.is_output(t) or self._view.readers(t) for t in node.outputs
        ):
            self._edit.remove(node)


def _deciders(scope: gs.Graph, view: View) -> list[gs.Node]:
    """Return the nodes of `scope` whose results serve the conditions of If nodes alone."""
    found: list[gs.Node] = []
    inside = {id(node) for node in scope.nodes if node.op == "If" and is_standard(node)}
    pending = [node.inputs[0] for node in scope.nodes if id(node) in inside]
    while pending:
        node = view.producer(pending.pop())
        if node is None or id(node) in inside or subgraphs_of(node):
            continue
        if all(id(r) in inside for t in node.outputs for r in view.readers(t)) and not any(
            view.is_output(t) for t in node.outputs
        ):
            inside.add(id(node))
            found.append(node)
            pending.extend(node.inputs)
    return found
