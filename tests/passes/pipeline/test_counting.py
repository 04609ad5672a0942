"""What counts as an edit: through the context, by hand, and both in one pass or pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

import planish
from planish import Pipeline, bisect
from planish.ir.core.errors import PassError, VerificationError
from planish.ir.graph.uses import scopes
from planish.passes.engine.contract import Pass
from planish.passes.engine.rewrite import Rewrite, RewritePass
from planish.passes.pipeline.builtin import BUILTIN, load_builtin
from planish.passes.pipeline.run import apply

from tests.helpers import conv_batchnorm, graph_of, ops

# Two pairs of Negs that cancel, and a Relu twice in a row.
CHAIN = """g (float[2, 3] x) => (float[2, 3] y) {
    a = Neg(x)  b = Neg(a)  c = Neg(b)  d = Neg(c)  e = Relu(d)  y = Relu(e) }"""


class NegNeg(Rewrite):
    ops: ClassVar[frozenset[str]] = frozenset({"Neg"})

    def match(self, node, view):
        inner = view.producer(node.inputs[0])
        return (inner, node) if inner is not None and inner.op == "Neg" else None

    def rewrite(self, site, edit):
        inner, node = site
        edit.replace(node.outputs[0], inner.inputs[0])
        edit.remove(node)
        edit.remove(inner)


@dataclass(frozen=True)
class ByRewrites(RewritePass):
    """Cancel pairs of Neg."""

    name: ClassVar[str] = "by-rewrites"

    def rewrites(self):
        return (NegNeg(),)


@dataclass(frozen=True)
class ThroughContext(Pass):
    """Cancel pairs of Neg, in a batch of its own."""

    name: ClassVar[str] = "through-context"

    def run(self, graph, context):
        with context.editing() as edit:
            view = context.view()
            for node in list(graph.nodes):
                found = NegNeg().match(node, view) if edit.uses.scope(node) is graph else None
                if found and edit.begin():
                    NegNeg().rewrite(found, edit)


@dataclass(frozen=True)
class ByHand(Pass):
    """Merge the two Relus, as a GraphSurgeon script does."""

    name: ClassVar[str] = "by-hand"

    def run(self, graph, context):
        relus = [node for node in graph.nodes if node.op == "Relu"]
        if len(relus) == 2:
            relus[0].outputs = relus[1].outputs
            relus[1].outputs = []
            graph.cleanup()


@dataclass(frozen=True)
class Both(Pass):
    """Cancel pairs of Neg through the context, then merge the Relus by hand."""

    name: ClassVar[str] = "both"

    def run(self, graph, context):
        ThroughContext().run(graph, context)
        ByHand().run(graph, context)


@dataclass(frozen=True)
class RewritesAndMore(ByRewrites):
    """Cancel pairs of Neg by rewrites, then merge the Relus by hand."""

    name: ClassVar[str] = "rewrites-and-more"

    def run(self, graph, context):
        super().run(graph, context)
        ByHand().run(graph, context)


@dataclass(frozen=True)
class Another(Pass):
    """Return another graph."""

    name: ClassVar[str] = "another"
    exact: ClassVar[bool] = False

    def run(self, graph, context):
        copy = graph.copy()
        copy.nodes[-1].op = "Identity"
        return copy


def _run(*passes, verify="each", **options):
    return Pipeline(passes).run(graph_of(CHAIN), verify=verify, **options)


@pytest.mark.parametrize("item", [ByRewrites(), ThroughContext()])
def test_edits_through_the_context_are_counted_as_those_of_built_in_passes(item):
    result = _run(item)
    assert result.records[0].edits == 2
    assert ops(result.graph) == ["Relu", "Relu"]
    assert result.error == 0
    assert Pipeline((item,)).run(result.graph).edits == 0


def test_a_rewrite_pass_is_not_watched_whoever_wrote_it(monkeypatch):
    monkeypatch.setattr(apply, "fingerprint", None)
    assert _run(ByRewrites()).edits == 2
    assert not apply.may_edit_by_hand(ByRewrites)
    assert apply.may_edit_by_hand(RewritesAndMore)
    assert apply.may_edit_by_hand(ThroughContext)
    assert not any(apply.may_edit_by_hand(load_builtin(name)) for name in BUILTIN)


def test_edits_by_hand_are_counted_by_what_has_changed():
    result = _run(ByHand())
    assert result.records[0].edits == 1  # the Relu whose output is another now
    assert ops(result.graph) == ["Neg"] * 4 + ["Relu"]


@dataclass(frozen=True)
class Halve(Pass):
    """Give a weight other values, or the same anew, by hand: `how` says whose array."""

    name: ClassVar[str] = "halve"
    exact: ClassVar[bool] = False

    how: str = "another"

    def run(self, graph, context):
        weights = graph.nodes[0].inputs[1]
        if self.how == "the same anew":
            weights.values = np.array(weights.values)
        else:
            weights.values = weights.values / 2
        weights.values.flags.writeable = self.how != "another, read-only"


@pytest.mark.parametrize(
    ("how", "edits"), [("another", 1), ("another, read-only", 1), ("the same anew", 0)]
)
def test_weights_are_changed_where_they_hold_other_values(how, edits):
    graph = graph_of("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Mul(x, w) }")
    assert Pipeline((Halve(how),)).run(graph, verify="off").edits == edits


def test_weights_that_a_script_writes_to_again_are_changed():
    @dataclass(frozen=True)
    class Twice(Halve):
        name: ClassVar[str] = "twice"

        def run(self, graph, context):
            weights = graph.nodes[0].inputs[1]
            if not weights.values.flags.writeable:
                weights.values = np.array(weights.values)
            weights.values[-1] *= 2

    large = {"w": np.ones(64, np.float32)}
    graph = graph_of("g (float[64] x) => (float[64] y) { y = Mul(x, w) }", large)
    result = Pipeline((Twice(), Twice())).run(graph, verify="off")
    assert [record.edits for record in result.records] == [1, 1]


@pytest.mark.parametrize("item", [Both(), RewritesAndMore()])
def test_a_pass_that_does_both_is_counted_by_the_context_and_checked(item):
    result = _run(item)
    assert (result.records[0].edits, result.records[0].nodes_after) == (2, 1)
    assert result.verified
    assert result.error == 0


def test_a_pass_that_does_both_with_nothing_for_the_context_is_counted_by_hand():
    result = _run(ByRewrites(), Both())
    assert [record.edits for record in result.records] == [2, 1]


def test_passes_after_edits_by_hand_see_the_graph_as_it_is():
    result = _run(ByHand(), ByRewrites(), Another(), *Pipeline.parse("cleanup").passes)
    assert [record.edits for record in result.records[:3]] == [1, 2, 1]
    assert ops(result.graph) == ["Identity"]


@pytest.mark.parametrize("limit", range(6))
def test_a_limit_holds_for_rewrites_and_takes_scripts_as_a_whole(limit):
    result = _run(ByRewrites(), ByHand(), limit=limit)
    assert [record.edits for record in result.records] == [min(limit, 2), int(limit > 2)]


class Wrong(NegNeg):
    """The second pair is replaced by its inner Neg."""

    def rewrite(self, site, edit):
        inner, node = site
        wrong = node.outputs[0].name == "d"
        edit.replace(node.outputs[0], inner.outputs[0] if wrong else inner.inputs[0])
        edit.remove(node)


class WrongRewrites(ByRewrites):
    """Cancel one pair of Neg wrongly."""

    name: ClassVar[str] = "wrong-rewrites"

    def rewrites(self):
        return (Wrong(),)


def test_bisect_finds_the_edit_of_a_rewrite_pass_from_elsewhere():
    found = bisect(Pipeline((ByHand(), WrongRewrites())), graph_of(CHAIN))
    assert (found.pass_name, found.edit, found.edit_in_pass) == ("wrong-rewrites", 3, 2)


class HandsOn(NegNeg):
    """Change the graph past `edit`."""

    def rewrite(self, site, edit):
        site[0].op = site[1].op = "Identity"


class HandsOnRewrites(ByRewrites):
    """Cancel pairs of Neg past `edit`."""

    name: ClassVar[str] = "hands-on-rewrites"

    def rewrites(self):
        return (HandsOn(),)


def test_a_rewrite_past_its_edit_is_refused():
    with pytest.raises(PassError, match=r"HandsOn matched .* make every change through `edit`"):
        _run(HandsOnRewrites())


@pytest.mark.parametrize(
    "pipeline",
    [
        "exact",
        "simplify,prune{amount=0.5,granularity=channel},shrink-channels{measure=false}",
        "simplify,quantize{measure=false},inline-fused-operators",
        "convert-opset{to=21},convert-precision,quantize-weights",
    ],
)
def test_built_in_passes_edit_through_the_context_alone(pipeline, monkeypatch):
    """So it makes no difference whether they are watched."""
    graph = planish.load(conv_batchnorm(bias=True))
    trusted = Pipeline.parse(pipeline).run(graph, verify="off")
    monkeypatch.setattr(apply, "may_edit_by_hand", lambda kind: True)
    watched = Pipeline.parse(pipeline).run(graph, verify="off")
    assert [r.edits for r in watched.records] == [r.edits for r in trusted.records]
    assert trusted.edits


@dataclass(frozen=True)
class OtherConstants(Pass):
    """Write other numbers into constants that are outputs: no node reads them."""

    name: ClassVar[str] = "other-constants"

    def run(self, graph, context):
        for scope in scopes(graph):
            for place, tensor in enumerate(scope.outputs):
                if isinstance(tensor, gs.Constant):
                    scope.outputs[place] = gs.Constant(tensor.name, tensor.values + 1)


@pytest.mark.parametrize("inside", [True, False], ids=["of a body", "of the graph"])
def test_a_constant_that_is_an_output_counts(inside) -> None:
    graph = planish.load(
        onnx.parser.parse_model(
            """<ir_version: 8, opset_import: ["" : 17]>
            g (bool c) => (float[1] y) <float[1] other = {7}> {
                y = If (c) <then_branch = t () => (float[1] k) <float[1] k = {1}> {},
                    else_branch = e () => (float[1] m) { m = Identity (other) }> }"""
            if inside
            else """<ir_version: 8, opset_import: ["" : 17]>
            g (float[1] x) => (float[1] y, float[1] k) <float[1] k = {1}> { y = Neg (x) }"""
        )
    )
    found = Pipeline([OtherConstants()]).run(graph, verify="off")
    assert found.records[0].edits == 1
    with pytest.raises(VerificationError):
        Pipeline([OtherConstants()]).run(graph, verify="each")
