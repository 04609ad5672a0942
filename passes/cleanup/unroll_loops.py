"""Replace a Loop of a few known iterations by its body, once for each.

Loop(n, true, v; f) = f(n-1, ... f(1, f(0, v)) ...)      (ONNX operator Loop)

A scan output becomes Concat(Unsqueeze(s_0), ..., Unsqueeze(s_n-1)). A runtime runs the body of a
Loop as a graph of its own, without fusing across iterations, and every optimizer stops at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.build import make_variable
from ...ir.core.decline import DeclinedError, need
from ...ir.core.variables import is_standard, subgraphs_of
from ...ir.graph.edit import Edit
from ...ir.graph.uses import scopes
from ...ir.graph.view import View
from ...ir.ops.build import build_unsqueeze
from ...ir.ops.purity import draws
from ..analysis.constants.evaluation import constant_values
from ..engine.context import Context
from ..engine.contract import Pass
from .inlining import Inliner, Tensors


@dataclass(frozen=True)
class UnrollLoops(Pass):
    """Unroll a Loop whose number of iterations follows from constants and static shapes.

    Inner Loops are unrolled first. A body that draws random numbers is left alone: with a seed,
    each copy would draw the same.

    - `limit`: nodes that one unrolled Loop may consist of; inner Loops count as they are then.
    """

    name: ClassVar[str] = "unroll-loops"
    limit: int = 256

    def starts_at(self) -> frozenset[str]:
        """Return what is unrolled."""
        return frozenset({"Loop"})

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Unroll, infer types again and look at the Loops that are left, until none is known."""
        while True:
            left = False
            with context.editing() as edit:
                for level in reversed(_levels(graph)):
                    for scope in level:
                        left |= self._run_scope(scope, edit, context)
                    edit.commit()  # an outer body must hold what its inner Loops have become
            if not edit.count or not left:
                return

    def _run_scope(self, scope: gs.Graph, edit: Edit, context: Context) -> bool:
        """Unroll the Loops of `scope`, and say whether one is left."""
        view = context.view(scope)
        left = False
        for node in scope.nodes:
            if node.op == "Loop" and is_standard(node):
                left |= not self._unroll(node, view, edit, context)
        return left

    def _unroll(self, node: gs.Node, view: View, edit: Edit, context: Context) -> bool:
        try:
            site = _match(node, view, context.view(node.attrs["body"]), self.limit)
        except DeclinedError as reason:
            context.decline(node, str(reason))
            return False
        if not edit.begin():
            return False
        _rewrite(site, view, edit)
        context.accept(node)
        return True


@dataclass(frozen=True)
class _CountedLoop:
    node: gs.Node
    trips: int
    empty: tuple[np.ndarray[tuple[int, ...], np.dtype[np.generic]], ...]  # scans of no iteration


def _levels(graph: gs.Graph) -> list[list[gs.Graph]]:
    """Return the scopes of `graph` by depth."""
    levels = [[graph]]
    while levels[-1]:
        levels.append([g for scope in levels[-1] for n in scope.nodes for g in subgraphs_of(n)])
    return levels[:-1]


def _match(node: gs.Node, view: View, inside: View, limit: int) -> _CountedLoop:
    body: gs.Graph = node.attrs["body"]
    count = need(node.inputs[0] if node.inputs[0].name else None, "it has no trip count")
    first = node.inputs[1] if len(node.inputs) > 1 and node.inputs[1].name else None
    known = constant_values([count] if first is None else [count, first], view)
    trips = int(need(known.get(id(count)), "its trip count depends on the inputs").item())
    if first is not None and trips > 0:
        goes = need(known.get(id(first)), "whether it starts depends on the inputs")
        trips = trips if goes.item() else 0
    trips = max(trips, 0)
    if trips > 1 and not _passes_through(body, inside):
        values = constant_values(body.outputs[:1], inside)
        goes = need(values.get(id(body.outputs[0])), "its body computes whether it goes on")
        trips = trips if goes.item() else 1
    carried = len(node.inputs) - 2
    scans = body.outputs[1 + carried :]
    size = trips * (_size(body) + len(scans)) + len(scans)
    need(size <= limit, f"its {trips} iterations would become {size} nodes, over limit={limit}")
    need(not any(draws(inner) for inner in body.nodes), "its body draws random numbers")
    empty = [] if trips else [_empty_scan(tensor, inside) for tensor in scans]
    return _CountedLoop(node, trips, tuple(empty))


def _passes_through(body: gs.Graph, inside: View) -> bool:
    """Say whether the body's condition is the one it was given."""
    tensor = body.outputs[0]
    while (node := inside.producer(tensor)) is not None and node.op == "Identity":
        tensor = node.inputs[0]
    return tensor is body.inputs[1]


def _size(body: gs.Graph) -> int:
    return sum(len(scope.nodes) for scope in scopes(body))


def _empty_scan(
    tensor: gs.Tensor, inside: View
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    found = need(inside.type(tensor), "it has no iteration, and a result of unknown type")
    shape = need(found.shape, "it has no iteration, and a result of unknown rank")
    sizes = [d for d in shape if isinstance(d, int)]
    need(len(sizes) == len(shape), "it has no iteration, and a result of unknown size")
    return np.zeros((0, *sizes), found.dtype)


def _rewrite(site: _CountedLoop, view: View, edit: Edit) -> None:
    node = site.node
    body: gs.Graph = node.attrs["body"]
    carried: Tensors = list(node.inputs[2:])
    count = len(carried)
    results = list(node.outputs)
    scans: list[list[gs.Tensor]] = [[] for _ in body.outputs[1 + count :]]
    edit.remove(node)
    inliner = Inliner(node, edit, view)
    goes = edit.constant(np.ones(_port_shape(body.inputs[1]), np.bool_), body.inputs[1].name)
    for trip in range(site.trips):
        number = np.full(_port_shape(body.inputs[0]), trip, np.int64)
        inputs = [edit.constant(number, body.inputs[0].name), goes, *carried]
        last = trip == site.trips - 1
        targets = _targets(results[:count], len(body.outputs)) if last else None
        values = inliner.copy(body, inputs, targets)
        carried = values[1 : 1 + count]
        for scan, value in zip(scans, values[1 + count :], strict=True):
            scan.append(value)
    inliner.deliver(carried, results[:count])
    if not site.trips:
        names = [tensor.name for tensor in body.outputs[1 + count :]]
        pairs = zip(site.empty, names, strict=True)
        inliner.deliver([edit.constant(values, name) for values, name in pairs], results[count:])
        return
    for scan, result in zip(scans, results[count:], strict=True):
        if result.name:
            _stack(scan, result, node, edit)


def _targets(results: Tensors, total: int) -> Tensors:
    """Return what the last copy shall produce: nothing for the condition and the scans."""
    return [make_variable(""), *results, *(make_variable("") for _ in range(total - 1))][:total]


def _port_shape(tensor: gs.Tensor) -> tuple[int, ...]:
    """Return the shape of the iteration number or condition: a scalar, or [1] if declared so."""
    return (1,) * len(tensor.shape or ())


def _stack(scan: Tensors, result: gs.Tensor, at: gs.Node, edit: Edit) -> None:
    """Add Concat(Unsqueeze(s_0), ...) along a new first axis."""
    parts: Tensors = [edit.variable(tensor.name) for tensor in scan]
    if len(scan) == 1:
        parts = [result]
    for tensor, part in zip(scan, parts, strict=True):
        build_unsqueeze(edit, tensor, part, [0], at=at)
    if len(scan) > 1:
        edit.node("Concat", parts, [result], {"axis": 0}, at=at)
