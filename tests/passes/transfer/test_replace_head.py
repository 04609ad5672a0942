"""A new last layer: what is found, what follows from it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.core.errors import PassError, PipelineError

from tests.helpers import graph_of, model_using, ops, relative_error, run_ort, run_pass

generator = np.random.default_rng(0)


def normal(*shape):
    return generator.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(7, 6),
    "m": normal(6, 7),
    "b": normal(7),
    "k": normal(7, 6, 1, 1),
    "g": normal(7, 1, 1, 1),
    "v": normal(8, 6),
    "t7": np.array([0, 7]),
    "flat": np.array([0, -1]),
    "ends": np.array([-1, 7]),
    "split": np.array([-1, 1]),
    "two": np.float32(2),
    "seven": normal(7),
}
X, IMAGE = normal(3, 6), normal(3, 6, 2, 2)

VECTORS = [
    "y = Gemm <transB = 1> (x, w, b)",
    "y = Gemm <alpha = 0.5> (x, m, b)",
    "y = Gemm (x, m)",
    "y = MatMul (x, m)",
    "p = MatMul (x, m) y = Add (b, p)",
    "h = Gemm <transB = 1> (x, w, b) y = Softmax (h)",
    "h = Gemm <transB = 1> (x, w, b) d = Div (h, two) y = LogSoftmax <axis = 1> (d)",
    "h = Gemm <transB = 1> (x, w, b) y = Reshape (h, t7)",
    "h = Gemm <transB = 1> (x, w, b) y = Reshape (h, ends)",
]
IMAGES = [
    "y = Conv (x, k, b)",
    "c = Conv (x, k) p = GlobalAveragePool (c) y = Flatten (p)",
    "c = Conv (x, k, b) r = Relu (c) p = GlobalAveragePool (r) y = Reshape (p, flat)",
    "c = Conv (x, k, b) p = ReduceMean <axes = [2, 3], keepdims = 0> (c) y = Reshape (p, t7)",
    "c = Conv (x, k, b) y = Transpose <perm = [0, 2, 3, 1]> (c)",
]


def model(body, opset=13, outputs=""):
    source = "float[N, 6, 2, 2] x" if "Conv" in body else "float[N, 6] x"
    return model_using(WEIGHTS, body, source, opset=opset, outputs=outputs)


def data(graph):
    return IMAGE if len(graph.inputs[0].shape) == 4 else X


def constants(graph):
    return {t.name: t.values for node in graph.nodes for t in node.inputs if hasattr(t, "values")}


@pytest.mark.parametrize("body", VECTORS + IMAGES)
@pytest.mark.parametrize("classes", [1, 4, 12])
def test_the_layer_gets_so_many_outputs_and_the_rest_stays(body, classes):
    graph = planish.load(model(body))
    result = run_pass(graph, f"replace-head{{classes={classes}}}")
    assert result.edits == 1
    assert ops(result.graph) == ops(graph)
    (y,) = run_ort(planish.to_model(result.graph), {"x": data(graph)}).values()
    (before,) = run_ort(model(body), {"x": data(graph)}).values()
    assert y.shape == tuple(classes if size == 7 else size for size in before.shape)
    declared = result.graph.outputs[0].shape
    assert declared[1:] == list(y.shape[1:])
    assert graph.outputs[0].shape != declared  # the given graph is left untouched
    weights = {name for name, values in constants(graph).items() if values.dtype.kind == "f"}
    assert weights <= set(constants(result.graph))  # names are kept
    assert not result.verified
    assert result.note == (
        "the outputs have changed by intent in pass 1 of 1, 'replace-head'; nothing was compared "
        "across it"
    )


def test_what_stands_before_and_behind_computes_as_before():
    body = "r = Relu (x) h = Gemm <transB = 1> (r, w, b) y = Softmax (h)"
    graph = run_pass(planish.load(model(body)), "replace-head{classes=40}").graph
    held = constants(graph)
    assert held["w"].shape == (40, 6)
    assert held["w"].dtype == np.float32
    assert not held["b"].any()
    scores = np.maximum(X, 0) @ held["w"].T
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    (found,) = run_ort(planish.to_model(graph), {"x": X}).values()
    assert relative_error(expected, found) <= 1e-5


@pytest.mark.parametrize("body", ["y = Gemm <transB = 1> (x, w, b)", "y = MatMul (x, m)"])
def test_weights_are_normal_with_a_variance_of_one_over_the_inputs(body):
    graph = run_pass(planish.load(model(body)), "replace-head{classes=5000}").graph
    weight = next(v for v in constants(graph).values() if v.ndim == 2)
    assert abs(weight.std() * np.sqrt(6) - 1) < 0.02
    assert abs(weight.mean()) < 0.01


def test_the_seed_decides_and_another_one_draws_again():
    graph = planish.load(model(VECTORS[0]))
    pipeline = planish.Pipeline.parse("replace-head{classes=4}")
    first, same, other = (
        constants(pipeline.run(graph, seed=seed).graph)["w"] for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    fresh = pipeline.run(pipeline.run(graph, seed=0).graph, seed=1)
    assert fresh.edits == 1  # as many outputs, and untrained all the same


def test_half_precision_stays():
    weights = {"w": WEIGHTS["w"].astype(np.float16), "b": WEIGHTS["b"].astype(np.float16)}
    text = "g (float16[N, 6] x) => (float16[N, 7] y) { y = Gemm <transB = 1> (x, w, b) }"
    graph = run_pass(graph_of(text, weights), "replace-head{classes=3}").graph
    assert {values.dtype for values in constants(graph).values()} == {np.dtype(np.float16)}


def test_a_shared_weight_keeps_its_values_for_the_others():
    body = "a = Gemm <transB = 1> (x, s) y = Gemm <transB = 1> (a, s)"
    shared = {"s": normal(6, 6)}
    before = model_using(shared, body, "float[N, 6] x")
    graph = run_pass(planish.load(before), "replace-head{classes=4}").graph
    held = constants(graph)
    assert np.array_equal(held["s"], shared["s"])
    assert held["s_new"].shape == (4, 6)


def test_outputs_that_share_a_head_change_together():
    body = "y = Gemm <transB = 1> (x, w, b) p = Softmax (y) l = ArgMax <axis = 1, keepdims = 0> (p)"
    before = model(body, outputs="float[] p, int64[] l, ")
    graph = run_pass(planish.load(before), "replace-head{classes=3}").graph
    found = run_ort(planish.to_model(graph), {"x": X})
    assert {name: array.shape for name, array in found.items()} == {
        "y": (3, 3),
        "p": (3, 3),
        "l": (3,),
    }


def test_one_of_several_heads_is_named():
    body = "y = Gemm <transB = 1> (x, w, b) z = Gemm <transB = 1> (x, v)"
    graph = planish.load(model(body, outputs="float[] z, "))
    with pytest.raises(PassError, match="the outputs 'z' and 'y' have a last layer each"):
        planish.Pipeline.parse("replace-head{classes=3}").run(graph)
    result = run_pass(graph, "replace-head{classes=3,output=z}")
    found = run_ort(planish.to_model(result.graph), {"x": X})
    assert found["z"].shape == (3, 3)
    assert found["y"].shape == (3, 7)
    with pytest.raises(PassError, match=r"no output 'zz' \(did you mean 'z'\?\)"):
        planish.Pipeline.parse("replace-head{classes=3,output=zz}").run(graph)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = Relu (x)", "no linear layer stands before output 'y'"),
        ("c = Conv <group = 7> (e, g) y = Flatten (c)", "a grouped convolution"),
        ("h = Gemm <transB = 1> (x, w, b) y = Mul (h, seven)", "stands between output 'y' and"),
        ("h = Gemm <transB = 1> (x, w, b) y, i = TopK (h, one)", "stands between output 'y' and"),
        ("h = Gemm <transB = 1> (x, w, b) y = Reshape (h, split)", "are not one axis of 'y'"),
        ("c = Conv (x, k, b) y = Flatten (c)", "are not one axis of 'y'"),
        ("h = Gemm <transB = 1> (x, w, b) s = Shape (x) y = Reshape (h, s)", "is computed; run"),
        ("w2 = Relu (w) y = Gemm <transB = 1> (x, w2, b)", "the weight of Gemm is not constant"),
        (
            "h = Gemm <transB = 1> (x, w, b) q = Mul (h, seven) y = Softmax (h)",
            "what it does with another number of them is not known",
        ),
    ],
)
def test_what_is_no_head_is_refused_with_the_reason(body, reason):
    weights = {**WEIGHTS, "one": np.array([1])}
    source = "float[N, 6] x"
    if "group" in body:
        source = "float[N, 7, 2, 2] e"
    elif "Conv" in body:
        source = "float[N, 6, 2, 2] x"
    if "Shape" in body:
        source = "float[3, 7] x"
        weights["w"] = normal(7, 7)
    outputs = "float[] q, " if "q =" in body else ""
    graph = planish.load(model_using(weights, body, source, opset=13, outputs=outputs))
    with pytest.raises(PassError, match=reason):
        planish.Pipeline.parse("replace-head{classes=3,output=y}").run(graph)


@pytest.mark.parametrize("text", ["replace-head", "replace-head{classes=0}"])
def test_the_number_of_classes_is_needed(text):
    with pytest.raises(PipelineError, match="classes"):
        planish.Pipeline.parse(text)


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("resnet18", False),
        *(pytest.param(n, True, marks=pytest.mark.slow) for n in ("resnet18", "mobilenet_v2")),
    ],
)
def test_example_networks_get_a_new_head_and_train(name, whole):
    torch = pytest.importorskip("torch")
    from tests.networks import Network

    network = Network(name, whole)
    fresh = run_pass(network.traced(), "replace-head{classes=5}").graph
    module = planish.to_fx(fresh)
    assert module.state_dict().keys() == network.module().state_dict().keys()
    x = network.inputs(2)
    module(x).square().sum().backward()
    assert module(x).shape == (2, 5)
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())
