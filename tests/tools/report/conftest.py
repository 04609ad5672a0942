"""Reports of a small network: what a pipeline made of it, with nothing measured but costs."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import planish
from planish.cli.show.run_json import run_json
from planish.passes.analysis.roofline import Machine
from planish.tools.report.build import GivenModel, run_report
from planish.tools.report.figures import Measuring
from planish.tools.report.page import page

from tests.helpers import model_of

EVIL = "</script><img src=x onerror=\"document.title='evil'\">{{7*7}}'\u2028\x1b[31m"
MADE = {"command": "planish optimize a.onnx", "versions": {"planish": "0"}, "machine": "m"}
MEASURING = Measuring(backends=(), machine=Machine(1e11, 1e10))
TEXT = """g (float[2, 3, 9, 9] x) => (float[2, 8, 9, 9] y) {
    [first] c = Conv <pads = [1, 1, 1, 1]> (x, w) [norm] n = BatchNormalization(c, s, b, m, v)
    [act] r = Relu(n) [evil] t = Sigmoid(r) [last] y = Mul(t, k) }"""


def small_model():
    """Return a network whose fourth node has a name that no page should take for its own."""
    rng = np.random.default_rng(0)
    weights = {n: rng.uniform(0.5, 2, 8).astype(np.float32) for n in "sbmv"}
    weights["w"] = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    weights["k"] = np.full((8, 1, 1), 0.5, np.float32)
    model = model_of(TEXT, weights)
    model.graph.node[3].name = EVIL
    return model


@pytest.fixture(scope="session")
def run():
    """Return the graph, the result and what JSON says of a run of `exact`."""
    graph = planish.load(small_model())
    result = planish.Pipeline.parse("exact").run(graph)
    told = run_json(result, None)
    return graph, result, json.loads(json.dumps(told))


@pytest.fixture(scope="session")
def document(run):
    """Return the report of that run."""
    graph, result, told = run
    return run_report(
        GivenModel(graph=graph, file=f"{EVIL}.onnx", bytes=1000),
        GivenModel(graph=result.graph, file="b.onnx", bytes=900),
        told,
        made=MADE,
        measuring=MEASURING,
    )


@pytest.fixture(scope="session")
def html(document):
    """Return its page."""
    return page(document)


def as_graph(model: onnx.ModelProto):
    """Return the graph of a model, as reports take it."""
    return planish.load(model)
