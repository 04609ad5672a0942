"""What is shown as one: nodes of one call each, and no group that would close a circle."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.tools.report.build import GivenModel, model_report, two_models
from planish.tools.report.document import GroupEntry
from planish.tools.report.groups import without_circles

from tests.helpers import model_of
from tests.tools.report.conftest import MADE


def _residual(blocks):
    """Return a chain of blocks, Conv, Relu, Conv, sum with what comes in, Relu."""
    steps, x = [], "x"
    for b in range(blocks):
        steps.append(f"p{b} = Conv <pads = [1, 1, 1, 1]> ({x}, a{b}) q{b} = Relu(p{b})")
        steps.append(f"r{b} = Conv <pads = [1, 1, 1, 1]> (q{b}, b{b}) s{b} = Add({x}, r{b})")
        x = f"u{b}" if b < blocks - 1 else "y"
        steps.append(f"{x} = Relu(s{b})")
    return f"g (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y) {{ {' '.join(steps)} }}"


@pytest.fixture(scope="module")
def fused():
    rng = np.random.default_rng(0)
    names = (f"{name}{block}" for block in range(3) for name in "ab")
    weights = {name: rng.standard_normal((4, 4, 3, 3)).astype(np.float32) for name in names}
    return planish.Pipeline.parse("exact").run(model_of(_residual(3), weights)).graph


@pytest.mark.parametrize("portable", [False, True])
def test_a_sum_belongs_to_the_call_behind_what_it_adds_to(fused, portable):
    graph = planish.load(planish.to_model(fused, portable=portable))
    found = model_report(GivenModel(graph=graph, file="m"), made=MADE).graphs[0]
    operators = [[found.nodes[n].op for n in group.nodes] for group in found.groups]
    assert operators == [["Conv", "Relu"], ["Conv", "Add", "Relu"]] * 3
    assert without_circles(found.groups, found) == found.groups


def test_groups_that_would_close_a_circle_are_left_out():
    text = """g (float[2] x) => (float[2] y) {
        a = Relu(x) b = Neg(a) c = Abs(b) d = Exp(c) e = Add(d, a) y = Sqrt(e) }"""
    given = GivenModel(graph=planish.load(model_of(text)), file="m")
    graph = two_models(given, given, made=MADE).graphs[0]

    def group(*nodes):
        return GroupEntry(kind="fused", label="", nodes=nodes)

    around, crossing, alone = group(0, 2), (group(1, 4), group(2, 5)), group(3, 4)
    assert without_circles([around], graph) == ()  # what is between would stand on both sides
    assert without_circles([alone, group(0, 1)], graph) == (alone, group(0, 1))
    assert without_circles([*crossing, group(0)], graph) == (group(0),)
