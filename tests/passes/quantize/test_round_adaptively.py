"""round-adaptively on graphs: what it rounds, how well, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

import planish
from planish.ir.core.errors import FeedError, PlanishError
from planish.ir.graph.clone import clone
from planish.ir.ops.linear.layer import write_layer
from planish.passes.analysis.observe import stages
from planish.passes.engine.context import Context
from planish.passes.quantize.grids.grid import lattice_steps
from planish.passes.quantize.rounding import layers as rounding_layers
from planish.passes.quantize.rounding.reconstruct import snap

from tests.effort import examples
from tests.helpers import graph_of, model_of, ops, reasons, relative_error, run_ort, run_pass
from tests.passes.quantize.rounding.small_network import TEXT
from tests.passes.quantize.rounding.small_network import feeds_of as _feeds
from tests.passes.quantize.rounding.small_network import run as _run
from tests.passes.quantize.rounding.small_network import weights as _weights
from tests.strategies import networks


def _error(model, graph, feeds):
    pairs = [(run_ort(model, f)["y"], run_ort(planish.to_model(graph), f)["y"]) for f in feeds]
    return sum(float(((a - b) ** 2).sum()) for a, b in pairs)


def _on_grid(graph, qmax):
    for node in graph.nodes:
        if node.op == "Conv":
            rows = node.inputs[1].values.reshape(len(node.inputs[1].values), -1)
            assert not np.isnan(lattice_steps(rows, qmax)).any()


def _weights_of(graph):
    return [node.inputs[1].values for node in graph.nodes if node.op == "Conv"]


@pytest.mark.parametrize("bits", [8, 4])
def test_error_on_other_samples_is_below_that_of_nearest_rounding(bits):
    model = model_of(TEXT, _weights())
    found = {}
    for name in ("round-adaptively", "correct-bias"):
        result = _run(planish.load(model), f"{name}{{bits={bits}}}", _feeds())
        assert result.edits == 3
        assert ops(result.graph) == ["Conv", "Relu", "Conv", "Relu", "Conv"]
        _on_grid(result.graph, 2 ** (bits - 1) - 1)
        found[name] = _error(model, result.graph, _feeds(seed=2))
    assert found["round-adaptively"] < 0.7 * found["correct-bias"]


def test_few_samples_and_random_feeds_are_not_worse_than_nearest():
    model = model_of(TEXT, _weights())
    graph = planish.load(model)
    usual = _run(graph, "correct-bias", _feeds(1)).graph
    few = _run(graph, "round-adaptively", _feeds(1)).graph
    blind = run_pass(graph, "round-adaptively", verify="off")
    errors = [_error(model, g, _feeds(seed=2)) for g in (usual, few, blind.graph)]
    assert max(errors[1:]) < 1.5 * errors[0]
    assert any("accuracy on real data is unknown" in r for r in blind.records[0].remarks)


def test_the_same_seed_gives_the_same_weights():
    graph = graph_of(TEXT, _weights())
    pipeline = "round-adaptively{positions=20}"
    saved = [
        planish.to_model(_run(graph, pipeline, _feeds()).graph).SerializeToString(
            deterministic=True
        )
        for _ in range(2)
    ]
    assert saved[0] == saved[1]


def test_parallel_rounding_and_one_step_a_layer():
    model = model_of(TEXT, _weights())
    options = "bits=4,sequential=false,per-channel=false"
    result = _run(planish.load(model), f"round-adaptively{{{options}}}", _feeds())
    weight = result.graph.nodes[0].inputs[1].values
    assert not np.isnan(lattice_steps(weight.reshape(1, -1), 7)).any()
    assert result.edits == 3


def test_layers_make_up_for_those_before_them():
    generator = np.random.default_rng(9)
    weights = {
        "w": generator.standard_normal((12, 3, 1, 1)).astype(np.float32),
        "v": generator.standard_normal((4, 12, 1, 1)).astype(np.float32),
    }
    model = model_of(
        "g (float[N, 3, 9, 9] x) => (float[] y) { a = Conv (x, w) y = Conv (a, v) }", weights
    )
    errors = []
    for sequential in ("true", "false"):
        pipeline = f"round-adaptively{{bits=4,sequential={sequential}}}"
        found = _run(planish.load(model), pipeline, _feeds()).graph
        errors.append(_error(model, found, _feeds(seed=2)))
    assert errors[0] < 0.5 * errors[1]


def test_matrices_keep_a_missing_bias_missing():
    generator = np.random.default_rng(3)
    weights = {k: generator.standard_normal((6, 6)).astype(np.float32) for k in "uvw"}
    weights["b"] = generator.standard_normal(6).astype(np.float32)
    text = """g (float[N, 5, 6] x) => (float[N, 5, 6] y) {
        a = MatMul (x, u)
        c = MatMul (a, v)
        d = Add (b, c)
        y = MatMul (d, w)
    }"""
    feeds = [{"x": generator.standard_normal((2, 5, 6)).astype(np.float32)} for _ in range(4)]
    model = model_of(text, weights)
    result = _run(planish.load(model), "round-adaptively", feeds)
    assert ops(result.graph) == ["MatMul", "MatMul", "Add", "MatMul"]
    assert result.edits == 3
    expected, found = (run_ort(m, feeds[0])["y"] for m in (model, planish.to_model(result.graph)))
    assert relative_error(expected, found) < 0.02


DECLINED = {
    "it is excluded": ("Conv (x, w)", "{exclude=[y]}"),
    "the weight of Conv is not constant": ("Conv (x, p)", ""),
    "its input is a constant, not something a sample changes": ("Conv (k, w)", ""),
}


@pytest.mark.parametrize("reason", DECLINED)
def test_layers_left_alone(reason):
    body, options = DECLINED[reason]
    generator = np.random.default_rng(4)
    arrays = {
        "w": generator.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "k": generator.standard_normal((1, 3, 9, 9)).astype(np.float32),
    }
    used = {key: array for key, array in arrays.items() if f"{key}" in body[5:]}
    graph = graph_of(
        f"g (float[1, 3, 9, 9] x, float[4, 3, 3, 3] p) => (float[] y) {{ y = {body} }}", used
    )
    graph.nodes[0].name = ""  # options then call it by its first output
    result = run_pass(graph, f"round-adaptively{options}", verify="off")
    assert result.edits == 0
    assert reasons(result) == {reason}


def test_shared_weights_stay_shared():
    weights = {"w": np.random.default_rng(5).standard_normal((3, 3, 3, 3)).astype(np.float32)}
    graph = graph_of(
        "g (float[1, 3, 9, 9] x) => (float[] y) { a = Conv (x, w) r = Relu (a) y = Conv (r, w) }",
        weights,
    )
    result = run_pass(graph, "round-adaptively", verify="off")
    assert result.edits == 0
    assert reasons(result) == {
        "its weights are shared with 1 other node, and rounding them apart would store them twice"
    }


def test_rounded_weights_are_not_rounded_again():
    graph = graph_of(TEXT, _weights())
    once = _run(graph, "round-adaptively", _feeds()).graph
    for name in ("round-adaptively", "correct-bias"):
        again = planish.Pipeline.parse(name).run(once, feeds=_feeds(), verify="off")
        assert again.edits == 0
        assert reasons(again) == {"its weights lie on a grid already"}


def test_nan_in_a_feed_names_tensor_and_sample():
    feeds = _feeds()
    feeds[2]["x"][0, 0, 0, 0] = np.nan
    with pytest.raises(PlanishError, match="holds NaN in sample 2"):
        planish.Pipeline.parse("round-adaptively").run(
            graph_of(TEXT, _weights()), feeds=feeds, verify="off"
        )


def test_bits_out_of_range_are_refused():
    with pytest.raises(PlanishError, match="rounds to 2 to 8 bits, not 9"):
        run_pass(graph_of(TEXT, _weights()), "round-adaptively{bits=9}", verify="off")


def test_nan_inside_names_tensor_and_sample():
    weights = {"w": np.random.default_rng(6).standard_normal((4, 3, 3, 3)).astype(np.float32)}
    graph = graph_of(
        "g (float[N, 3, 9, 9] x) => (float[] y) { l = Log (x) y = Conv (l, w) }", weights
    )
    feeds = [{"x": np.abs(feed["x"]) + 1} for feed in _feeds()]
    feeds[4]["x"][0, 0, 0, 0] = -1
    with pytest.raises(PlanishError, match="tensor 'l' holds NaN in sample 4"):
        _run(graph, "round-adaptively", feeds)


def test_layers_in_bodies_and_weights_that_a_caller_may_give_are_left_alone():
    weights = {"w": np.random.default_rng(7).standard_normal((3, 3, 3, 3)).astype(np.float32)}
    model = model_of(
        """g (bool c, float[N, 3, 9, 9] x) => (float[N, 3, 7, 7] y) {
            y = If (c) <
                then_branch = t () => (float[N, 3, 7, 7] a) { a = Conv (x, w) },
                else_branch = e () => (float[N, 3, 7, 7] b) { b = MaxPool <kernel_shape=[3,3]> (x) }
            >
        }""",
        weights,
    )
    result = run_pass(planish.load(model), "round-adaptively", verify="off")
    assert result.edits == 0
    assert reasons(result) == {
        "it stands in the body of an If, Loop or Scan, whose values are not seen"
    }
    (told,) = (text for text in result.records[0].remarks if "of a body" in text)
    assert told.startswith("1 layer of a body keeps its weights and biases: ")
    assert told.endswith("(a)")
    model = model_of("g (float[N, 3, 9, 9] x) => (float[] y) { y = Conv (x, w) }", weights)
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [3, 3, 3, 3])
    )
    result = run_pass(planish.load(model), "round-adaptively", verify="off")
    assert result.edits == 0
    assert reasons(result) == {"the weight of Conv is not constant"}


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_rounds_the_first_layers_and_leaves_the_others(limit):
    graph = graph_of(TEXT, _weights())
    steps = planish.Pipeline.parse("round-adaptively")
    whole = steps.run(graph, feeds=_feeds(), verify="off").graph
    part = steps.run(graph, feeds=_feeds(), verify="off", limit=limit)
    assert part.edits == limit
    convolutions = [[n for n in g.nodes if n.op == "Conv"] for g in (graph, part.graph, whole)]
    for number, (before, found, after) in enumerate(zip(*convolutions, strict=True)):
        expected = after if number < limit else before
        assert np.array_equal(found.inputs[1].values, expected.inputs[1].values)


def test_a_limit_within_a_stage_leaves_a_whole_graph():
    generator = np.random.default_rng(12)
    weights = {k: generator.standard_normal((4, 3, 3, 3)).astype(np.float32) for k in "wv"}
    text = """g (float[N, 3, 9, 9] x) => (float[] y) {
        a = Conv (x, w)
        b = Conv (x, v)
        y = Add (a, b)
    }"""
    graph = graph_of(text, weights)
    steps = planish.Pipeline.parse("round-adaptively")
    part = steps.run(graph, feeds=_feeds(), verify="off", limit=1)
    assert part.edits == 1
    assert ops(part.graph) == ["Conv", "Conv", "Add"]
    first, second = _weights_of(part.graph)
    whole = _weights_of(steps.run(graph, feeds=_feeds(), verify="off").graph)
    assert np.array_equal(first, whole[0])
    assert np.array_equal(second, weights["v"])


def _squared_error(layer, feeds, other):
    pairs = [(run_ort(layer, feed)["y"], run_ort(other, feed)["y"]) for feed in feeds]
    return sum(float(((a.astype(np.float64) - b) ** 2).sum()) for a, b in pairs)


def _nearest(weight, qmax):
    rows = weight.reshape(1, len(weight), -1).astype(np.float64)
    return snap(rows, qmax).reshape(weight.shape).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 4])
def test_eight_positions_do_not_spoil_a_layer_of_many_weights(bits):
    generator = np.random.default_rng(8)
    weight = generator.standard_normal((16, 16, 3, 3)).astype(np.float32)
    mix = generator.standard_normal((144, 144)).astype(np.float32) / 12

    def drawn(count):
        rows = np.maximum(generator.standard_normal((count, 144), np.float32) @ mix, 0)
        return [{"x": row.reshape(1, 16, 3, 3)} for row in rows]

    text = "g (float[1, 16, 3, 3] x) => (float[1, 16, 1, 1] y) { y = Conv (x, w) }"
    model = model_of(text, {"w": weight})
    found = _run(planish.load(model), f"round-adaptively{{bits={bits}}}", drawn(8)).graph
    usual = model_of(text, {"w": _nearest(weight, 2 ** (bits - 1) - 1)})
    others = drawn(100)
    own = _squared_error(model, others, planish.to_model(found))
    assert own < 1.25 * _squared_error(model, others, usual)


@given(
    seed=st.integers(0, 2**32 - 1),
    group=st.sampled_from((1, 2, 6)),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    batch=st.integers(1, 3),
    bits=st.sampled_from((2, 4, 8)),
)
@settings(max_examples=examples(30))
def test_one_layer_is_never_worse_than_nearest_on_the_feeds(
    seed, group, kernel, stride, batch, bits
):
    generator = np.random.default_rng(seed)
    weight = generator.standard_normal((6, 6 // group, kernel, kernel)).astype(np.float32)
    text = f"""g (float[N, 6, 7, 7] x) => (float[] y) {{
        y = Conv <group = {group}, strides = [{stride}, {stride}], pads = [1, 0, 0, 1]> (x, w)
    }}"""
    model = model_of(text, {"w": weight})
    draws = [generator.standard_normal((batch, 6, 7, 7), np.float32) for _ in range(3)]
    feeds = [{"x": np.maximum(draw + np.float32(0.5), 0)} for draw in draws]
    found = _run(planish.load(model), f"round-adaptively{{bits={bits}}}", feeds).graph
    own = _squared_error(model, feeds, planish.to_model(found))
    usual = model_of(text, {"w": _nearest(weight, 2 ** (bits - 1) - 1)})
    assert own <= _squared_error(model, feeds, usual) * (1 + 1e-4) + 1e-9


def test_a_layer_of_too_many_columns_is_rounded_in_blocks(monkeypatch):
    monkeypatch.setattr(stages, "MOST_COLUMNS", 20)
    model = model_of(TEXT, _weights())
    result = _run(planish.load(model), "round-adaptively{bits=4}", _feeds())
    _on_grid(result.graph, 7)
    assert list(result.records[0].remarks) == [
        "the inputs of 'a', 'y' are too many to be looked at together: only correlations within "
        "blocks of them count"
    ]
    usual = _run(planish.load(model), "correct-bias{bits=4}", _feeds()).graph
    own = _error(model, result.graph, _feeds(seed=2))
    assert own < 0.8 * _error(model, usual, _feeds(seed=2))


@given(case=networks())
@settings(
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_random_networks_load_and_run_and_a_second_run_edits_nothing(case):
    feeds = [case.feeds]
    graph = planish.load(case.model)
    steps = planish.Pipeline.parse("round-adaptively")
    try:
        result = steps.run(graph, feeds=feeds, verify="off")
    except FeedError:  # a network that makes NaN or infinity, which have a test of their own
        reject()
    expected = run_ort(case.model, case.feeds)
    found = run_ort(planish.to_model(result.graph), case.feeds)
    assert {k: (v.shape, v.dtype) for k, v in found.items()} == {
        k: (v.shape, v.dtype) for k, v in expected.items()
    }
    assert steps.run(result.graph, feeds=feeds, verify="off").edits == 0


def _rounded_to_nearest(graph, feeds):
    """Return a copy of `graph` with every layer that the pass rounds rounded to nearest instead."""
    copy = clone(graph)
    context = Context(copy, feeds)
    with context.editing() as edit:
        layers = rounding_layers.layers_to_round(copy, context.view(), context, 127, ())
        for layer in layers:
            kernel = layer.kernel()
            rows = kernel.weight.reshape(*kernel.weight.shape[:2], -1)
            assert edit.begin()
            rounded = replace(kernel, weight=snap(rows, 127).reshape(kernel.weight.shape))
            write_layer(edit, layer, rounded, like=context.infer().of(layer.node.outputs[0]))
    return copy


@given(case=networks())
@settings(
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_random_networks_are_about_as_near_as_with_nearest_rounding(case):
    feeds = [case.feeds]
    graph = planish.load(case.model)
    assume(not {"QuantizeLinear", "Round", "Floor", "Ceil"} & set(ops(graph)))  # whole steps apart
    try:
        found = _run(graph, "inline-fused-operators,round-adaptively{bits=8}", feeds)
    except FeedError:
        reject()
    plain = _run(graph, "inline-fused-operators", feeds).graph
    outputs = [
        run_ort(planish.to_model(g), case.feeds)
        for g in (plain, found.graph, _rounded_to_nearest(plain, feeds))
    ]
    for expected, own, usual in zip(*(o.values() for o in outputs), strict=True):
        if expected.dtype != np.float32 or not np.isfinite(expected).all():
            continue
        power = np.square(expected, dtype=np.float64).sum()
        errors = [np.square(o.astype(np.float64) - expected).sum() for o in (own, usual)]
        # Each layer's output is what is fitted, not the network's: within 3 dB, or no error at all.
        assert errors[0] <= 2 * errors[1] + 1e-6 * power


@pytest.mark.parametrize(("isa", "most"), [("avx2", 63), ("avx512-vnni", 127)])
@pytest.mark.parametrize("name", ["round-adaptively", "correct-bias"])
def test_weights_are_rounded_to_the_grid_that_the_target_will_have(isa, most, name):
    """Rounding to another grid afterwards would undo what was fitted."""
    generator = np.random.default_rng(3)
    weights = {"w": generator.standard_normal((6, 3, 3, 3)).astype(np.float32)}
    graph = graph_of("g (float[N, 3, 9, 9] x) => (float[] y) { y = Conv (x, w) }", weights)
    target = f"cpu{{isa={isa}}}"
    rounded, result = (
        planish.Pipeline.parse(text).run(graph, _feeds(), verify="off", target=target)
        for text in (name, f"{name},quantize{{measure=false,guard=off}}")
    )
    (layer,) = (node for node in rounded.graph.nodes if node.op == "Conv")
    (pair,) = (
        node
        for node in result.graph.nodes
        if node.op == "DequantizeLinear"
        and isinstance(node.inputs[0], gs.Constant)
        and node.inputs[0].values.ndim == 4
    )
    integers, scale = (t.values.astype(np.float64) for t in pair.inputs[:2])
    assert np.abs(integers).max() in (most, most - 1)
    found = integers * scale.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(found, layer.inputs[1].values, rtol=1e-6, atol=1e-7)
