"""set-shapes: what one size does not say is refused, and the node named."""

import numpy as np
import pytest

import planish
from planish.ir.files.text import model_from_text
from planish.passes.interface.set_shapes import set_shapes

from tests.helpers import run_ort
from tests.passes.interface.sized_networks import of_numbers

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
        "takes 4 apart as 2 * 2, and either may stay: [1, 1, 4, 2, 4, 2] or [1, 1, 2, 4, 2, 4]",
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


@pytest.mark.parametrize("layout", [[1, 3, 8, 8], [1, 8, 8, 3]])
def test_a_pad_of_nothing_stays_one_where_both_sides_are_multiples(layout):
    text = f"""g (float{layout} x) => (float{layout} y) < int64[8] n = {{0, 0, 0, 0, 0, 0, 0, 0}} >
    {{ y = Pad (x, n) }}"""
    made = planish.load(model_from_text(text))
    set_shapes(made, [f"x={','.join(str(16 if size == 8 else size) for size in layout)}"])
    for other in ([12, 12], [8, 16]):
        sizes = iter(other)
        asked = ",".join(str(next(sizes) if size == 8 else size) for size in layout)
        with pytest.raises(planish.PlanishError, match="with nothing"):
            set_shapes(made, [f"x={asked}"])


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


def test_an_output_without_elements_is_refused():
    text = """g (float[4, 2] x) => (float[2, 2] y) < int64[1] zero = {0}, int64[1] two = {2} > {
        s = Shape (x) n = Gather (s, zero) h = Div (n, two) y = Slice (x, zero, h, zero) }"""
    with pytest.raises(planish.PlanishError, match="without elements"):
        set_shapes(planish.load(model_from_text(text)), ["x=1,2"])
