"""Chains of element-wise operators: how large their expressions are, and what they compute."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.backends.tvm.spec.chain import ChainStep, ElementwiseChain, StepInput

from tests.helpers import model_using, relative_error, run_ort

tirx = pytest.importorskip("tvm.tirx")


def _size(ops):
    """Return how much text it takes to write down the expression of `ops`, one after the other."""
    steps = tuple(ChainStep(op, (StepInput(i - 1),)) for i, op in enumerate(ops))
    start = tirx.Var("x", "float32")
    return len(str(ElementwiseChain(steps).apply(start, lambda i: None)))


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "HardSwish", "Elu"])
def test_expressions_grow_with_the_steps_alone(op):
    """Each of them writes its argument down several times."""
    one, two, three = (_size([op] * count) for count in (1, 2, 3))
    assert three - two <= two - one + 0.2 * one


def test_a_long_chain_of_exponentials_is_computed():
    weights = {"w": np.random.default_rng(0).standard_normal((8, 4, 3, 3)).astype(np.float32)}
    body = (
        "c = Conv <pads = [1, 1, 1, 1]> (x, w) a = Sigmoid(c) d = Tanh(a) e = HardSwish(d) "
        "f = Elu(e) y = Sigmoid(f)"
    )
    model = model_using(weights, body, "float[1, 4, 9, 9] x")
    feed = {"x": np.random.default_rng(1).standard_normal((1, 4, 9, 9)).astype(np.float32)}
    found = planish.lower(planish.load(model), backend="tvm", target="cpu", threads=1)(feed)
    assert relative_error(run_ort(model, feed)["y"], found["y"]) < 1e-6
