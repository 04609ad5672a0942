"""set-shapes: a size that is a number gets a name, and the graph is right at any.

The oracle is what an exporter writes at each size, on ONNX Runtime.
"""

import re

import numpy as np
import pytest

import planish

from tests.helpers import graph_of, run_ort
from tests.passes.interface import sized_networks as texts
from tests.passes.interface.sized_networks import model, of_numbers, set_shapes


def assert_right_at(found, network, *sizes):
    expected = model(network, *sizes)
    shape = [d.dim_value for d in expected.graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    got, want = run_ort(planish.to_model(found), feeds), run_ort(expected, feeds)
    for name, values in want.items():
        np.testing.assert_array_equal(got[name], values)


@pytest.mark.parametrize(
    "network",
    [texts.decoder, texts.pyramid, texts.heads, texts.cropped, texts.levels, texts.rows],
    ids=lambda f: f.__name__,
)
def test_every_size_is_right(network):
    old = planish.load(model(network, 2, 8, 12))
    found, told = set_shapes(old, ["x=N,?,H,W"])
    assert list(found.inputs[0].shape)[::2] == ["N", "H"]
    assert told[0].startswith("x: [2,")
    assert "-> [N," in told[0]
    for sizes in ((3, 4, 8), (1, 16, 16), (2, 8, 12)):
        assert_right_at(found, network, *sizes)


def test_sides_whose_products_agree_at_no_two_sets():
    found, _ = set_shapes(planish.load(model(texts.levels, 2, 8, 12)), ["x=?,?,H,W"])
    assert_right_at(found, texts.levels, 2, 6, 10)


def test_the_batch_alone():
    found, _ = set_shapes(planish.load(model(texts.classifier, 1, 8, 8)), ["x=N,?,?,?"])
    assert found.inputs[0].shape == ["N", 2, 8, 8]
    assert_right_at(found, texts.classifier, 5, 8, 8)


@pytest.mark.parametrize(
    ("nodes", "held", "words"),
    [
        ("y = AveragePool <kernel_shape = [24, 24]> (x)", "float n = {1}", "pool"),
        ("y = Div (x, n)", "float n = {24}", "24 was a size of an input"),
        (
            "y = Add (x, n)",
            f"float[24, 1] n = {{{', '.join(map(str, range(24)))}}}",
            "cannot be computed where the graph runs",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(nodes, held, words):
    with pytest.raises(planish.PlanishError, match="sizes cannot be set") as caught:
        set_shapes(of_numbers(nodes, held), ["x=1,4,H,W"])
    assert words in str(caught.value)
    assert "follow=" not in str(caught.value)  # which leads to a refusal too
    if " -> [" in str(caught.value):  # sizes that nobody gave are said to be none of a person's
        assert str(caught.value).endswith("(tried with H = 48, W = 72)")


@pytest.mark.parametrize(("batch", "said"), [("N", "N"), ("?", "axis 0 of 'x'")])
def test_a_number_that_stands_for_an_open_size_is_said_to(batch, said):
    text = f"g (float[{batch}, 4, 6, 6] x) => (float[] y) <int64[2] s = {{-1, 18}}>"
    graph = graph_of(f"{text} {{ y = Reshape(x, s) }}")
    number = r"it reshapes \[(\d+), 4, 6, 6\]"
    with pytest.raises(planish.PlanishError, match=number) as caught:
        set_shapes(graph, ["x=?,4,9,6"])
    (size,) = re.findall(number, str(caught.value))
    assert str(caught.value).endswith(f" (tried with {said} = {size})")


def test_one_name_for_two_sizes():
    text = "g (float[2, 3] x) => (float[2, 3] y) { y = Relu (x) }"
    with pytest.raises(planish.PlanishError, match="would be both 2 and 3"):
        set_shapes(planish.load(texts.model_from_text(text)), ["x=N,N"])
