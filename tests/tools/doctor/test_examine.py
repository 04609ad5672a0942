"""Whoever is made to be wrong is named: the file, an edit, the runtime, and what of it."""

from __future__ import annotations

import functools
import importlib.util
import os

import numpy as np
import onnx
import pytest

import planish
from planish.backends.contract.backend import Compiled
from planish.backends.onnxruntime.backend import OnnxRuntime
from planish.passes.pipeline import registry
from planish.tools.doctor import oracle
from planish.tools.doctor.examine import examine as examine_apart
from planish.tools.doctor.slower import why_slower
from planish.tools.reduce.case import Case

from tests.helpers import model_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")

# Where a crash is not the subject, nothing needs a process of its own.
examine = functools.partial(examine_apart, limits=None)

NETWORK = """
    g (float[1, 3, 6, 6] x) => (float[1, 4, 6, 6] y) {
        c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
        n = BatchNormalization (c, scale, shift, mean, var)
        y = Relu (n)
    }"""


def network(**others) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32)}
    weights |= {name: rng.uniform(0.5, 2, 4).astype(np.float32) for name in ("scale", "var")}
    weights |= {name: rng.standard_normal(4).astype(np.float32) for name in ("shift", "mean")}
    return model_of(NETWORK, weights | others)


@pytest.fixture
def runtime(monkeypatch):
    """Return a function that makes ONNX Runtime wrong where a condition on its options holds."""
    right = OnnxRuntime.lower

    class Negated(Compiled):
        def __init__(self, compiled):
            self._compiled = compiled

        def __call__(self, feeds):
            return {name: -array for name, array in self._compiled(feeds).items()}

        def save(self, path):
            raise NotImplementedError

    def wrong_if(condition):
        def lower(self, graph, target, threads, **options):
            compiled = right(self, graph, target, threads, **options)
            relu = any(node.op == "Relu" for node in graph.nodes)
            return Negated(compiled) if relu and condition(threads, options) else compiled

        monkeypatch.setattr(OnnxRuntime, "lower", lower)

    return wrong_if


def _steps(found):
    return {each.step: each.verdict for each in found.findings}


def test_nothing_is_wrong():
    found = examine([Case(network())], pipeline="exact")
    assert (found.culprit, found.node) == ("", "")
    assert set(_steps(found).values()) == {"right"}
    file, other, *steps = _steps(found)
    assert (file, steps) == ("file", ["pipeline 'exact'", "runtime 'onnxruntime'"])
    assert other == ("tract" if importlib.util.find_spec("tract") else "onnx.reference")


@pytest.mark.parametrize("level", ["basic", "extended", "all"])
def test_an_optimizer_is_named(runtime, level):
    name = {"basic": "ConvBNFusion", "extended": "ConvActivationFusion", "all": "NchwcTransformer"}
    ranks = ["none", "basic", "extended", "all"]

    def is_on(threads, options):
        asked = options.get("optimization", "all") or "none"
        left_out = options.get("disabled_optimizers", ())
        return ranks.index(asked) >= ranks.index(level) and name[level] not in left_out

    runtime(is_on)
    found = examine([Case(network())])
    assert found.culprit == f"ONNX Runtime's optimizer {name[level]}"
    assert f"disabled-optimizers=[{name[level]}]" in found.advice
    assert "Relu" in found.node


def test_threads_are_named(runtime):
    runtime(lambda threads, options: threads != 1)
    found = examine([Case(network())])
    assert found.culprit == "the number of threads"
    assert found.advice == "right with --threads 1"


def test_a_runtime_that_is_always_wrong_is_named(runtime):
    runtime(lambda threads, options: True)
    found = examine([Case(network())], pipeline="eliminate-dead-code")
    assert found.culprit == "runtime 'onnxruntime'"
    assert found.suspect(found.case) == "outputs differ"


def test_a_runtime_that_crashes_is_named(runtime):
    runtime(lambda threads, options: os.abort())
    found = examine_apart([Case(network())])
    assert found.culprit == "runtime 'onnxruntime'"
    told = [each.text for each in found.findings if each.verdict == "wrong"]
    assert set(told) == {"ends with SIGABRT"}


def test_an_edit_is_named():
    @planish.register_pass(name="broken-scales", exact=True)
    def broken_scales(graph):
        """Double a scale."""
        for node in graph.nodes:
            if node.op == "BatchNormalization":
                node.inputs[1].values = 2 * node.inputs[1].values

    try:
        found = examine([Case(network())], pipeline="broken-scales")
    finally:
        registry.REGISTERED.pop("broken-scales")
    assert "edit 1 of pass 'broken-scales'" in found.culprit
    assert found.suspect.backend == ""


def test_a_pass_that_is_rolled_back_is_named():
    def boom(graph):
        raise KeyError("boom")

    planish.register_pass(boom, exact=True)
    try:
        found = examine([Case(network())], pipeline="boom,exact")
    finally:
        registry.REGISTERED.pop("boom")
    assert found.culprit.startswith("planish: ")
    assert "'boom', was rolled back: " in found.culprit
    assert found.findings[-1].verdict == "wrong"


def test_what_the_checker_alone_minds_is_no_culprit():
    model = network()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    found = examine([Case(model)])
    assert (found.findings[0].verdict, found.culprit) == ("untold", "")
    assert "ONNX's checker: " in found.findings[0].text


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"mean": np.full(4, np.nan, np.float32)}, "'mean' has NaN"),
        ({"var": np.full(4, -1, np.float32)}, "'var', a variance, is negative"),
        ({"w": np.full((4, 3, 3, 3), np.inf, np.float32)}, "gives NaN or infinity throughout"),
        ({"w": np.ones((4, 2, 3, 3), np.float32)}, ""),
    ],
)
def test_a_file_that_is_wrong_is_named(weights, says):
    found = examine([Case(network(**weights))])
    assert found.culprit.startswith("the file: ")
    assert says in found.culprit


def test_a_kernel_that_means_something_else_is_named(monkeypatch):
    class Evaluator(oracle.ReferenceEvaluator):
        def run(self, names, feed):
            made = {"n", "y"}
            return [v + (k in made) for k, v in zip(names, super().run(names, feed), strict=True)]

    monkeypatch.setattr(oracle, "ReferenceEvaluator", Evaluator)
    monkeypatch.setattr(oracle, "_by_tract", oracle._by_onnx)
    found = examine([Case(network())])
    assert found.culprit.startswith("a kernel of ONNX Runtime")
    assert "BatchNormalization" in found.node


def test_one_that_agrees_is_enough(monkeypatch):
    pytest.importorskip("tract")
    monkeypatch.setattr(oracle, "_by_tract", lambda model, feed: {"y": feed["x"]})
    assert examine([Case(network())]).findings[1].step == "onnx.reference"


def test_the_sample_on_which_it_shows_is_taken(runtime):
    runtime(lambda threads, options: True)
    w = np.ones((4, 3, 3, 3), np.float32)
    model = network(w=w, shift=np.full(4, -9, np.float32), mean=np.zeros(4, np.float32))
    feeds = [{"x": np.full((1, 3, 6, 6), v, np.float32)} for v in (-1.0, 1.0)]
    found = examine([Case(model, feed) for feed in feeds])  # of the first, the Relu gives zeros
    assert found.case.feed["x"].max() == 1


def test_a_lost_fusion_is_named():
    graph = planish.load(network())
    other = planish.load(network())
    other.outputs.append(other.nodes[1].outputs[0])  # whoever reads it keeps the Relu apart
    assert "Relu" in why_slower(graph, other, 1)
    assert why_slower(graph, planish.load(network()), 1) == {}
