"""set-shapes on Reshape: which sizes are made of which, and which part stays of what is parted."""

import onnx
import pytest

import planish
from planish.passes.interface.set_shapes import set_shapes
from planish.passes.interface.set_shapes.factors import regrouped_factors
from planish.passes.interface.set_shapes.regroup import regrouped
from planish.passes.interface.set_shapes.splits import LAST, Parts

from tests.passes.interface.sized_networks import assert_same, model, set_to


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


def test_an_axis_that_may_be_a_window_beside_one_that_is_says_nothing():
    parts = Parts(stay=frozenset({(2, LAST)}))
    sizes = [1, 4, 2, 2], [4, 1, 2, 1, 2], [1, 4, 4, 4]
    assert regrouped(*sizes, parts=parts) == [4, 2, 2, 2, 2]
    sizes = [1, 4, 2, 2], [4, 2, 1, 2], [1, 4, 4, 4]
    assert regrouped(*sizes, parts=parts) is None


def test_one_list_that_two_hold_becomes_two():
    def network(n, h, w):
        held = f"int64[3] s = {{2, {h}, {w}}}" if h == w else ""
        other = held or f"int64[3] s = {{2, {h}, {w}}}, int64[3] r = {{2, {w}, {h}}}"
        return f"""g (float[1, 2, {h}, {w}] x) => (float[2, {h}, {w}] y, float[2, {w}, {h}] z)
        < {other} > {{
            y = Reshape (x, s) t = Transpose <perm = [0, 1, 3, 2]> (x)
            z = Reshape (t, {"s" if h == w else "r"}) }}"""

    found, _ = set_to(model(network, 1, 4, 4), network, 1, 8, 6)
    assert_same(model(network, 1, 8, 6), found)


def test_axes_are_runs_of_the_sizes_they_are_made_of():
    picture = [(1, 1), (64, 64), (32, 16), (32, 16)]
    patches = regrouped_factors(picture, ((1024, 2, 16, 2), (512, 2, 8, 2)))
    assert patches == [((1, 1), (64, 64), (16, 8)), ((2, 2),), ((16, 8),), ((2, 2),)]
    moved = [one for axis in (0, 2, 1, 3) for one in patches[axis]]
    rows = regrouped_factors(moved, ((1, 64, 256, 4), (1, 64, 64, 4)))
    assert rows == [((1, 1),), ((64, 64),), ((16, 8), (16, 8)), ((2, 2), (2, 2))]
    assert regrouped_factors(picture, ((1024, 64), (512, 8))) is None  # elements are lost
    assert regrouped_factors([(4, 16)], ((4, 1), (4, 4))) is None  # out of order


def _unfolded(x, y, channels, sizes, patch):
    """MobileViT's patches, each place of which is attended to among all patches."""
    h, w = sizes
    rows, columns = h // patch, w // patch
    shapes = [
        (channels * rows, patch, columns, patch),
        (1, channels, rows * columns, patch * patch),
        (channels * rows, columns, patch, patch),
        (1, channels, h, w),
    ]
    lists = ", ".join(
        f"int64[4] {y}_{i} = {{{', '.join(map(str, s))}}}" for i, s in enumerate(shapes)
    )
    return (
        lists,
        f"""
        {y}a = Reshape ({x}, {y}_0) {y}b = Transpose <perm = [0, 2, 1, 3]> ({y}a)
        {y}c = Reshape ({y}b, {y}_1) {y}d = Softmax <axis = 2> ({y}c)
        {y}e = Reshape ({y}d, {y}_2) {y}f = Transpose <perm = [0, 2, 1, 3]> ({y}e)
        {y} = Reshape ({y}f, {y}_3)""",
    )


def _windows(x, y, channels, sizes, patch, grid=False):
    """Swin's windows, each attended to by itself; or MaxViT's grid of so many places."""
    h, w = sizes
    parts = (h // patch, w // patch)
    high, wide = (
        ((patch, parts[0]), (patch, parts[1])) if grid else ((parts[0], patch), (parts[1], patch))
    )
    shapes = [
        (1, channels, *high, *wide),
        (1, channels, parts[0] * parts[1], patch * patch),
        (1, channels, *((patch, patch, *parts) if grid else (*parts, patch, patch))),
        (1, channels, h, w),
    ]
    if grid:
        shapes[1] = (1, channels, patch * patch, parts[0] * parts[1])
    lists = ", ".join(
        f"int64[{len(s)}] {y}_{i} = {{{', '.join(map(str, s))}}}" for i, s in enumerate(shapes)
    )
    return (
        lists,
        f"""
        {y}a = Reshape ({x}, {y}_0) {y}b = Transpose <perm = [0, 1, 2, 4, 3, 5]> ({y}a)
        {y}c = Reshape ({y}b, {y}_1) {y}d = Softmax <axis = {2 if grid else 3}> ({y}c)
        {y}e = Reshape ({y}d, {y}_2) {y}f = Transpose <perm = [0, 1, 2, 4, 3, 5]> ({y}e)
        {y} = Reshape ({y}f, {y}_3)""",
    )


def _levels(*blocks):
    """Return a network of blocks, each on a map half as large as that before it."""

    def network(n, h, w):
        lists, nodes, x = [], [], "x"
        for place, block in enumerate(blocks):
            if place:
                x = f"p{place}"
                nodes.append(
                    f"{x} = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (l{place - 1})"
                )
            lists_, nodes_ = block(x, f"l{place}", 4, (h >> place, w >> place))
            lists.append(lists_)
            nodes.append(nodes_)
        last = (h >> place, w >> place)
        return f"""g (float[1, 4, {h}, {w}] x) => (float[1, 4, {last[0]}, {last[1]}] y)
        < {", ".join(lists)} > {{ {" ".join(nodes)} y = Identity (l{place}) }}"""

    return network


def _of(block, patch, **more):
    return lambda x, y, channels, sizes: block(x, y, channels, sizes, patch, **more)


PARTED = {
    "patches": (_levels(_of(_unfolded, 2), _of(_unfolded, 2)), (16, 16)),
    "windows": (_levels(_of(_windows, 4), _of(_windows, 4)), (32, 32)),
    "one window at last": (_levels(_of(_windows, 4), _of(_windows, 4), _of(_windows, 4)), (16, 16)),
    "a grid": (_levels(_of(_windows, 4, grid=True), _of(_windows, 4, grid=True)), (32, 32)),
    "windows and a grid": (
        _levels(
            _of(_windows, 2),
            _of(_windows, 2, grid=True),
            _of(_windows, 2),
            _of(_windows, 2, grid=True),
        ),
        (64, 64),
    ),
    "rows and columns that differ": (_levels(_of(_windows, 4)), (16, 24)),
}


@pytest.mark.parametrize("new", [(2, 2), (2, 1), (1.5, 1.5)])
@pytest.mark.parametrize("what", PARTED)
def test_the_part_that_recurs_stays(what, new):
    network, (h, w) = PARTED[what]
    if new == (2, 1) and what in ("rows and columns that differ", "one window at last"):
        new = (2, 3)
    if new == (1.5, 1.5) and what == "one window at last":
        new = (3, 3)
    sizes = int(h * new[0]), int(w * new[1])
    found, told = set_to(model(network, 1, h, w), network, 1, *sizes)
    assert_same(model(network, 1, *sizes), found)
    assert any("stays, which recurs" in line for line in told)


ONCE = _levels(_of(_unfolded, 2))


def test_patches_that_are_taken_once_are_asked_about():
    made = planish.load(model(ONCE, 1, 16, 16))
    with pytest.raises(
        planish.PlanishError, match=r"takes 16 apart as 8 \* 2.*'x', 16 -> 32"
    ) as caught:
        set_to(model(ONCE, 1, 16, 16), ONCE, 1, 32, 32)
    assert "Reshape -> 'l0a'" in str(caught.value)
    assert "windows=[2], or [8], says which" in str(caught.value)
    for size in (2, 8):
        text = f"set-shapes{{shapes=[x:1x4x32x32],windows=[{size}]}}"
        found = planish.Pipeline.parse(text).run(made, strict=True).graph
        assert_same(model(_levels(_of(_unfolded, 2 if size == 2 else 4)), 1, 32, 32), found)


def test_patches_that_alone_fit_are_taken():
    found, _ = set_to(model(ONCE, 1, 16, 16), ONCE, 1, 20, 20)  # 20 is no multiple of 8
    assert_same(model(ONCE, 1, 20, 20), found)


def test_another_export_says_which_part_stays(tmp_path):
    onnx.save(model(ONCE, 1, 24, 24), tmp_path / "other.onnx")
    text = f"set-shapes{{shapes=[x:1x4x32x32],like={tmp_path / 'other.onnx'}}}"
    made = planish.load(model(ONCE, 1, 16, 16))
    assert_same(model(ONCE, 1, 32, 32), planish.Pipeline.parse(text).run(made, strict=True).graph)


def test_a_window_that_hides_its_number_is_refused():
    network = _levels(_of(_unfolded, 2), _of(_unfolded, 2), _of(_unfolded, 2))
    with pytest.raises(planish.PlanishError, match="does not say how"):  # [4, 2, 1, 2] of 2 x 2
        set_to(model(network, 1, 8, 8), network, 1, 16, 16)


def _shifted(x, y, channels, sizes):
    """Swin's windows of 4, of a map that is rolled on by one and back again."""
    h = sizes[0]
    lists, nodes = _windows(f"{y}r", f"{y}w", channels, sizes, 4)
    held = f"int64[1] {y}o = {{0}}, int64[1] {y}i = {{1}}, int64[1] {y}n = {{{h - 1}}}"
    return (
        f"{lists}, {held}, int64[1] {y}x = {{2}}, int64[1] {y}z = {{{h}}}",
        f"""
        {y}p = Slice ({x}, {y}i, {y}z, {y}x) {y}q = Slice ({x}, {y}o, {y}i, {y}x)
        {y}r = Concat <axis = 2> ({y}p, {y}q) {nodes}
        {y}s = Slice ({y}w, {y}n, {y}z, {y}x) {y}t = Slice ({y}w, {y}o, {y}n, {y}x)
        {y} = Concat <axis = 2> ({y}s, {y}t)""",
    )


def test_rows_that_are_rolled_on_are_counted_from_the_end_they_are_near():
    network = _levels(_shifted, _shifted)
    found, _ = set_to(model(network, 1, 32, 32), network, 1, 64, 48)
    assert_same(model(network, 1, 64, 48), found)


def test_one_window_where_others_are_shifted_is_refused():
    network = _levels(_shifted, _of(_windows, 4))
    with pytest.raises(planish.PlanishError, match=r"one window of 4 fills its row, and others"):
        set_to(model(network, 1, 8, 8), network, 1, 16, 16)
    text = "set-shapes{shapes=[x:1x4x16x16],windows=[4]}"
    made = planish.load(model(network, 1, 8, 8))
    assert_same(model(network, 1, 16, 16), planish.Pipeline.parse(text).run(made).graph)


@pytest.mark.parametrize("joined", [True, False])
def test_of_two_axes_of_one_that_which_alone_fits_grows(joined):
    def text(n):
        ends = "y = Concat <axis = 3> (r, u)" if joined else "y = Relu (r)"
        return f"""g (float[{n}, 3, 2] x) => (float[{n}, 1, 3, {4 if joined else 2}] y)
        < int64[4] s = {{{n}, 1, 3, 2}}, int64[1] o = {{1}} > {{
            r = Reshape (x, s) u = Unsqueeze (x, o) {ends} }}"""

    made = model(lambda n, h, w: text(n), 1, 3, 2)
    if joined:
        found, _ = set_shapes(planish.load(made), ["x=4,3,2"])
        want = model(lambda n, h, w: text(n), 4, 3, 2)
        assert_same(want, found)
        return
    with pytest.raises(planish.PlanishError, match="either axis of one may be the one that grows"):
        set_shapes(planish.load(made), ["x=4,3,2"])
