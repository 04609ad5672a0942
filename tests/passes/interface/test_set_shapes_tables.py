"""set-shapes: tables that count places, windows, and numbers made of sizes.

Each network is a text with its sizes in it, as exporters write them; the oracle is the text at the
new size, on ONNX Runtime.
"""

import numpy as np
import pytest

import planish
from planish.passes.interface.set_shapes.masks import grown_mask
from planish.passes.interface.set_shapes.patches import grown_patches
from planish.passes.interface.set_shapes.ramps import grown_row
from planish.passes.interface.set_shapes.seen import SeenSizes
from planish.passes.interface.set_shapes.tables import grown_table

from tests.passes.interface.sized_networks import (
    assert_same,
    model,
    of_numbers,
    set_shapes,
    set_to,
)


def held(array):
    return ", ".join(str(value) for value in np.asarray(array).reshape(-1).tolist())


def cells(h, w, offset=0.0):
    y, x = np.meshgrid(np.arange(h) + offset, np.arange(w) + offset, indexing="ij")
    return x, y


def grid(n, h, w):
    """The x and y of each cell, added to what a network says of it: YOLOX, CenterNet."""
    table = np.stack(cells(h, w))
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 2, {h}, {w}] y)
    < float[1, 2, {h}, {w}] t = {{{held(table)}}}, float s = {{5}} >
    {{ a = Add (x, t) y = Mul (a, s) }}"""


def ends(n, h, w):
    """Coordinates from -1 to 1, as channels of their own: CoordConv."""
    table = np.broadcast_to(np.linspace(-1, 1, w, dtype=np.float32), (n, 1, h, w))
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 3, {h}, {w}] y)
    < float[{n}, 1, {h}, {w}] t = {{{held(table)}}} > {{ y = Concat <axis = 1> (x, t) }}"""


def mean_place(n, h, w):
    """Where the weight of each row is: softmax times places."""
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 2, {h}, 1] y)
    < float[{w}, 1] t = {{{held(np.arange(float(w)))}}} >
    {{ s = Softmax <axis = 3> (x) y = MatMul (s, t) }}"""


def anchors(n, h, w):
    """Cells of two maps behind each other, and how many pixels each is: YOLOv8."""
    sizes = ((h, w), (h // 2, w // 2))
    table = np.concatenate([np.stack(cells(*size, 0.5)).reshape(2, -1) for size in sizes], 1)
    steps = np.concatenate([np.full(a * b, 5.0 + 4 * at) for at, (a, b) in enumerate(sizes)])
    count = len(steps)
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 2, {count}] y)
    <
       float[1, 2, {count}] t = {{{held(table)}}}, float[1, {count}] s = {{{held(steps)}}},
       int64[3] f = {{{n}, 2, -1}}
    >
    {{
       p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
       a = Reshape (x, f) b = Reshape (p, f) c = Concat <axis = 2> (a, b)
       d = Add (c, t) y = Mul (d, s)
    }}"""


def shares(n, h, w):
    """The middle of each cell as a part of the map, and of what size: SSD."""
    x, y = (at.reshape(-1, 1) / size for at, size in zip(cells(h, w, 0.5), (w, h), strict=True))
    table = np.concatenate([x, y, np.full_like(x, 0.3)], 1).astype(np.float32)
    return f"""g (float[{n}, 3, {h}, {w}] x) => (float[{n}, {h * w}, 3] y)
    < float[{h * w}, 3] t = {{{held(table)}}}, int64[3] f = {{{n}, 3, {h * w}}} >
    {{ a = Reshape (x, f) b = Transpose <perm = [0, 2, 1]> (a) y = Add (b, t) }}"""


def windows(n, h, w):
    """Attention within windows of 2, with a value for each two places, and back again: Swin."""
    a, b = h // 2, w // 2
    return f"""g (float[{n}, {h}, {w}, 3] x) => (float[{n}, {h}, {w}, 3] y)
    <
       int64[6] s = {{{n}, {a}, 2, {b}, 2, 3}}, int64[3] f = {{{n * a * b}, 4, 3}},
       float[4, 4] p = {{{held(np.arange(16.0) ** 2)}}}, int64[6] r = {{{n}, {a}, {b}, 2, 2, 3}},
       int64[4] o = {{{n}, {h}, {w}, 3}}
    >
    {{
       c = Reshape (x, s) d = Transpose <perm = [0, 1, 3, 2, 4, 5]> (c) e = Reshape (d, f)
       t = Transpose <perm = [0, 2, 1]> (e) q = MatMul (e, t) u = Add (q, p)
       v = Softmax <axis = 2> (u) z = MatMul (v, e) i = Reshape (z, r)
       j = Transpose <perm = [0, 1, 3, 2, 4, 5]> (i) y = Reshape (j, o)
    }}"""


def patches(n, h, w):
    """Rows of 3 that slide, as an exporter writes unfold."""
    count = w - 2
    places = np.arange(3)[:, None] + np.arange(count)
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 2, {h}, {3 * count}] y)
    < int64[3, {count}] i = {{{held(places)}}}, int64[4] f = {{{n}, 2, {h}, {3 * count}}} >
    {{ a = Gather <axis = 3> (x, i) y = Reshape (a, f) }}"""


@pytest.mark.parametrize(("old", "new"), [((1, 8, 12), (1, 12, 20)), ((2, 12, 8), (2, 8, 16))])
@pytest.mark.parametrize(
    "network", [grid, ends, mean_place, anchors, shares, windows, patches], ids=lambda f: f.__name__
)
def test_what_an_exporter_writes_at_the_new_size(network, old, new):
    found, _ = set_to(model(network, *old), network, *new)
    assert_same(model(network, *new), found)


def test_one_side_that_changes_alone():
    for network in (grid, ends, anchors):
        found, _ = set_to(model(network, 1, 8, 12), network, 1, 8, 20)
        assert_same(model(network, 1, 8, 20), found)


def own(number):
    return number != 4


@pytest.mark.parametrize(
    "formula",
    [
        lambda n: np.arange(n),
        lambda n: 2 * np.arange(n) + 1,
        lambda n: np.arange(n) - 0.5,
        lambda n: np.arange(n) - n // 2,
        lambda n: 3 * (np.arange(n) - (n - 1) / 2),
        lambda n: n - 1 - np.arange(n),
        lambda n: (np.arange(n) + 0.5) / n,
        lambda n: 2 * (np.arange(n) + 0.5) / n - 1,
        lambda n: np.linspace(-1, 1, n),
        lambda n: np.linspace(1, 0, n),
        lambda n: np.arange(n) * 2 * np.pi / n,
    ],
)
def test_rows_that_count_places(formula):
    for old, new in ((8, 12), (24, 10)):
        row = grown_row(formula(old).astype(np.float32), new, own)
        np.testing.assert_allclose(row, formula(new), rtol=0, atol=1e-6)
        assert row.dtype == np.float32


@pytest.mark.parametrize(
    "row",
    [
        [0, 1],  # a count, or from 0 to 1
        [-1, 0, 1],  # about a middle, or from -1 to 1
        [4, 4, 4, 4],  # a number that is no own one
        [0, 4, 8, 12],  # steps of it
        [0, 1, 4, 9],
        [0.3, 1.3, 2.3],
        [0, 1, 0, 1],
        [0, np.nan, 2],
    ],
)
def test_rows_that_say_more_or_less(row):
    assert grown_row(np.array(row, np.float32), 9, own) is None


def test_a_table_of_maps_in_one_way_only():
    table = np.concatenate([np.arange(8.0), np.arange(8.0)]).reshape(1, -1)
    assert grown_table(table, [(1, 20)], [((4, 4), (4, 5))], own) is None
    two = np.tile(np.arange(4.0), 3)[None]  # 3 rows of 4, or 3 cells of a row of 4
    grown = grown_table(two, [(1, 15)], [((3, 4), (3, 5))], own)
    np.testing.assert_array_equal(grown, np.tile(np.arange(5.0), 3)[None])


def test_places_of_patches():
    places = np.arange(2)[:, None] * 3 + np.arange(4) * 2  # windows of 2 in steps of 3, 4 of them
    want = np.arange(2)[:, None] * 3 + np.arange(6) * 2
    np.testing.assert_array_equal(grown_patches(places, 11, 14), want)
    assert grown_patches(places, 10, 14) is not None  # half a step is left
    assert grown_patches(places, 12, 14) is None  # a fifth would have fitted
    assert grown_patches(places + 1, 11, 14) is None
    assert grown_patches(places[0], 11, 14) is None


def part_mask(h, w, window, shift):
    """The mask as Swin computes it: parts are numbered, and cut into windows."""
    parts = np.zeros((h, w))
    cuts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    for number, (rows, columns) in enumerate((a, b) for a in cuts for b in cuts):
        parts[rows, columns] = number
    split = parts.reshape(h // window, window, w // window, window).transpose(0, 2, 1, 3)
    flat = split.reshape(-1, window * window)
    return np.where(flat[:, None] != flat[:, :, None], -100.0, 0.0).astype(np.float32)


def test_masks_of_shifted_windows():
    old, maps = part_mask(8, 16, 4, 1)[None], [((8, 16), (12, 20)), ((8, 8), (4, 4))]
    np.testing.assert_array_equal(grown_mask(old, 1, maps, 15)[0], part_mask(12, 20, 4, 1))
    assert grown_mask(np.zeros_like(old), 1, maps, 15) is None
    old[0, 3, 0, 5] += 1
    assert grown_mask(old, 1, maps, 15) is None


# nodes behind x [1, 4, 24, 24] that give y, and initializers
NUMBERS = {
    "half": ("y = Sub (x, n)", "float n = {12}"),
    "half of the last place": ("y = Sub (x, n)", "float n = {11.5}"),
    "a quarter": ("y = Add (x, n)", "float n = {6}"),
    "two over it": ("y = Mul (x, n)", "float n = {0.083333336}"),
    "half a cell": ("y = Add (x, n)", "float n = {0.020833334}"),
    "one over the last place": ("y = Mul (x, n)", "float n = {0.04347826}"),
    "a diagonal": ("y = Div (x, n)", "float n = {33.941125}"),
    "an area": ("y = Div (x, n)", "float n = {576}"),
    "a sum of sides": ("y = Div (x, n)", "float n = {48}"),
    "a side over a side": ("y = Mul (x, n)", "float n = {1}"),
    "an unbiased mean": (
        "s = ReduceSum <keepdims = 0> (x, a) y = Div (s, n)",
        "int64[1] a = {2}, float n = {23}",
    ),
    "of channels too": (
        "s = ReduceSum <keepdims = 0> (x, a) y = Div (s, n)",
        "int64[2] a = {2, 3}, float n = {2304}",
    ),
    "a scale before a product": (
        "q = Mul (x, n) t = Transpose <perm = [0, 1, 3, 2]> (x) y = MatMul (q, t)",
        "float n = {0.45180100}",
    ),
    "many boxes": (
        "p = Concat <axis = 1> (x, x, x) y = Mul (p, n)",
        "float[12, 1, 1] n = {24, 23, 24, 23, 24, 23, 24, 23, 24, 23, 24, 23}",
    ),
    "a small map": (
        "p = MaxPool <kernel_shape = [3, 3], strides = [3, 3]> (x) y = Div (p, n)",
        "float n = {8}",
    ),
    "a tenth of all": (
        "f = Flatten <axis = 2> (x) y, i = TopK <axis = 1> (f, n)",
        "int64[1] n = {57}",
    ),
    "a half that is turned": (
        "a = Slice (x, s, e, i) b = Slice (x, z, s, i) y = Concat <axis = 3> (a, b)",
        "int64[1] s = {-12}, int64[1] e = {1000}, int64[1] z = {0}, int64[1] i = {3}",
    ),
    "parts of a row": ("y, a, b = Split <axis = 3> (x, n)", "int64[3] n = {8, 8, 8}"),
    "a row again": (
        "m = ReduceMean <axes = [3]> (x) y = Tile (m, n)",
        "int64[4] n = {1, 1, 1, 24}",
    ),
    "a pad in front": ("y = Pad (x, n)", "int64[8] n = {0, 0, 0, 8, 0, 0, 0, 0}"),
    "a pad as wide": ("y = Pad (x, n)", "int64[8] n = {0, 0, 0, 12, 0, 0, 0, 12}"),
    "a map that has its size": (
        'y = Resize <mode = "nearest"> (x, , , n)',
        "int64[4] n = {1, 4, 24, 24}",
    ),
    "a map of the size of another": (
        """p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        q = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (p)
        y = Resize <mode = "nearest"> (q, , , n)""",
        "int64[4] n = {1, 4, 12, 12}",
    ),
    "two maps of one size": (
        """p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        q = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (p)
        a = Resize <mode = "nearest"> (p, , , n) b = Resize <mode = "nearest"> (q, , , n)
        y = Add (a, b)""",
        "int64[4] n = {1, 4, 12, 12}",
    ),
}


@pytest.mark.parametrize("what", NUMBERS)
def test_what_may_be_made_of_a_size_is_refused(what):
    nodes, numbers = NUMBERS[what]
    with pytest.raises(planish.PlanishError, match="sizes cannot be set") as caught:
        set_shapes(of_numbers(nodes, numbers), ["x=1,4,48,64"])
    assert (
        "holds" in str(caught.value) or "becomes" in str(caught.value) or "->" in str(caught.value)
    )


@pytest.mark.parametrize("number", [255, 127.5, 31, 16, 1 / 16, 1 / 32, 8])
def test_numbers_that_look_like_strides_and_pixels_are_refused_all_the_same(number):
    size = 256 if number > 100 else 32
    with pytest.raises(planish.PlanishError, match="sizes cannot be set"):
        set_shapes(
            of_numbers(
                "p = MaxPool <kernel_shape = [3, 3]> (x) y = Mul (p, n)",
                f"float n = {{{number}}}",
                size,
            ),
            ["x=1,4,48,64"],
        )


@pytest.mark.parametrize(
    ("nodes", "numbers", "size"),
    [
        # the scale of 16 features, of which 4 heads have 4 each
        (
            """r = Reshape (x, s) t = Transpose <perm = [0, 2, 1]> (r) q = Mul (t, n)
            y = MatMul (q, r)""",
            "int64[3] s = {1, 4, -1}, float n = {0.5}",
            16,
        ),
        (
            """c = Concat <axis = 1> (x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x)
            r = Reshape (c, s) t = Transpose <perm = [0, 2, 1]> (r) q = MatMul (t, r)
            y = Mul (q, n)""",
            "int64[3] s = {1, 64, -1}, float n = {0.125}",
            32,
        ),
        # a hard Swish, of maps of 7
        (
            "a = Add (x, t) c = Clip (a, z, n) m = Mul (x, c) y = Div (m, n)",
            "float t = {3}, float z = {0}, float n = {6}",
            7,
        ),
        # pixels that a map's place is
        (
            "p = MaxPool <kernel_shape = [3, 3], strides = [8, 8]> (x) y = Mul (p, n)",
            "float n = {8}",
            32,
        ),
        # one activation at several sizes
        (
            """a = Clip (x, z, n) p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
            y = Clip (p, z, n)""",
            "float z = {0}, float n = {6}",
            14,
        ),
        (
            "a = Slice (x, s, e, i) y = Slice (x, z, s, i)",
            "int64[1] s = {5}, int64[1] e = {1000}, int64[1] z = {0}, int64[1] i = {3}",
            24,
        ),
        (
            "y = Slice (x, s, e, i, s)",
            "int64[1] s = {-1}, int64[1] e = {-1000}, int64[1] i = {3}",
            24,
        ),
    ],
)
def test_what_shows_that_a_number_is_one_of_its_own(nodes, numbers, size):
    _, told = set_shapes(of_numbers(nodes, numbers, size), [f"x=1,4,{2 * size},{3 * size}"])
    assert len(told) == 1 or "Reshape" in told[1]


def test_a_sum_over_a_side_that_stays_and_one_that_changes():
    nodes = "s = ReduceSum <keepdims = 0> (x, a) y = Mul (s, n)"
    held = "int64[2] a = {2, 3}, float n = {0.0017391305}"  # 1 / 575
    with pytest.raises(planish.PlanishError, match="576 was a number of elements"):
        set_shapes(of_numbers(nodes, held), ["x=1,4,24,48"])


def test_a_mean_over_a_batch_of_one():
    nodes = "s = ReduceSum <keepdims = 0> (x, a) y = Div (s, n)"
    with pytest.raises(planish.PlanishError, match="1 was a number of elements"):
        set_shapes(of_numbers(nodes, "int64[1] a = {0}, float n = {1}"), ["x=3,4,24,24"])


def test_half_of_an_odd_side():
    with pytest.raises(planish.PlanishError, match="half of 25"):
        set_shapes(of_numbers("y = Sub (x, n)", "float n = {12.5}", 25), ["x=1,4,48,64"])


def test_a_map_as_large_as_the_picture_goes_along():
    nodes = """p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
    y = Resize <mode = "nearest"> (p, , , n)"""
    _, told = set_shapes(of_numbers(nodes, "int64[4] n = {1, 4, 24, 24}"), ["x=1,4,48,64"])
    assert "sizes [1, 4, 24, 24] -> [1, 4, 48, 64]" in told[1]
    assert "taken for the size of an input" in told[1]
    assert "no comparison at the new size" in told[2]


def test_a_map_that_another_meets_is_resized_to_it():
    nodes = """p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
    r = Resize <mode = "nearest"> (p, , , n) y = Add (r, x)"""
    _, told = set_shapes(of_numbers(nodes, "int64[4] n = {1, 4, 24, 24}"), ["x=1,4,48,64"])
    assert "sizes [1, 4, 24, 24] -> [1, 4, 48, 64]" in told[1]


def test_maps_are_heights_and_widths_however_many_channels():
    seen = SeenSizes()
    for channels in range(8, 40):
        seen.add((1, channels, 40, 40), (1, channels, 80, 80))
        seen.add((1, 20, 20, channels), (1, 40, 40, channels))
    assert list(seen.maps) == [((40, 40), (80, 80)), ((20, 20), (40, 40))]
