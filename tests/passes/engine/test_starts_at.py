"""Passes that say at which operators they start: where there are none of these, they do nothing."""

from __future__ import annotations

import pytest

import planish
from planish.ir.core.variables import subgraphs_of
from planish.passes.engine.context import Context
from planish.passes.engine.contract import Pass
from planish.passes.engine.rewrite import RewritePass
from planish.passes.pipeline.examples import read_example
from planish.passes.pipeline.registry import all_passes

from tests.helpers import graph_of

OWN = (Pass.starts_at, RewritePass.starts_at)
BUILT_IN = {n: kind for n, kind in all_passes().items() if kind.__module__.startswith("planish.")}
SAYING = [name for name, kind in BUILT_IN.items() if kind.starts_at not in OWN]


@pytest.fixture(scope="module")
def models():
    return [read_example(name).model() for name in BUILT_IN]


@pytest.mark.parametrize("name", SAYING)
def test_nothing_is_done_without_them(name, models):
    item, graphs = BUILT_IN[name](), list(map(planish.load, models))
    without = [g for g in graphs if not Context(g).nodes_with(item.starts_at())]
    assert 20 < len(without) < len(graphs)
    for graph in without:
        context = Context(graph)
        item.run(graph, context)
        assert (context.edits, context.changed, context.declined) == (0, False, ())


def test_nodes_by_operator_follow_edits_through_all_scopes():
    graph = graph_of(
        """g (float[2] x, bool c) => (float[2] y) {
            a = Relu(x)
            b = If(c) <then_branch = t () => (float[2] u) { u = Relu(a) },
                       else_branch = e () => (float[2] v) { v = Neg(a) }>
            d = Neg(b)
            y = Relu(d)
        }"""
    )
    context = Context(graph)

    def results(*ops):
        return [node.outputs[0].name for node in context.nodes_with(ops)]

    assert results("Relu") == ["a", "y", "u"]
    assert results("Neg", "Relu", "Abs") == ["a", "d", "y", "v", "u"]  # inner scopes behind
    with context.editing() as edit:
        first, branches = graph.nodes[:2]
        inner = subgraphs_of(branches)[0].nodes[0]
        edit.remove(inner)
        edit.node("Abs", inner.inputs, inner.outputs, at=inner)
        assert results("Relu") == ["a", "y", "u"]  # until they are written
    assert results("Relu") == ["a", "y"]
    assert results("Abs") == ["u"]
    assert first in context.nodes_with({"Relu"})
