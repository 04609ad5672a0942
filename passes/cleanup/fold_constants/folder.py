"""Folding one scope: what can be computed now, how large it becomes, and who reads it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.build import make_variable
from ....ir.core.errors import ExecutionError
from ....ir.core.variables import is_standard, subgraphs_of
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.run.reference import evaluate
from ...analysis.constants.evaluation import byte_size, evaluable_form, infer_alone, may_fold
from ...analysis.constants.kernel_faults import why_not_computed
from ...analysis.constants.static_values import is_static, is_told, static_value, value_of_sizes
from ...analysis.sizes.shape_arithmetic import ShapeArithmetic, may_hold_sizes
from ...engine.context import Context

Array = np.ndarray[Any, Any]

_DECIDES = (
    "it decides an If alone; a constant condition would make the rank of one branch known to "
    "runtimes, which reject code that only the other branch's rank allows"
)
# Output size depends on values, but is never larger than the input's times its rank.
_BOUNDED = frozenset({"NonZero", "Unique", "Compress", "StringSplit"})


class Folder:
    """Folds one scope with a worklist: each node is looked at once for each of its inputs."""

    def __init__(self, scope: gs.Graph, edit: Edit, context: Context, limit: int) -> None:
        self._scope: gs.Graph = scope
        self._edit = edit
        self._context = context
        self._limit = limit
        self._view: View = context.view(scope)
        self._shapes = ShapeArithmetic()
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
                or not (is_told(node) or may_hold_sizes(node) or self._is_fed(node))
                or not may_fold(node, self._view.opset)
            ):
                continue
            value = self._static_value(node)
            if value is None and self._is_ready(node):
                group.append(node)
                taken.add(id(node))
                for tensor in node.outputs:
                    queue.extend(self._view.readers(tensor))
                continue
            if value is None and id(node) not in self._refused:
                value = value_of_sizes(node, self._view, self._shapes)
            if value is not None:
                look_at(self._materialize(node.outputs[0], value, node))
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

    def _is_fed(self, node: gs.Node) -> bool:
        """Say whether the first operand of `node` is known, or is computed in this group."""
        first = next((t for t in node.inputs if t.name), None)
        return first is None or self._view.is_constant(first) or id(first) in self.sizes

    def _is_ready(self, node: gs.Node) -> bool:
        """Say whether `node` can be computed in this group, within the size limit."""
        inputs = [t for t in node.inputs if t.name]
        if node.op == "CastLike":
            if self._view.dtype(node.inputs[1]) is None:
                return False
            inputs = inputs[:1]
        real = all(self._view.is_constant(t) for t in inputs)
        if not real and any(self._bytes_of_input(t) is None for t in inputs):
            return False
        reason = why_not_computed(node, self._view, self._view.constant)
        if reason:
            return self._refuse(node, reason) if real else False  # else it comes back
        sizes: dict[int, int] = {}
        for tensor in inputs:
            size = self._bytes_of_input(tensor)
            if size is None:
                return False
            sizes[id(tensor)] = size
        total = sum(sizes.values())
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
            values = self._computed(group, wanted)
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

    def _computed(self, group: Sequence[gs.Node], wanted: Sequence[gs.Tensor]) -> list[Array]:
        """Return the tensors `wanted`; what an Identity passes on is not copied.

        Raises ExecutionError where the reference runtime does not compute them.
        """
        passed: dict[int, Array | None] = {}
        for node in group:
            if node.op == "Identity":
                source = node.inputs[0]
                passed[id(node.outputs[0])] = passed.get(id(source), self._view.constant(source))
        asked = [t for t in wanted if passed.get(id(t)) is None]
        nodes = [evaluable_form(node, self._view) for node in group] if asked else []
        found = iter(evaluate(self._scope, nodes, self._typed(asked)) if asked else ())
        held = [passed.get(id(tensor)) for tensor in wanted]
        return [next(found) if values is None else values for values in held]

    def _evaluate_alone(self, node: gs.Node) -> list[gs.Node]:
        inputs = evaluable_form(node, self._view).inputs
        if all(t.is_empty() or self._view.is_constant(t) for t in inputs):
            return self._evaluate([node])
        return []

    def _typed(self, tensors: Iterable[gs.Tensor]) -> list[gs.Tensor]:
        return [make_variable(t.name, self._view.dtype(t)) for t in tensors]

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
