"""Blocks of integers come nearer to the float network; all else stays as it was."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.core.errors import PlanishError
from planish.ir.graph.clone import clone
from planish.ir.run.reference import Reference
from planish.passes.recover.reconstruct_blocks import reconstruction

from tests.helpers import graph_of, ops
from tests.passes.recover.recover.small import TRAINED, data, feeds, teacher, weights

Array = np.ndarray[Any, Any]

QUANTIZE = "simplify,quantize{weights=int4,measure=false,guard=off}"
SAMPLES = 32
SMALL = """
    g (float[N, 4] x) => (float[N, 2] y)
    <float[4, 3] w1 = {0.9, -0.4, 0.3, 0.2, 0.7, -0.6, -0.3, 0.5, 0.8, 0.6, 0.1, -0.9},
     float[3] b1 = {0.1, -0.2, 0.3},
     float[3, 2] w2 = {0.7, -0.5, 0.4, 0.9, -0.8, 0.3}, float[2] b2 = {0.2, -0.1}>
    { h = Gemm (x, w1, b1)  r = Relu (h)  y = Gemm (r, w2, b2) }
"""


def small_feeds(samples: int = 16, seed: int = 0) -> list[dict[str, Array]]:
    """Return samples for the small graph, one a feed."""
    rows = np.random.default_rng(seed).standard_normal((samples, 1, 4)).astype(np.float32)
    return [{"x": row} for row in rows]


@functools.cache
def small(
    options: str = "steps=60,learning-rate=0.05", *, again: str = "", seed: int = 0
) -> planish.Result:
    """Return the small graph on integers, its blocks reconstructed."""
    text = f"quantize{{weights=int4,measure=false,guard=off}},reconstruct-blocks{{{options}}}"
    return planish.Pipeline.parse(f"{text}{again}").run(
        graph_of(SMALL), small_feeds(), verify="off", seed=seed
    )


@functools.cache
def quantized() -> gs.Graph:
    """Return the trained network with weights of 4 bits, rounded to nearest."""
    found = planish.Pipeline.parse(QUANTIZE).run(teacher(), feeds(SAMPLES, batch=8), verify="off")
    return found.graph


@functools.cache
def learned(options: str) -> planish.Result:
    """Return the same with its blocks reconstructed."""
    pipeline = planish.Pipeline.parse(f"{QUANTIZE},reconstruct-blocks{{{options}}}")
    return pipeline.run(teacher(), feeds(SAMPLES, batch=8), verify="off")


def decibels(graph: gs.Graph) -> float:
    """Return the SQNR of `graph` on samples that nothing was learned from."""
    images = {teacher().inputs[0].name: data()[0][TRAINED:]}
    wanted, found = (next(iter(Reference(g)(images).values())) for g in (teacher(), graph))
    return float(10 * np.log10(np.square(wanted).sum() / np.square(wanted - found).sum()))


@pytest.mark.slow
def test_outputs_come_nearer_on_other_samples() -> None:
    gained = decibels(learned("steps=200").graph) - decibels(quantized())
    assert gained >= 1.0
    assert "2 of 2 blocks better" in learned("steps=200").records[-1].remarks[-1]


def test_constants_alone_change() -> None:
    plain = small("steps=1,learning-rate=1e-9").graph
    found = small().graph
    assert ops(found) == ops(plain)
    old, new = weights(plain), weights(found)
    assert old.keys() == new.keys()
    for name, values in old.items():
        assert (new[name].dtype, new[name].shape) == (values.dtype, values.shape)
        if name.endswith("zero_point") or (name.startswith("w") and name.endswith("scale")):
            np.testing.assert_array_equal(new[name], values)
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    biases = {f"b{i}_{what}" for i in (1, 2) for what in ("quantized_1", "scale")}
    assert changed == {"x_scale", "r_scale", *biases}


def test_scales_of_biases_stay_those_of_input_times_weight() -> None:
    graph = small().graph
    made = {t.name: node for node in graph.nodes for t in node.outputs}
    for node in (n for n in graph.nodes if n.op == "Gemm"):
        x, w, b = (made[t.name] for t in node.inputs)
        expected = x.inputs[1].values * w.inputs[1].values
        np.testing.assert_allclose(b.inputs[1].values, expected, rtol=1e-6)


def test_a_seed_decides() -> None:
    one, other = (weights(small(seed=seed).graph) for seed in (0, 2))
    same = weights(small.__wrapped__().graph)
    assert all(np.array_equal(one[n], same[n]) for n in one)
    assert any(not np.array_equal(one[n], other[n]) for n in one)


def test_ranges_and_rounding_stay_where_that_is_asked() -> None:
    plain = weights(small("steps=1,learning-rate=1e-9").graph)
    fixed = weights(small("steps=60,learning-rate=0.05,learn-scales=false").graph)
    assert all(np.array_equal(plain[n], fixed[n]) for n in plain if n.endswith("scale"))
    rounded = weights(small("steps=60,learning-rate=0.05,learn-rounding=false").graph)
    for name, values in plain.items():
        if values.dtype.name == "int4":
            np.testing.assert_array_equal(rounded[name], values)


def test_a_second_run_makes_no_edit() -> None:
    result = small(again=",reconstruct-blocks{steps=20}")
    assert result.records[-2].edits
    assert not result.records[-1].edits
    assert "already" in result.records[-1].remarks[-1]


def test_what_does_not_help_other_samples_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = weights(small("steps=1,learning-rate=1e-9").graph)
    assert any(not np.array_equal(plain[n], weights(small().graph)[n]) for n in plain)
    monkeypatch.setattr(reconstruction, "_gain", lambda before, after: -1.0)
    left = small.__wrapped__()
    assert all(np.array_equal(plain[n], weights(left.graph)[n]) for n in plain)
    assert any("not make the outputs better" in text for text in left.records[-1].remarks)
    assert not left.records[-1].edits


def test_a_graph_quantized_before_names_its_float_network(tmp_path: Any) -> None:
    quantize = planish.Pipeline.parse("quantize{weights=int4,measure=false,guard=off}")
    integers = quantize.run(graph_of(SMALL), small_feeds(), verify="off").graph
    alone = planish.Pipeline.parse("reconstruct-blocks")
    result = alone.run(integers, small_feeds(), verify="off")
    assert not result.records[-1].edits
    assert "teacher=path" in result.records[-1].remarks[-1]
    planish.save(graph_of(SMALL), tmp_path / "float.onnx")
    named = planish.Pipeline.parse(
        f"reconstruct-blocks{{steps=60,learning-rate=0.05,teacher={tmp_path / 'float.onnx'}}}"
    )
    taught = named.run(integers, small_feeds(), verify="off").graph
    within = small().graph
    assert all(np.array_equal(weights(within)[n], weights(taught)[n]) for n in weights(within))


def test_a_teacher_that_is_quantized_is_named(tmp_path: Any) -> None:
    def integers(width: int) -> gs.Graph:
        text = f"quantize{{weights=int{width},measure=false,guard=off}}"
        return planish.Pipeline.parse(text).run(graph_of(SMALL), small_feeds(), verify="off").graph

    path = tmp_path / "integers.onnx"
    planish.save(integers(4), path)
    pipeline = planish.Pipeline.parse(f"reconstruct-blocks{{steps=2,teacher={path}}}")
    itself, other = (
        pipeline.run(integers(width), small_feeds(), verify="off").records[-1] for width in (4, 8)
    )
    assert not itself.edits
    assert f"{path} is this quantized graph itself" in itself.remarks[-1]
    assert f"{path} is quantized itself" in other.remarks[0]


def test_one_batch_in_four_judges_where_batches_are_fixed() -> None:
    graph = graph_of(SMALL.replace("N,", "8,"))
    rows = np.random.default_rng(0).standard_normal((4, 8, 4)).astype(np.float32)
    pipeline = planish.Pipeline.parse(
        "quantize{weights=int4,measure=false,guard=off},reconstruct-blocks{steps=2}"
    )
    few, enough = (
        pipeline.run(graph, [{"x": row} for row in rows[:count]], verify="off").records[-1]
        for count in (3, 4)
    )
    assert "24 of 32 samples at least" in few.remarks[-1]
    assert "on 8 samples not learned from" in enough.remarks[-1]


@pytest.mark.parametrize(
    ("graph", "count", "told"),
    [
        ("float", 16, "no layer is on integers"),
        ("integers", 3, "3 of 16 samples at least"),
        ("integers", 15, "15 of 16 samples at least"),
    ],
)
def test_nothing_is_done_for_a_reason(graph: str, count: int, told: str) -> None:
    text = "quantize{measure=false,guard=off}," if graph == "integers" else ""
    pipeline = planish.Pipeline.parse(f"{text}reconstruct-blocks")
    result = pipeline.run(graph_of(SMALL), small_feeds(count), verify="off")
    assert not result.records[-1].edits
    assert told in result.records[-1].remarks[-1]


def test_samples_are_asked_for() -> None:
    pipeline = planish.Pipeline.parse("quantize{measure=false,guard=off},reconstruct-blocks")
    with pytest.raises(PlanishError, match="real samples"):
        pipeline.run(graph_of(SMALL), verify="off")


@pytest.mark.parametrize(
    "option", ["steps=0", "batch=0", "learning-rate=0", "drop=1.5", "drop=-0.1"]
)
def test_options_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(PlanishError, match=option.partition("=")[0]):
        planish.Pipeline.parse(f"reconstruct-blocks{{{option}}}")


def test_the_given_graph_is_left_untouched() -> None:
    graph = graph_of(SMALL)
    before = weights(clone(graph))
    planish.Pipeline.parse("quantize{measure=false,guard=off},reconstruct-blocks{steps=2}").run(
        graph, small_feeds(), verify="off"
    )
    assert all(np.array_equal(before[n], weights(graph)[n]) for n in before)
