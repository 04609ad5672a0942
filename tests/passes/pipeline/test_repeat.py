"""Groups of passes that run until none of them edits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

import planish
from planish import Pipeline
from planish.ir.core.errors import PipelineError
from planish.passes.engine.contract import Pass
from planish.passes.pipeline.repeat import Repeat, members

from tests.helpers import graph_of, ops, reasons

# The Add of zeros hides behind an Identity, the dead Abs behind both.
CHAIN = """g (float[N, 4] x) => (float[N, 4] y) {
    a = Identity(x) b = Neg(a) c = Identity(b) d = Identity(c) y = Neg(d) }"""


@dataclass(frozen=True)
class RemoveOne(Pass):
    """Remove the first Identity, then wait for another pass to edit."""

    name: ClassVar[str] = "remove-one"

    def run(self, graph, context):
        with context.editing() as edit:
            for node in graph.nodes:
                if node.op == "Identity" and edit.begin():
                    edit.replace(node.outputs[0], node.inputs[0])
                    edit.remove(node)
                    break
        for node in graph.nodes:
            context.decline(node, f"{sum(n.op == 'Identity' for n in graph.nodes)} are left")


@dataclass(frozen=True)
class RenameNothing(Pass):
    """Count a change, as often as there are nodes over four."""

    name: ClassVar[str] = "tick"

    def run(self, graph, context):
        with context.editing() as edit:
            if len(graph.nodes) > 2 and edit.begin():
                edit.set_input(graph.nodes[0], 0, graph.nodes[0].inputs[0])


def test_each_pass_runs_again_after_edits_of_another():
    pipeline = Pipeline((Repeat((RemoveOne(), RenameNothing())),))
    result = pipeline.run(graph_of(CHAIN))
    assert ops(result.graph) == ["Neg", "Neg"]
    shown = [(r.name, r.round, r.edits) for r in result.records]
    assert shown == [
        ("remove-one", 1, 1),
        ("tick", 1, 1),
        ("remove-one", 2, 1),
        ("tick", 2, 1),
        ("remove-one", 3, 1),
    ]


def test_a_group_without_edits_runs_once():
    result = Pipeline.parse("repeat(eliminate-dead-code,fold-constants)").run(
        graph_of("g (float[N, 4] x) => (float[N, 4] y) { y = Neg(x) }")
    )
    assert [(r.name, r.round) for r in result.records] == [
        ("eliminate-dead-code", 1),
        ("fold-constants", 1),
    ]


def test_reasons_are_those_of_the_last_look():
    result = Pipeline((Repeat((RemoveOne(), RenameNothing())),)).run(graph_of(CHAIN))
    assert reasons(result) == {"0 are left"}


def test_passes_that_never_settle_are_stopped():
    @dataclass(frozen=True)
    class Again(RenameNothing):
        name: ClassVar[str] = "again"

    result = Pipeline((Repeat((RenameNothing(), Again())),)).run(graph_of(CHAIN))
    assert max(record.round for record in result.records) == 20


def test_limit_counts_over_rounds():
    pipeline = Pipeline((Repeat((RemoveOne(), RenameNothing())),))
    assert pipeline.run(graph_of(CHAIN), limit=3).edits == 3


@pytest.mark.parametrize(
    "text",
    [
        "repeat(fold-constants)",
        "repeat(fold-constants,eliminate-dead-code),fold-batchnorm",
        "fold-constants{size-limit=5},repeat(fold-constants{size-limit=7},fold-batchnorm)",
    ],
)
def test_text_round_trip(text):
    pipeline = Pipeline.parse(text)
    assert str(pipeline) == text
    assert Pipeline.parse(str(pipeline)) == pipeline


def test_groups_and_presets_stand_inside_a_group():
    outer = Pipeline.parse("repeat(repeat(fold-constants),cleanup)")
    assert len(outer.passes) == 1
    first, second, last = outer.passes[0].passes
    assert [each.name for each in first.passes] == ["fold-constants"]
    assert isinstance(second, Repeat)  # of the preset
    assert members(outer.passes[0]) == (*first.passes, *second.passes, last)
    assert all(isinstance(each, Pass) for each in members(outer.passes[0]))


def test_a_group_inside_ends_before_what_stands_behind_it_runs():
    @dataclass(frozen=True)
    class Last(RenameNothing):
        name: ClassVar[str] = "last"

    inner = Repeat((RemoveOne(), RenameNothing()))
    result = Pipeline((Repeat((inner, Last())),)).run(graph_of(CHAIN))
    shown = [(r.name, r.edits) for r in result.records]
    # `tick` ends when two nodes are left, and `last` finds no more.
    assert shown == [
        ("remove-one", 1),
        ("tick", 1),
        ("remove-one", 1),
        ("tick", 1),
        ("remove-one", 1),
        ("last", 0),
    ]


def test_a_group_inside_runs_again_after_edits_behind_it():
    inner = Repeat((RenameNothing(),))
    result = Pipeline((Repeat((inner, RemoveOne())),)).run(graph_of(CHAIN))
    assert ops(result.graph) == ["Neg", "Neg"]
    shown = [(r.name, r.round) for r in result.records if r.edits]
    assert shown == [
        ("tick", 1),
        ("remove-one", 1),
        ("tick", 2),
        ("remove-one", 2),
        ("tick", 3),
        ("remove-one", 3),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("repeat", r"expected '\(' after 'repeat', found the end"),
        ("repeat(fold-constants", r"expected ',' or '\)', found the end"),
        ("repeat()", "expected a pass name, found '\\)'"),
        ("repeat(fold-konstants)", "unknown pass 'fold-konstants'"),
        ("repeat{a=1}(fold-constants)", r"expected '\(' after 'repeat'"),
        ("fold-constants)", r"expected ',' between passes, found '\)'"),
        ("repeat(" * 30 + "fold-constants" + ")" * 30, "nested over 20 deep"),
    ],
)
def test_bad_groups_are_refused(text, message):
    with pytest.raises(PipelineError, match=message):
        Pipeline.parse(text)


def test_no_pass_may_be_called_repeat():
    with pytest.raises(planish.PlanishError, match="'repeat'"):
        planish.register_pass(lambda graph: None, name="repeat")
