"""set-shapes: a model exported at one size is, at another, what its exporter writes there.

Each network is a text with its sizes in it, as exporters write them; the oracle is the text at the
new size, on ONNX Runtime.
"""

import numpy as np
import onnx
import pytest

import planish
from planish.ir.files.text import model_from_text
from planish.passes.interface.set_shapes import set_shapes
from planish.passes.interface.set_shapes.between import between
from planish.passes.interface.set_shapes.regroup import regrouped

from tests.helpers import run_ort

_HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'


def decoder(n, h, w):
    """Resized to the size of a skip connection, as `interpolate(size=skip.shape[2:])` is."""
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 2, {h}, {w}] y)
    < int64[4] sizes = {{{n}, 2, {h}, {w}}} >
    {{
       p = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x)
       q = Sigmoid (p)
       r = Resize <mode = "nearest"> (q, , , sizes)
       y = Add (r, x)
    }}"""


def pyramid(n, h, w):
    """A pool over everything, brought back to the size of the map: ASPP."""
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 4, {h}, {w}] y)
    < int64[4] sizes = {{{n}, 2, {h}, {w}}} >
    {{
       p = GlobalAveragePool (x)
       r = Resize <mode = "nearest"> (p, , , sizes)
       y = Concat <axis = 1> (r, x)
    }}"""


def heads(n, h, w):
    """Maps of two sizes as one list of boxes, and split again."""
    small = (h // 2) * (w // 2)
    large = h * w
    return f"""g (float[{n}, 6, {h}, {w}] x)
    => (float[{n}, 6, {small}] y, float[{n}, 2, 3, {large}] z)
    <
       int64[3] a = {{{n}, 6, {h * w}}}, int64[3] b = {{{n}, 6, -1}},
       int64[2] s = {{{h * w}, {small}}}, int64[4] d = {{{n}, 2, 3, {h * w}}}
    >
    {{
       p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
       u = Reshape (x, a)
       v = Reshape (p, b)
       c = Concat <axis = 2> (u, v)
       k, y = Split <axis = 2> (c, s)
       z = Reshape (k, d)
    }}"""


def rows(n, h, w):
    """A layer over the pixels of all images as one list, which is taken apart again."""
    return f"""g (float[{n}, 3, {h}, {w}] x) => (float[{n}, {h * w}, 3] y)
    <
       int64[3] a = {{{n}, 3, {h * w}}}, int64[2] f = {{{n * h * w}, 3}},
       int64[3] e = {{{n}, {h * w}, 3}}
    >
    {{
       u = Reshape (x, a)
       t = Transpose <perm = [0, 2, 1]> (u)
       m = Reshape (t, f)
       s = Softmax <axis = 1> (m)
       y = Reshape (s, e)
    }}"""


def tokens(n, h, w):
    """A class token for each image, heads of attention, the first token."""
    t = h * w + 1
    return f"""g (float[{n}, 4, {h}, {w}] x) => (float[{n}, 4] y)
    <
       float[1, 1, 4] cls = {{1, 2, 3, 4}}, int64[3] each = {{{n}, 1, 4}},
       int64[3] flat = {{{n}, 4, {h * w}}},
       int64[4] split = {{{n}, {t}, 2, 2}}, int64[3] join = {{{n}, {t}, 4}}, int64 first = {{0}}
    >
    {{
       c = Expand (cls, each)
       a = Reshape (x, flat)
       b = Transpose <perm = [0, 2, 1]> (a)
       d = Concat <axis = 1> (c, b)
       e = Reshape (d, split)
       f = Softmax <axis = 1> (e)
       i = Reshape (f, join)
       y = Gather <axis = 1> (i, first)
    }}"""


def cropped(n, h, w):
    """Cut to the size of another map, and to the end, which is a number here."""
    half = h // 2
    return f"""g (float[{n}, 1, {h}, {w}] x)
    => (float[{n}, 1, {h}, {w}] y, float[{n}, 1, {half}, {w}] z)
    <
       int64[2] starts = {{0, 0}}, int64[2] ends = {{{h}, {w}}}, int64[2] axes = {{2, 3}},
       int64[8] pads = {{0, 0, 0, 0, 0, 0, 1, 1}},
       int64[1] one = {{1}}, int64[1] last = {{{h}}}, int64[1] two = {{2}}
    >
    {{
       p = Pad (x, pads)
       c = Slice (p, starts, ends, axes)
       y = Add (c, x)
       z = Slice (x, one, last, two, two)
    }}"""


def recurrent(n, h, w):
    """A first state of zeros for each sample of the batch."""
    states = ", ".join(["0"] * (n * 2))
    return f"""g (float[{h}, {n}, 3] x) => (float[{h}, 1, {n}, 2] y)
    <
       float[1, 2, 3] a = {{1, 2, 3, 4, 5, 6}}, float[1, 2, 2] r = {{1, 2, 3, 4}},
       float[1, {n}, 2] s = {{{states}}}
    >
    {{ y = RNN <hidden_size = 2> (x, a, r, , , s) }}"""


def levels(n, h, w):
    """Maps of two sizes, each [N, H, W, anchors * 3] taken for [N, rest, 3]; groups of channels."""
    m = h * w * 2
    return f"""g (float[{n}, 6, {h}, {w}] x) => (float[{n}, {m}, 3] y, float[{n}, 2, {h * w * 3}] z)
    < int64[3] a = {{{n}, -1, 3}}, int64[3] b = {{{n}, 2, {h * w * 3}}} >
    {{
       t = Transpose <perm = [0, 2, 3, 1]> (x)
       y = Reshape (t, a)
       z = Reshape (x, b)
    }}"""


def flattened(n, h, w):
    """Rows of all images at once, whose number the rest is."""
    return f"""g (float[{n}, {h}, 3, {w}] x) => (float[{n * h}, 3, {w}] y)
    < int64[3] a = {{-1, 3, {w}}} > {{ y = Reshape (x, a) }}"""


def classifier(n, h, w):
    """A pool over everything, written as a window of that size: else no features fit."""
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 1] y) < float[2, 1] w = {{1, 2}} >
    {{ p = AveragePool <kernel_shape = [{h}, {w}]> (x) f = Flatten (p) y = MatMul (f, w) }}"""


def over_places(n, h, w):
    """A softmax over all places of a map, whose number stays where H and W are exchanged."""
    return f"""g (float[{n}, 3, {h}, {w}] x) => (float[{n}, 3, {h}, {w}] y)
    < int64[3] f = {{{n}, 3, {h * w}}}, int64[4] t = {{{n}, 3, {h}, {w}}} >
    {{ a = Reshape (x, f) b = Softmax <axis = 2> (a) y = Reshape (b, t) }}"""


def over_rows(n, h, w):
    """A softmax over each row of each image, of which there may be as many as before."""
    return f"""g (float[{n}, {h}, {w}, 2] x) => (float[{n}, {h}, {w}, 2] y)
    < int64[3] f = {{{n * h}, {w}, 2}}, int64[4] t = {{{n}, {h}, {w}, 2}} >
    {{ a = Reshape (x, f) b = Softmax <axis = 1> (a) y = Reshape (b, t) }}"""


def places(n, h, w):
    """A pool to two by two places, as windows side by side."""
    a, b, ones = h // 2, w // 2, ", ".join(["1"] * 8)
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 1] y) < float[8, 1] w = {{{ones}}} >
    {{
       p = MaxPool <kernel_shape = [{a}, {b}], strides = [{a}, {b}]> (x)
       f = Flatten (p)
       y = MatMul (f, w)
    }}"""


def planes(n, h, w):
    """A plane that is the same in all rows, one in all samples, and a size that an Expand keeps."""
    columns = ", ".join(["1, 2"] * h)
    return f"""g (float[{n}, 1, {h}, 2] x) => (float[{n}, 4, {h}, 2] y)
    <
       float[1, 1, {h}, 2] p = {{{columns}}}, int64[4] e = {{{n}, 2, {h}, 2}},
       int64[4] all = {{{n}, 1, {h}, 2}}
    >
    {{
       q = Expand (p, all)
       r = Expand (x, e)
       y = Concat <axis = 1> (x, q, r)
    }}"""


NETWORKS = [planes, decoder, pyramid, heads, tokens, cropped, levels, flattened, classifier]


def model(network, *sizes):
    return model_from_text(_HEADER + network(*sizes))


def set_to(made, network, *sizes):
    """Return `made` with the input that `network` has at `sizes`, and what was told."""
    wanted = model(network, *sizes).graph.input[0].type.tensor_type.shape.dim
    return set_shapes(planish.load(made), ["x=" + ",".join(str(d.dim_value) for d in wanted)])


def assert_same(expected, found):
    feeds = {
        t.name: np.random.default_rng(0)
        .standard_normal([d.dim_value for d in t.type.tensor_type.shape.dim])
        .astype(np.float32)
        for t in expected.graph.input
    }
    after = planish.to_model(found)
    onnx.checker.check_model(after, full_check=True)
    got, want = run_ort(after, feeds), run_ort(expected, feeds)
    for name, array in want.items():
        np.testing.assert_array_equal(array, got[name])
        declared = next(o for o in after.graph.output if o.name == name).type.tensor_type
        assert tuple(d.dim_value for d in declared.shape.dim) == array.shape


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


REFUSED = {
    "weights for one size": (
        """g (float[1, 1, 4, 4] x) => (float[1, 2] y) < float[16, 2] w = {{{}}} >
        {{ f = Flatten (x) y = MatMul (f, w) }}""".format(", ".join(["1"] * 32)),
        "is for 16 features, and there are 64",
    ),
    "positions": (
        """g (float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y) < float[2, 2] p = {1, 2, 3, 4} >
        { y = Add (x, p) }""",
        "operand 'p' [2, 2] holds a value for each element",
    ),
    "rows that broadcast": (
        """g (float[2, 1, 4, 4] x) => (float[2, 1, 4, 4] y) < float[2, 1, 1, 1] p = {1, 2} >
        { y = Add (x, p) }""",
        "operand 'p' [2, 1, 1, 1] holds a value",
    ),
    "windows": (
        """g (float[1, 1, 4, 4] x) => (float[1, 1, 2, 2, 2, 2] y)
        < int64[6] t = {1, 1, 2, 2, 2, 2} > { y = Reshape (x, t) }""",
        "does not say how [1, 1, 8, 8]",
    ),
    "a size to keep or to scale": (
        """g (float[1, 1, 4, 4] x) => (float[1, 1, 8, 8] y) < int64[4] s = {1, 1, 8, 8} >
        { y = Resize <mode = "nearest"> (x, , , s) }""",
        "a size to keep or goes with 4",
    ),
    "a mean by hand": (
        """g (float[1, 1, 4, 4] x) => (float[1, 1] y) < float n = {16}, int64[2] a = {2, 3} >
        { s = ReduceSum <keepdims = 0> (x, a) y = Div (s, n) }""",
        "16 was a number of elements that changes",
    ),
    "rows from places": (
        """g (float[1, 1, 4, 4] x) => (int64[1, 1, 4] y) < int64 n = {4} >
        { s = ArgMax <axis = 2, keepdims = 0> (x) y = Mod (s, n) }""",
        "4 was a number of elements that changes",
    ),
    "places that do not fit": (
        """g (float[1, 1, 12, 12] x) => (float[1, 1, 3, 3] y)
        { y = MaxPool <kernel_shape = [4, 4], strides = [4, 4]> (x) }""",
        "pools 12 to 3 places, and 8 is no multiple",
    ),
    "two sizes that were one": (
        """g (float[1, 1, 8, 8] x) => (float[1, 1, 4, 4] y, float[1, 1, 4, 4] z)
        < float[1, 1, 5, 5] w = {ONES}, int64[4] s = {1, 1, 4, 4} > {
            z = Conv (x, w) p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
            q = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (p)
            y = Resize <mode = "nearest"> (q, , , s) }""".replace("ONES", ", ".join(["1"] * 25)),
        "nothing before it says whether 4",
    ),
    "places of elements": (
        """g (float[1, 1, 4, 4] x) => (float[1, 1, 1] y) < int64[1, 1, 1, 3] i = {0, 2, 1} >
        { y = GatherND <batch_dims = 1> (x, i) }""",
        "takes elements up to 2 of 4",
    ),
    "a grid": (
        """g (float[1, 1, 4, 4] x) => (float[1, 1, 1, 2] y)
        < float[1, 1, 2, 2] t = {0, 0.5, 1, 0} > { y = GridSample (x, t) }""",
        "its grid 't' [1, 1, 2, 2] is for [1, 1, 4, 4]",
    ),
    "a size that is told": (
        """g (float[1, 1, 4, 4] x) => (float[1, 1, 9, 9] y) < float[1, 1, 1, 1] w = {1} >
        { y = ConvTranspose <strides = [2, 2], output_shape = [9, 9]> (x, w) }""",
        "resizes 4 to 9 on axis 2",
    ),
    "nothing left": (
        """g (float[1, 1, 4, 4] x) => (float[1, 1, 1, 4] y)
        < int64[1] s = {3}, int64[1] e = {100}, int64[1] a = {2} > { y = Slice (x, s, e, a) }""",
        "whether these are places to keep",
    ),
    "halves": (
        """g (float[1, 1, 4, 4] x) => (float[1, 1, 2, 4] y)
        < int64[1] s = {2}, int64[1] e = {4}, int64[1] a = {2} > { y = Slice (x, s, e, a) }""",
        "whether these are places to keep",
    ),
    "an element": (
        """g (float[1, 1, 4, 4] x) => (float[1, 1, 4] y) < int64 i = {2} >
        { y = Gather <axis = 2> (x, i) }""",
        "takes elements up to 2 of 4",
    ),
    "channels": (
        """g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) < float[2, 2, 1, 1] w = {1, 2, 3, 4} >
        { y = Conv (x, w) }""",
        "the network does not run",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_one_example_does_not_say_is_refused_by_name(what):
    text, reason = REFUSED[what]
    made = planish.load(model_from_text(text))
    others = {
        "channels": "x=1,3,4,4",
        "rows that broadcast": "x=1,1,4,4",
        "two sizes that were one": "x=1,1,12,12",
    }
    asked = others.get(what, "x=1,1,8,8")
    with pytest.raises(planish.PlanishError, match="sizes cannot be set") as caught:
        set_shapes(made, [asked])
    assert reason in str(caught.value)
    assert all(node.op in str(caught.value) for node in made.nodes[-1:])


# name: (nodes behind x [1, 4, 24, 24] that give y, initializers, the reason)
NUMBERS = {
    "a mean of rows": (
        "s = ReduceSum <keepdims = 0> (x, a) y = Div (s, n)",
        "int64[1] a = {2}, float n = {24}",
        "Div -> 'y': its operand 'n' holds 24, and 24 was a number of elements",
    ),
    "a mean over few": (
        """p = MaxPool <kernel_shape = [2, 2], strides = [8, 8]> (x)
        s = ReduceSum <keepdims = 0> (p, a) y = Mul (s, n)""",
        "int64[1] a = {2}, float n = {0.33333334}",
        "3 was a number of elements",
    ),
    "a mean in half precision": (
        """h = Cast <to = 10> (x) s = ReduceSum <keepdims = 0> (h, a)
        k = Cast <to = 10> (n) z = Mul (s, k) y = Cast <to = 1> (z)""",
        "int64[1] a = {2}, float n = {0.041666}",
        "24 was a number of elements",
    ),
    "a root": (
        "s = ReduceSum (x, a) y = Mul (s, n)",
        "int64[2] a = {2, 3}, float n = {0.20412415}",
        "24 was a number of elements that changes, of which it is one over a root",
    ),
    "a root of what is scaled": (
        "y = Mul (x, n)",
        "float n = {0.20412415}",
        "24, of which it is one over a root of 24, was a size",
    ),
    "width and height": (
        "y = Div (x, n)",
        "float[4, 1, 1] n = {24, 24, 3, 3}",
        "24 was a size of an input",
    ),
    "one over the width": ("y = Mul (x, n)", "float n = {0.041666668}", "24 was a size of an"),
    "the last place": (
        "y = Clip (x, l, n)",
        "float l = {0}, float n = {23}",
        "holds 23, and 24 was a size",
    ),
    "the last place, least": ("y = Min (x, n)", "float n = {23}", "holds 23, and 24 was a size"),
    "places from the end": (
        "s = ArgMax <axis = 2> (x) i = Sub (n, s) y = Cast <to = 1> (i)",
        "int64 n = {23}",
        "Sub -> 'i': its operand 'n' holds 23",
    ),
    "a width within": (
        "p = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (x) q = Relu (p) "
        "m = Pad (q, z) y = Div (m, n)",
        "int64[8] z = {0, 0, 4, 4, 0, 0, 4, 4}, float n = {20}",
        "20, of which it is one or a root, was a size that changes",
    ),
    "a sort": ("y, i = TopK <axis = 3> (x, n)", "int64[1] n = {24}", "takes the highest 24 of 24"),
    "the upper half": (
        "y, i = TopK <axis = 3> (x, n)",
        "int64[1] n = {12}",
        "takes the highest 12 of 24",
    ),
    "a depth": (
        "s = ArgMax <axis = 3, keepdims = 0> (x) y = OneHot (s, n, v)",
        "int64 n = {24}, float[2] v = {0, 1}",
        "its depth is 24",
    ),
    "rounds": (
        """z = GlobalAveragePool (x) y = Loop (n, , z) <
            body = b (int64 i, bool c, float[1, 4, 1, 1] p) => (bool d, float[1, 4, 1, 1] q)
            { d = Identity (c) q = Add (p, p) }>""",
        "int64 n = {24}",
        "it runs 24 times",
    ),
    "lengths": (
        """r = ReduceMean <axes = [3], keepdims = 0> (x) t = Transpose <perm = [2, 0, 1]> (r)
        y, h = RNN <hidden_size = 1> (t, w, k, , n)""",
        "int32[1] n = {24}, float[1, 1, 4] w = {1, 1, 1, 1}, float[1, 1, 1] k = {1}",
        "its lengths 'n' are 24, that of all sequences",
    ),
    "a pad to a size": (
        "y = Pad (x, n)",
        "int64[8] n = {0, 0, 0, 0, 0, 0, 0, 8}",
        "pads 24, which becomes 48, to 32",
    ),
    "a pad to a size, in the middle": (
        "y = Pad (x, n)",
        "int64[8] n = {0, 0, 0, 20, 0, 0, 0, 20}",
        "48, to 64 on axis 3",
    ),
    "a cut of what is not known": (
        """i = NonZero (x) f = Cast <to = 1> (i) g = Shape (f) k = ConstantOfShape (g)
        m = Add (f, k) y = Slice (m, o, n, u)""",
        "int64[1] o = {0}, int64[1] n = {24}, int64[1] u = {1}",
        "Slice -> 'y': it holds 24, which was a size that changes",
    ),
}


def of_numbers(nodes, held, size=24):
    text = f"g (float[1, 4, {size}, {size}] x) => (float[] y) < {held} > {{ {nodes} }}"
    made = model_from_text(_HEADER + text)
    made.graph.output[0].type.tensor_type.ClearField("shape")
    return planish.load(made)


@pytest.mark.parametrize("what", NUMBERS)
def test_a_number_that_may_be_a_size_is_refused_by_name(what):
    nodes, held, reason = NUMBERS[what]
    made = of_numbers(nodes, held)
    with pytest.raises(planish.PlanishError, match="sizes cannot be set") as caught:
        set_shapes(made, ["x=1,4,48,48"])
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "held"),
    [
        ("y = Div (x, n)", "float n = {255}"),
        ("y = Mul (x, n)", "float n = {0.2}"),
        ("y = Mul (x, n)", "float n = {4}"),
        ("y = Clip (x, l, n)", "float l = {0}, float n = {6}"),
        ("y = Add (x, n)", "float n = {0.00001}"),
        ("y, i = TopK <axis = 1> (x, n)", "int64[1] n = {4}"),
        ("y, i = TopK <axis = 3> (x, n)", "int64[1] n = {5}"),
        ("y = Pad (x, n)", "int64[8] n = {0, 0, 0, 0, 0, 0, 1, 1}"),
        ("y = Pad (x, n)", "int64[8] n = {0, 0, 3, 3, 0, 0, 3, 3}"),
        (
            "p = Pad (x, n) y = MaxPool <kernel_shape = [9, 9]> (p)",
            "int64[8] n = {0, 0, 4, 4, 0, 0, 4, 4}",
        ),
        (
            "p = Pad (x, n) y = Conv <dilations = [1, 4]> (p, w)",  # causal
            "int64[8] n = {0, 0, 0, 8, 0, 0, 0, 0}, float[1, 4, 1, 3] w = "
            "{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}",
        ),
        (
            "s = Shape (x) w = Gather (s, n) f = Cast <to = 1> (w) y = Div (x, f)",
            "int64[1] n = {3}",
        ),
    ],
)
def test_numbers_of_their_own_stand_in_no_way(nodes, held):
    set_shapes(of_numbers(nodes, held), ["x=1,4,48,48"])
    set_shapes(of_numbers(nodes, held, 32), ["x=1,4,64,64"])


def test_channels_behind_sizes_that_are_not_known_are_no_area():
    nodes = """i = NonZero (x) f = Cast <to = 1> (i) g = Shape (f) k = ConstantOfShape (g)
    m = Add (f, k) y = Reshape (m, n)"""
    set_shapes(of_numbers(nodes, "int64[2] n = {-1, 16}", 4), ["x=1,4,8,8"])


def test_pictures_of_256_are_divided_by_255():
    set_shapes(of_numbers("y = Div (x, n)", "float n = {255}", 256), ["x=1,4,64,64"])


def test_a_sort_goes_along_where_it_is_told_to():
    def sort(size):
        return of_numbers("[sort] y, i = TopK <axis = 3> (x, n)", f"int64[1] n = {{{size}}}", size)

    text = "set-shapes{shapes=[x:1x4x48x48],follow=sort}"
    found = planish.Pipeline.parse(text).run(sort(24), strict=True).graph
    x = np.random.default_rng(0).random((1, 4, 48, 48)).astype("f")
    got, want = (run_ort(planish.to_model(made), {"x": x})["y"] for made in (found, sort(48)))
    np.testing.assert_array_equal(got, want)


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


@pytest.mark.parametrize(
    ("before", "after", "now", "wanted"),
    [
        ([10, 512, 7, 7], [10, 25088], [1, 512, 10, 10], [1, 51200]),
        ([1, 64, 8, 8], [1, 64, 64], [4, 64, 8, 8], [4, 64, 64]),
        ([1, 1, 28, 28], [1, 784], [5, 1, 28, 28], [5, 784]),
        ([1, 64, 10], [64, 10], [2, 64, 10], None),
        ([1, 1, 6], [1, 1, 1, 6], [2, 1, 6], None),
        ([1, 196, 8], [1, 14, 14, 8], [1, 400, 8], None),
        ([2, 12], [4, 6], [4, 12], [8, 6]),  # 12 = 2 * 6 stays
        ([2, 255, 5, 5], [2, 3, 85, 5, 5], [1, 255, 9, 7], [1, 3, 85, 9, 7]),
        ([4, 6], [24], [4, 6], [24]),
        ([0, 4], [0], [1, 4], None),
    ],
)
def test_which_sizes_are_made_of_which(before, after, now, wanted):
    assert regrouped(before, after, now) == wanted


def test_sizes_taken_apart_are_those_that_were_seen_in_one_way_only():
    def seen(*sizes):
        return lambda axis, size: frozenset(sizes[axis])

    assert regrouped([16], [4, 4], [32], seen({4, 8}, {4})) == [8, 4]
    assert regrouped([16], [4, 4], [32], seen({4, 8}, {4, 8})) is None
    assert regrouped([16], [4, 4], [32], seen({5}, {4})) is None
    assert regrouped([6, 4], [2, 3, 4], [9, 4], seen({3}, set(), {4})) == [3, 3, 4]


def test_an_output_without_elements_is_refused():
    text = """g (float[4, 2] x) => (float[2, 2] y) < int64[1] zero = {0}, int64[1] two = {2} > {
        s = Shape (x) n = Gather (s, zero) h = Div (n, two) y = Slice (x, zero, h, zero) }"""
    with pytest.raises(planish.PlanishError, match="without elements"):
        set_shapes(planish.load(model_from_text(text)), ["x=1,2"])


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
