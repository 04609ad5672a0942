"""What was done for a pass that declines as a whole is undone, in attempts and without them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import planish
from planish import Pipeline
from planish.ir.core.errors import PassError, PipelineError
from planish.passes.engine.contract import Pass
from planish.passes.pipeline.attempt import Attempt
from planish.passes.pipeline.presets import PRESETS
from planish.passes.pipeline.repeat import Repeat

from tests.helpers import conv_batchnorm, graph_of, ops

CHAIN = "g (float[4] x) => (float[4] y) { a = Identity(x) y = Neg(a) }"


def _replace_first(context, op, by, constant=None):
    """Write the first `op` of the graph as `by`, once."""
    with context.editing() as edit:
        for node in context.graph.nodes:
            if node.op == op and edit.begin():
                inputs = list(node.inputs)
                if constant is not None:
                    inputs.append(edit.constant(np.float32(constant), "k"))
                result = node.outputs[0]
                edit.remove(node)
                edit.node(by, inputs, [result], at=node)
                return


@dataclass(frozen=True)
class Prepare(Pass):
    """Write -x as 2 x: a change of numbers that is for another pass."""

    name: ClassVar[str] = "prepare"
    exact: ClassVar[bool] = False
    prepares: ClassVar[bool] = True

    def run(self, graph, context):
        _replace_first(context, "Neg", "Mul", 2.0)


@dataclass(frozen=True)
class Between(Pass):
    """Write x as |x|: what a person asked for whatever becomes of the rest."""

    name: ClassVar[str] = "between"
    exact: ClassVar[bool] = False

    def run(self, graph, context):
        _replace_first(context, "Identity", "Abs")


@dataclass(frozen=True)
class Settle(Pass):
    """Write 2 x as x + 2; or edit and give up."""

    name: ClassVar[str] = "settle"
    exact: ClassVar[bool] = False
    settles: ClassVar[bool] = True
    gives_up: bool = True
    whole: bool = True
    fails: bool = False

    def run(self, graph, context):
        _replace_first(context, "Mul", "Add")
        if self.fails:
            raise ValueError("broken")
        if self.gives_up:
            context.go_back("it does not pay", whole=self.whole)


@dataclass(frozen=True)
class Last(Pass):
    """Write -x as exp x."""

    name: ClassVar[str] = "last"
    exact: ClassVar[bool] = False

    def run(self, graph, context):
        _replace_first(context, "Neg", "Exp")


def _run(*items, **options):
    return Pipeline(items).run(graph_of(CHAIN), **options)


def _edits(result):
    return [(record.name, record.edits) for record in result.records]


@pytest.mark.parametrize("verify", ["each", "end", "off"])
@pytest.mark.parametrize("strict", [True, False])
def test_what_prepares_is_undone_and_what_stands_between_runs_again(verify, strict):
    result = _run(Prepare(), Between(), Settle(), verify=verify, strict=strict)
    assert ops(result.graph) == ["Abs", "Neg"]
    assert _edits(result) == [("prepare", 0), ("between", 0), ("settle", 0), ("between", 1)]
    assert [record.undone for record in result.records] == ["it does not pay"] * 3 + [""]
    assert result.records[2].remarks == ("it does not pay", "undone with it: prepare, between")
    assert {(r.nodes_before, r.nodes_after) for r in result.records} == {(2, 2)}
    assert result.edits == 1
    errors = [record.error for record in result.records]
    assert errors[:3] == [None] * 3
    assert (errors[3] is None) == (verify == "off")


def test_what_prepares_is_kept_where_the_pass_is_content():
    result = _run(Prepare(), Settle(gives_up=False))
    assert ops(result.graph) == ["Identity", "Add"]
    assert _edits(result) == [("prepare", 1), ("settle", 1)]
    assert not any(record.undone for record in result.records)


def test_what_prepares_alone_is_kept():
    assert ops(_run(Prepare(), Between()).graph) == ["Abs", "Mul"]


def test_a_later_pass_may_use_what_an_earlier_one_does_not():
    result = _run(Prepare(), Settle(), Settle(gives_up=False))
    assert ops(result.graph) == ["Identity", "Add"]
    assert result.records[0].edits == 1


def test_what_was_used_is_not_undone_by_a_later_pass():
    result = _run(Prepare(), Settle(gives_up=False), Settle())
    assert ops(result.graph) == ["Identity", "Add"]


def test_what_prepares_for_a_pass_that_fails_is_undone():
    result = _run(Prepare(), Settle(fails=True), strict=False)
    assert ops(result.graph) == ["Identity", "Neg"]
    assert len(result.failures) == 1
    assert result.records[0].undone == "settle failed"
    with pytest.raises(PassError, match="broken"):
        _run(Prepare(), Settle(fails=True), strict=True)


def test_in_a_repeated_group_what_was_undone_is_not_done_again():
    result = _run(Repeat((Prepare(), Between(), Settle())))
    assert ops(result.graph) == ["Abs", "Neg"]


@pytest.mark.parametrize("verify", ["each", "end", "off"])
def test_an_attempt_is_undone_as_a_whole(verify):
    result = _run(Attempt((Prepare(), Between(), Settle()), (Last(),)), verify=verify)
    assert ops(result.graph) == ["Identity", "Exp"]
    assert [r.name for r in result.records if r.edits] == ["last"]


def test_an_attempt_ends_where_a_pass_goes_back():
    result = _run(Attempt((Prepare(), Settle(), Between()), (Last(),)), Between())
    assert [record.name for record in result.records] == ["prepare", "settle", "last", "between"]
    assert ops(result.graph) == ["Abs", "Exp"]


def test_an_attempt_that_holds_skips_what_is_otherwise():
    result = _run(Attempt((Prepare(), Settle(gives_up=False)), (Last(),)))
    assert ops(result.graph) == ["Identity", "Add"]
    assert [record.name for record in result.records] == ["prepare", "settle"]


def test_an_attempt_starts_at_its_own_first_pass():
    result = _run(Between(), Attempt((Prepare(), Settle())))
    assert ops(result.graph) == ["Abs", "Neg"]
    assert result.records[0].edits == 1


def test_a_pass_may_undo_what_prepares_alone():
    result = _run(Attempt((Between(), Prepare(), Settle(whole=False)), (Last(),)))
    assert ops(result.graph) == ["Abs", "Neg"]
    assert result.records[0].edits == 1


def test_outputs_are_compared_with_those_before_a_change_by_intent_that_was_undone():
    @dataclass(frozen=True)
    class Changes(Between):
        keeps_outputs: ClassVar[bool] = False

    result = _run(Attempt((Changes(), Settle()), (Last(),)), verify="end")
    assert result.records[-1].error is not None
    assert "by intent" not in result.note


TEXTS = [
    "attempt(fold-batchnorm,quantize)",
    "attempt(repeat(fold-affine,push-affine),quantize,otherwise(fold-affine,repeat(fold-pad)))",
]


@pytest.mark.parametrize("text", TEXTS)
def test_attempts_are_written_as_they_are_read(text):
    pipeline = Pipeline.parse(text)
    assert str(pipeline) == text
    assert Pipeline.parse(str(pipeline)) == pipeline


def test_within_another_group_the_passes_of_an_attempt_count():
    assert (
        str(Pipeline.parse("repeat(fold-pad,attempt(fold-affine,otherwise(push-affine)))"))
        == "repeat(fold-pad,fold-affine)"
    )
    assert (
        str(Pipeline.parse("attempt(fold-pad,attempt(fold-affine,otherwise(push-affine)))"))
        == "attempt(fold-pad,fold-affine)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "otherwise(fold-pad)",
        "attempt(otherwise(fold-pad))",
        "attempt(otherwise(fold-pad),fold-affine)",
        "attempt(fold-pad,otherwise(fold-affine),fold-batchnorm)",
        "repeat(fold-pad,otherwise(fold-affine))",
    ],
)
def test_otherwise_stands_last_in_an_attempt(text):
    with pytest.raises(PipelineError, match=r"stands last in 'attempt\(\.\.\.\)'"):
        Pipeline.parse(text)


FEEDS = [
    {"x": np.random.default_rng(seed).standard_normal((2, 3, 9, 9)).astype(np.float32)}
    for seed in range(4)
]
UNREACHABLE = "quantize{measure=false,min-sqnr=150}"


@pytest.mark.parametrize(
    "preparing",
    ["", "round-adaptively,", "correct-bias,", "equalize-ranges{per-channel=false},"],
    ids=["alone", "rounded", "corrected", "equalized"],
)
def test_a_graph_that_stays_float_is_that_of_exact_bit_for_bit(preparing):
    text = """g (float[N, 3, 9, 9] x) => (float[N, 8, 9, 9] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu(c) s = Mul(r, two)
        y = Conv <pads = [1, 1, 1, 1]> (s, v) }"""
    rng = np.random.default_rng(0)
    shapes = {"w": (8, 3, 3, 3), "b": (8,), "v": (8, 8, 3, 3)}
    weights = {k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
    weights["w"][0] *= 100
    graph = graph_of(text, weights | {"two": np.float32(2)})
    pairs = [(base, f"{base},{preparing}{UNREACHABLE}") for base in ("exact", "simplify")]
    for base, steps in (*pairs, ("exact", _with(PRESETS["int8"], UNREACHABLE))):
        expected = planish.to_model(Pipeline.parse(base).run(graph, FEEDS).graph)
        result = Pipeline.parse(steps).run(graph, FEEDS)
        found = planish.to_model(result.graph)
        assert found.SerializeToString() == expected.SerializeToString()
        assert any("is not reached" in remark for r in result.records for remark in r.remarks)
        assert not any(record.edits for record in result.records if not _is_exact(record))
        undone = {record.name for record in result.records if record.undone}
        named = preparing.partition("{")[0].rstrip(",")
        assert base == "exact" or named in undone | {""}


def _with(preset, quantize):
    """Return the text of `preset` with another pass in the place of `quantize`."""
    pipeline = Pipeline.parse(preset)
    (attempt,) = pipeline.passes
    (other,) = Pipeline.parse(quantize).passes
    (at,) = (n for n, each in enumerate(attempt.passes) if getattr(each, "name", "") == "quantize")
    passes = (*attempt.passes[:at], other, *attempt.passes[at + 1 :])
    return str(Pipeline((dataclasses.replace(attempt, passes=passes),)))


def _is_exact(record):
    (item,) = Pipeline.parse(record.text).passes
    return item.exact


def test_a_quantized_graph_is_not_prepared_once_more():
    graph = planish.load(conv_batchnorm())
    once = Pipeline.parse("fold-batchnorm,quantize{measure=false}").run(graph, FEEDS).graph
    result = Pipeline.parse("int8").run(once, FEEDS)
    assert result.edits == 0
