"""The driver of rewrites: fixpoint, scopes, limits and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

import planish
from planish.ir.core.decline import need
from planish.ir.core.errors import PassError
from planish.passes.engine.context import Context
from planish.passes.engine.rewrite import Rewrite, RewritePass, drive
from planish.passes.pipeline.pipeline import Pipeline

from tests.helpers import graph_of, model_of, ops


class NegNeg(Rewrite):
    """Neg(Neg(x)) = x where the inner one has no other reader."""

    ops: ClassVar[frozenset[str]] = frozenset({"Neg"})

    def __init__(self):
        self.tried = 0

    def match(self, node, view):
        self.tried += 1
        inner = view.producer(node.inputs[0])
        if inner is None or inner.op != "Neg":
            return None
        need(view.read_only_by(inner.outputs[0], node), "the inner Neg has other readers")
        need(not view.is_output(node.outputs[0]), "it is a graph output")
        return inner, node

    def rewrite(self, site, edit):
        inner, node = site
        edit.replace(node.outputs[0], inner.inputs[0])
        edit.remove(node)
        edit.remove(inner)


def _chain(count):
    body = "".join(f"n{i + 1} = Neg(n{i})\n" for i in range(count))
    return graph_of(f"g (float[2] n0) => (float[2] y) {{ {body} y = Relu(n{count}) }}")


def _drive(graph, rewrite=None, limit=None):
    context = Context(graph, limit=limit)
    drive(graph, (rewrite or NegNeg(),), context)
    return context


@pytest.mark.parametrize(("count", "left"), [(0, 0), (1, 1), (2, 0), (7, 1), (60, 0)])
def test_reaches_the_fixpoint(count, left):
    graph = _chain(count)
    context = _drive(graph)
    assert ops(graph) == ["Neg"] * left + ["Relu"]
    assert context.edits == count // 2
    assert _drive(graph).edits == 0


@pytest.mark.parametrize("limit", [0, 1, 3, 10])
def test_limit_stops_after_so_many_edits(limit):
    graph = _chain(10)
    context = _drive(graph, limit=limit)
    assert context.edits == min(limit, 5)
    assert ops(graph).count("Neg") == 10 - 2 * context.edits


def test_work_is_linear():
    def tried(count):
        rewrite = NegNeg()
        _drive(_chain(count), rewrite)
        return rewrite.tried

    assert tried(2000) < 5 * 2000
    assert tried(2000) < 10.5 * tried(200)


def test_declines_name_node_and_reason():
    graph = graph_of(
        """g (float[2] x) => (float[2] y, float[2] z) {
            a = Neg(x) b = Neg(a) y = Relu(b) c = Abs(a) d = Relu(c) e = Neg(d) z = Neg(e) }"""
    )
    context = _drive(graph)
    assert context.edits == 0
    assert [(d.node, d.reason) for d in context.declined] == [
        ("Neg -> 'b'", "the inner Neg has other readers"),
        ("Neg -> 'z'", "it is a graph output"),
    ]


def test_a_site_taken_in_by_another_is_not_declined():
    class Drop(Rewrite):
        """Decline every Neg and remove it together with the Relu that reads it."""

        ops = frozenset({"Neg", "Relu"})

        def match(self, node, view):
            need(node.op == "Relu", "only with a Relu")
            return node

        def rewrite(self, site, edit):
            neg = edit.uses.producer(site.inputs[0])
            edit.remove(site)
            edit.remove(neg)
            edit.node("Abs", neg.inputs, site.outputs, at=site)

    graph = graph_of("g (float[2] x) => (float[2] y) { a = Neg(x) y = Relu(a) }")
    context = _drive(graph, Drop())
    assert ops(graph) == ["Abs"]
    assert context.declined == ()


def test_subgraphs_are_rewritten_in_place():
    graph = graph_of(
        """g (float[2] x, bool t) => (float[2] y) {
            y = If (t) <then_branch = a () => (float[2] p) { u = Neg(x) v = Neg(u) p = Abs(v) },
                        else_branch = b () => (float[2] q) { q = Neg(x) }> }"""
    )
    context = _drive(graph)
    branches = graph.nodes[0].attrs
    assert context.edits == 1
    assert ops(branches["then_branch"]) == ["Abs"]
    assert ops(branches["else_branch"]) == ["Neg"]
    assert branches["then_branch"].nodes[0].inputs[0] is graph.inputs[0]


def test_patterns_do_not_cross_the_border_of_a_subgraph():
    graph = graph_of(
        """g (float[2] x, bool t) => (float[2] y) {
            u = Neg(x)
            y = If (t) <then_branch = a () => (float[2] p) { v = Neg(u) p = Abs(v) },
                        else_branch = b () => (float[2] q) { q = Abs(x) }> }"""
    )
    assert _drive(graph).edits == 0


def test_operators_of_other_domains_are_never_offered():
    graph = planish.load(
        model_of(
            """<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>
            g (float[2] x) => (float[2] y) { a = my.domain.Neg(x) b = my.domain.Neg(a)
            y = Relu(b) }"""
        )
    )
    rewrite = NegNeg()
    _drive(graph, rewrite)
    assert rewrite.tried == 0


def test_a_rewrite_may_bring_a_new_subgraph():
    class Wrap(Rewrite):
        """Put the branches of an If into another If, once."""

        ops = frozenset({"If", "Neg"})

        def match(self, node, view):
            return node if node.op == "If" and node.name != "wrapped" else None

        def rewrite(self, site, edit):
            copies = {name: graph.copy() for name, graph in site.attrs.items()}
            edit.remove(site)
            site.name = "wrapped"
            edit.node("If", site.inputs, site.outputs, copies, at=site)

    graph = graph_of(
        """g (float[2] x, bool t) => (float[2] y) {
            y = If (t) <then_branch = a () => (float[2] p) { v = Abs(x) p = Neg(v) },
                        else_branch = b () => (float[2] q) { q = Abs(x) }> }"""
    )
    assert _drive(graph, Wrap()).edits == 1


def test_a_rewrite_that_refuses_is_an_error_of_the_pass():
    class Late(NegNeg):
        def rewrite(self, site, edit):
            need(None, "too late")

    @dataclass(frozen=True)
    class LatePass(RewritePass):
        name: ClassVar[str] = "driver-late"

        def rewrites(self):
            return (Late(),)

    with pytest.raises(PassError, match=r"pass 1 of 1, 'driver-late': too late"):
        Pipeline((LatePass(),)).run(_chain(2), verify="off")


def test_progress_never_goes_back():
    graph = _chain(2000)
    seen = []
    context = Context(graph, progress=seen.append)
    drive(graph, (NegNeg(),), context)
    assert len(seen) > 5
    assert seen == sorted(seen)
    assert 0 < seen[0] < 0.5
    assert seen[-1] <= 1


class _DropWithoutCeil(Rewrite):
    """Remove every Ceil, and a Neg where no Ceil follows, however far away."""

    ops: ClassVar[frozenset[str]] = frozenset({"Neg", "Ceil"})

    def match(self, node, view):
        reader = node
        while node.op == "Neg" and reader is not None:
            if reader.op == "Ceil":
                return None
            reader = view.only_reader(reader.outputs[0])
        return node

    def rewrite(self, site, edit):
        edit.replace(site.outputs[0], site.inputs[0])
        edit.remove(site)


def test_what_an_edit_far_away_makes_possible_is_found_in_the_same_run():
    graph = graph_of(
        """g (float[2] x) => (float[2] y) {
            a = Neg(x) b = Abs(a) c = Abs(b) d = Ceil(c) y = Relu(d) }"""
    )
    assert _drive(graph, _DropWithoutCeil()).edits == 2
    assert ops(graph) == ["Abs", "Abs", "Relu"]
    assert _drive(graph, _DropWithoutCeil()).edits == 0
