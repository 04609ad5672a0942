"""set-shapes: a model exported at one size is, at another, what its exporter writes there.

Each network is a text with its sizes in it, as exporters write them; the oracle is the text at the
new size, on ONNX Runtime.
"""

import numpy as np
import pytest

import planish
from planish.ir.files.text import model_from_text
from planish.passes.interface.set_shapes import set_shapes
from planish.passes.interface.set_shapes.between import between

from tests.helpers import run_ort
from tests.passes.interface.sized_networks import (
    NETWORKS,
    assert_same,
    decoder,
    model,
    over_places,
    over_rows,
    places,
    recurrent,
    rows,
    set_to,
)


@pytest.mark.parametrize(
    ("old", "new"), [((10, 4, 4), (1, 8, 6)), ((1, 4, 6), (3, 6, 4)), ((2, 8, 8), (2, 2, 4))]
)
@pytest.mark.parametrize("network", NETWORKS)
def test_what_an_exporter_writes_at_the_new_size(network, old, new):
    found, told = set_to(model(network, *old), network, *new)
    assert_same(model(network, *new), found)
    assert told[0].startswith("x: [")


@pytest.mark.parametrize(
    ("network", "old", "new"),
    [
        (over_places, (1, 8, 6), (1, 6, 8)),
        (over_places, (2, 4, 16), (2, 8, 8)),
        (over_places, (4, 4, 4), (1, 8, 8)),
        (over_rows, (2, 8, 8), (1, 16, 8)),
        (over_rows, (2, 8, 12), (1, 16, 16)),
        (over_rows, (2, 8, 8), (8, 2, 8)),
    ],
)
def test_a_number_that_stays_by_chance_hides_nothing(network, old, new):
    found, told = set_to(model(network, *old), network, *new)
    assert_same(model(network, *new), found)
    wanted = model(network, *new).graph.input[0].type.tensor_type.shape.dim
    assert any(line.endswith(f"-> {[d.dim_value for d in wanted]}") for line in told)
    assert not any(str(size) in line for line in told for size in (72, 96, 216, 288))


def test_sizes_in_between_are_larger_than_both():
    def through(was, now):
        return between({"x": was}, {"x": now}).get("x")

    assert through([1, 3, 64, 48], [1, 3, 48, 64]) == [1, 3, 192, 144]
    assert through([10, 3, 32, 32], [1, 3, 64, 64]) == [30, 3, 96, 96]  # alike stays alike
    assert through([1, 3, 30, 48], [1, 3, 33, 20]) == [1, 3, 30 * 17, 144]  # 17 = 1 (mod 16)
    assert through([1, 3, 8, 8], [1, 3, 16, 12]) is None  # all grow
    assert through(["N", 3, 0, 8], [1, 3, 4, 4]) is None


def test_rows_of_all_images():
    found, _ = set_to(model(rows, 2, 4, 4), rows, 5, 2, 6)
    assert_same(model(rows, 5, 2, 6), found)


def test_a_pool_to_some_places():
    found, told = set_to(model(places, 1, 8, 8), places, 1, 12, 16)
    assert_same(model(places, 1, 12, 16), found)
    assert "kernel_shape [4, 4] -> [6, 8]" in told[1]


SLIDES = """g (float[1, 1, 4, 4] x) => (float[1, 1, 1, 1] y)
    { [pool] y = AveragePool <kernel_shape = [4, 4]> (x) }"""


def test_a_window_that_may_slide_is_asked_about():
    graph = planish.load(model_from_text(SLIDES))
    with pytest.raises(planish.PlanishError, match=r"'pool'.*would pool as at the old size, or"):
        set_shapes(graph, ["x=1,1,8,8"])
    x = np.random.default_rng(0).random((1, 1, 8, 8)).astype("f")
    text = "set-shapes{{shapes=[x:1x1x8x8],{}=pool}}"
    follow, keep = (
        planish.Pipeline.parse(text.format(word)).run(graph, strict=True).graph
        for word in ("follow", "keep")
    )
    got = run_ort(planish.to_model(follow), {"x": x})["y"]
    np.testing.assert_allclose(got, x.mean((2, 3), keepdims=True), rtol=1e-6)
    assert run_ort(planish.to_model(keep), {"x": x})["y"].shape == (1, 1, 5, 5)


def test_a_size_that_a_transposed_convolution_is_told():
    def network(n, h, w):
        return f"""g (float[{n}, 1, {h}, {w}] x) => (float[{n}, 1, {h}, {w}] y)
        < float[1, 1, 2, 2] w = {{1, 2, 3, 4}} > {{
            p = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (x)
            y = ConvTranspose <strides = [2, 2], output_shape = [{h}, {w}]> (p, w) }}"""

    found, _ = set_to(model(network, 2, 8, 8), network, 1, 4, 12)
    assert_same(model(network, 1, 4, 12), found)


def test_the_first_state_of_a_recurrent_layer():
    found, _ = set_to(model(recurrent, 4, 3, 0), recurrent, 1, 5, 0)
    assert_same(model(recurrent, 1, 5, 0), found)


def test_what_is_told():
    _, told = set_to(model(decoder, 10, 4, 4), decoder, 1, 8, 6)
    assert told[0] == "x: [10,2,4,4] -> [1,2,8,6]; output y [1,2,8,6]"
    assert told[1] == "Resize -> 'r': sizes [10, 2, 4, 4] -> [1, 2, 8, 6]"
    assert told[2].startswith("no comparison at the new size says that these are right")


def test_a_size_with_a_name_is_bound_and_nothing_else_changes():
    text = "g (float[batch, 2, N] x, float[N] b) => (float[batch, 2, N] y) { y = Add (x, b) }"
    found, told = set_shapes(planish.load(model_from_text(text)), ["batch=1", "N=7"])
    assert [list(t.shape) for t in (*found.inputs, *found.outputs)] == [[1, 2, 7], [7], [1, 2, 7]]
    assert told == ("x: [batch,2,N] -> [1,2,7], b: [N] -> [7]; output y [1,2,7]",)


def test_a_size_that_is_bound_through_one_input_holds_for_the_others():
    text = "g (float[N, 2] x, float[N, 1] b) => (float[N, 2] y) { y = Add (x, b) }"
    found, _ = set_shapes(planish.load(model_from_text(text)), ["x=5,?"])
    assert list(found.inputs[1].shape) == [5, 1]


def test_states_that_were_folded_at_the_old_batch():
    def network(n, h, w):
        states = ", ".join(["0"] * (n * 2))
        return f"""g (float[{h}, {n}, 3] x) => (float[{h}, 1, {n}, 2] y)
        < float[1, 2, 3] a = {{1, 2, 3, 4, 5, 6}}, float[1, 2, 2] r = {{1, 2, 3, 4}},
          float[1, {n}, 2] z = {{{states}}}, int64[1] one = {{1}}, int64[1] two = {{2}} >
        {{ s = Shape (x) b = Gather (s, one) t = Concat <axis = 0> (one, b, two)
           e = Expand (z, t) y = RNN <hidden_size = 2> (x, a, r, , , e) }}"""

    for new in ((1, 9, 0), (4, 9, 0), (2, 3, 0)):
        found, _ = set_to(model(network, 3, 6, 0), network, *new)
        assert_same(model(network, *new), found)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["imput=1,2,3"], "no input and no symbolic size called 'imput' (did you mean 'input'?)"),
        (["bach=1"], "did you mean 'batch'?"),
        (["input=1,2"], "has 3 axes"),
        (["batch=1", "input=2,2,3"], "cannot be both 1 and 2"),
        (["batch=1,2"], "is one size"),
        (["input"], "gives no sizes"),
        (["input=a b,?c"], "gives no sizes"),
        (["input=b,2,3"], "is open already, as 'batch'"),
        (["batch=1", "batch=2"], "given twice"),
    ],
)
def test_what_cannot_be_asked(asked, words):
    text = "g (float[batch, 2, 3] input) => (float[batch, 2, 3] y) { y = Relu (input) }"
    with pytest.raises(planish.PlanishError) as caught:
        set_shapes(planish.load(model_from_text(text)), asked)
    assert words in str(caught.value)


def test_in_a_pipeline_feeds_are_of_the_new_size_and_compared_from_there_on():
    made = planish.load(model(decoder, 10, 4, 4))
    pipeline = planish.Pipeline.parse("set-shapes{shapes=[x:1x2x8x6]},exact")
    feeds = [{"x": np.ones((1, 2, 8, 6), np.float32)}]
    result = pipeline.run(made, feeds, strict=True)
    assert list(result.graph.inputs[0].shape) == [1, 2, 8, 6]
    assert "compared from pass 1" in result.note
    assert list(made.inputs[0].shape) == [10, 2, 4, 4]
    again = pipeline.run(result.graph, feeds, strict=True)
    assert again.edits == 0
    with pytest.raises(planish.PlanishError, match="has shape"):
        pipeline.run(made, [{"x": np.ones((1, 2, 5, 5), np.float32)}])


def test_passes_before_it_are_compared_at_the_old_size():
    made = planish.load(model(decoder, 10, 4, 4))
    result = planish.Pipeline.parse("exact,set-shapes{shapes=[x:1x2x8x6]}").run(made, strict=True)
    assert_same(model(decoder, 1, 8, 6), result.graph)


def test_constants_in_bodies():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[10, 4] x, bool c) => (float[10, 2, 2] y) {
        y = If (c) <
            then_branch = a () => (float[10, 2, 2] p) < int64[3] s = {10, 2, 2} > {
                r = Relu (x) p = Reshape (r, s) },
            else_branch = b () => (float[10, 2, 2] q) {
                t = Constant <value = int64[3] {10, 2, 2}> () q = Reshape (x, t) }
        > }"""
    found, told = set_shapes(planish.load(model_from_text(text)), ["x=3,4"])
    assert told[0] == "x: [10,4] -> [3,4]; output y [3,2,2]"
    x = np.arange(-6, 6, dtype=np.float32).reshape(3, 4)
    for chosen, wanted in ((True, np.maximum(x, 0)), (False, x)):
        got = run_ort(planish.to_model(found), {"x": x, "c": np.array(chosen)})["y"]
        np.testing.assert_array_equal(got, wanted.reshape(3, 2, 2))


def test_lists_that_follow_from_lists_are_known_however_many():
    # Each pads by the remainder of its own size, which inference does not compute.
    deep = 12
    lines = [
        f"s{i} = Shape (x{i}) m{i} = Mod (s{i}, five) p{i} = Concat <axis = 0> (none, m{i}) "
        f"x{i + 1} = Pad (x{i}, p{i})"
        for i in range(deep)
    ]
    text = (
        f"g (float[3, 7] x0) => (float[a, b] x{deep}) "
        "<int64[2] five = {5, 5}, int64[2] none = {0, 0}> { " + " ".join(lines) + " }"
    )
    found, _ = set_shapes(planish.load(model_from_text(text)), ["x0=3,9"])
    (made,) = run_ort(planish.to_model(found), {"x0": np.zeros((3, 9), np.float32)}).values()
    assert tuple(found.outputs[0].shape) == made.shape
