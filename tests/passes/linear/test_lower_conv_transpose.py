"""lower-conv-transpose: exact for every kernel, stride and pad; what it has no blocks for stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planish
from planish.passes.linear.lower_conv_transpose import phases

from tests.effort import examples
from tests.helpers import assert_left_alone, assert_same_function, model_of, ops, run_pass

RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def transposed(attrs, weight, bias=None, *, sizes="N, 4, 5, 7", opset=18, after=""):
    """Return a model of one ConvTranspose and a feed for it."""
    weights = {"w": weight} | ({} if bias is None else {"b": bias})
    operands = ", ".join(["x", *weights])
    last = "c" if after else "y"
    text = f"""<ir_version: 9, opset_import: ["" : {opset}]>
    g (float[{sizes}] x) => (float[] y) {{ {last} = ConvTranspose<{attrs}>({operands}) {after} }}"""
    channels = weight.shape[0]
    return model_of(text, weights), {"x": normal(2, channels, 5, 7)}


def check(model, feed, expected):
    result = run_pass(planish.load(model), "lower-conv-transpose{most=100.0}")
    assert ops(result.graph) == expected
    assert_same_function(model, result.graph, feed, tolerance=2e-6)
    return result.graph


@pytest.mark.parametrize("sizes", ["N, 4, 5, 7", "2, 4, 5, 7", "N, 4, H, W"])
def test_a_stride_of_the_kernel_size_is_a_pointwise_convolution(sizes):
    model, feed = transposed("strides=[2, 2]", normal(4, 3, 2, 2), normal(3), sizes=sizes)
    graph = check(model, feed, ["Conv", "DepthToSpace"])
    assert graph.nodes[0].inputs[1].shape == (12, 4, 1, 1)
    assert graph.nodes[0].inputs[2].shape == (12,)


def test_half_of_a_kernel_of_twice_the_stride_is_each_phase():
    attrs = "strides=[2, 2], pads=[1, 1, 1, 1]"
    model, feed = transposed(attrs, normal(4, 3, 4, 4), normal(3))
    graph = check(model, feed, ["Conv", "DepthToSpace", "Slice"])
    assert graph.nodes[0].inputs[1].shape == (12, 4, 2, 2)


def test_pads_of_whole_strides_need_no_slice():
    attrs = "strides=[2, 2], pads=[2, 2, 2, 2]"
    model, feed = transposed(attrs, normal(4, 3, 6, 6))
    check(model, feed, ["Conv", "DepthToSpace"])


def test_groups_keep_their_channels_together():
    attrs = "strides=[2, 2], group=2"
    model, feed = transposed(attrs, normal(4, 3, 2, 2), normal(6))
    graph = check(model, feed, ["Conv", "DepthToSpace"])
    assert graph.nodes[1].attrs["mode"] == "CRD"
    assert graph.nodes[0].attrs["group"] == 2


@pytest.mark.parametrize("auto_pad", ["VALID", "NOTSET", ""])
def test_every_spelling_of_no_padding(auto_pad):
    model, feed = transposed(f'strides=[2, 2], auto_pad="{auto_pad}"', normal(4, 3, 2, 2))
    check(model, feed, ["Conv", "DepthToSpace"])


def test_stride_one_is_a_convolution_with_the_kernel_turned_round():
    model, feed = transposed("pads=[1, 0, 1, 2]", normal(4, 3, 3, 3), normal(3))
    check(model, feed, ["Conv"])


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 13, 22])
def test_every_opset_has_its_spelling(opset):
    attrs = "strides=[2, 2], pads=[1, 1, 0, 1], output_padding=[1, 0]"
    model, feed = transposed(attrs, normal(4, 3, 4, 3), normal(3), opset=opset)
    check(model, feed, ["Conv", "DepthToSpace", "Slice"])


def test_float16_stays_float16():
    model = model_of(
        "g (float16[N, 2, 3, 3] x) => (float16[] y) { y = ConvTranspose<strides=[2, 2]>(x, w) }",
        {"w": normal(2, 3, 2, 2).astype(np.float16)},
    )
    result = run_pass(planish.load(model), "lower-conv-transpose")
    assert result.graph.nodes[0].inputs[1].dtype == np.float16
    feed = {"x": normal(1, 2, 3, 3).astype(np.float16)}
    assert_same_function(model, result.graph, feed, tolerance=2e-3)


@settings(max_examples=examples(60))
@given(st.data())
def test_any_kernel_stride_pad_and_group_is_exact(data):
    draw = data.draw
    stride = draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 5)) for _ in range(2)]
    pads = [draw(st.integers(0, kernel[axis % 2] - 1)) for axis in range(4)]
    extra = [draw(st.integers(0, stride - 1)) for _ in range(2)]
    group = draw(st.sampled_from((1, 2, 4)))
    attrs = (
        f"strides=[{stride}, {stride}], pads={pads}, output_padding={extra}, group={group}, "
        f"kernel_shape={kernel}"
    )
    bias = normal(2 * group) if draw(st.booleans()) else None
    model, feed = transposed(attrs, normal(4, 2, *kernel), bias)
    axes = [
        phases(kernel[axis], stride, (pads[axis], pads[axis + 2]), extra[axis]) for axis in (0, 1)
    ]
    if min(*axes[0].pads, *axes[1].pads) < 0:
        pipeline = "lower-conv-transpose{most=100.0}"
        assert_left_alone(model, pipeline, "its pads cut off whole inputs")
        return
    cut = any(any(axis.crop) for axis in axes)
    blocks = [] if stride == 1 else ["DepthToSpace", *(["Slice"] if cut else [])]
    check(model, feed, ["Conv", *blocks])


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (4, 2), (3, 3), (6, 2), (9, 3)])
def test_a_stride_that_divides_the_kernel_reads_no_zero(kernel, stride):
    for pad in range(kernel):
        taps = phases(kernel, stride, (pad, 0)).taps
        assert sorted(taps.flat) == list(range(kernel))


def test_phases_without_a_tap():
    found = phases(2, 3, (0, 0))
    assert (found.taps.tolist(), found.pads, found.crop) == ([[0, 1, -1]], (0, 0), (0, 1))
    assert phases(2, 4, (0, 0), 1).taps.tolist() == [[0, 1, -1, -1]]
    assert phases(2, 4, (0, 0), 1).crop == (0, 1)


DECLINED = {
    "products": ("strides=[4, 4]", (4, 3, 1, 1), "it would take 16.00 times the products"),
    "dilated": ("dilations=[2, 2]", (4, 3, 2, 2), "it is dilated"),
    "strides": (
        "strides=[2, 1]",
        (4, 3, 2, 2),
        "its strides differ, and the blocks of DepthToSpace do not",
    ),
    "more than twice": ("", (4, 3, 1, 5), "it would take 2.40 times the products"),
    "pads": ("pads=[2, 2, 2, 2]", (4, 3, 2, 2), "its pads cut off whole inputs"),
    "empty": ("", (4, 0, 2, 2), "the weight of ConvTranspose has no elements"),
    "shape": ("output_shape=[10, 14]", (4, 3, 2, 2), "its output_shape is given instead of pads"),
    "same": ('auto_pad="SAME_UPPER"', (4, 3, 2, 2), "its auto_pad is SAME_UPPER"),
}


@pytest.mark.parametrize(("attrs", "shape", "reason"), DECLINED.values(), ids=DECLINED)
def test_what_it_declines(attrs, shape, reason):
    if "strides" not in attrs:
        attrs += f"{', ' * bool(attrs)}strides=[2, 2]"
    model, _ = transposed(attrs, normal(*shape))
    assert_left_alone(model, "lower-conv-transpose", reason)


def test_twice_the_products_are_taken():
    model, feed = transposed("strides=[2, 2]", normal(4, 3, 1, 2))
    result = run_pass(planish.load(model), "lower-conv-transpose")
    assert ops(result.graph) == ["Conv", "DepthToSpace", "Slice"]
    assert_same_function(model, result.graph, feed, tolerance=2e-6)


def test_groups_have_no_blocks_of_their_own_before_opset_11():
    model, _ = transposed("strides=[2, 2], group=2", normal(4, 3, 2, 2), opset=10)
    reason = "DepthToSpace keeps groups from opset 11 on"
    assert_left_alone(model, "lower-conv-transpose", reason)


def test_what_lies_between_has_a_type():
    attrs = "strides=[2, 2], pads=[1, 1, 1, 1]"
    model, _ = transposed(attrs, normal(4, 3, 4, 4), sizes="2, 4, 5, 7")
    conv, blocks, _ = run_pass(planish.load(model), "lower-conv-transpose").graph.nodes
    assert [each.outputs[0].dtype for each in (conv, blocks)] == [np.float32, np.float32]


def test_one_dimension_is_declined():
    model = model_of(
        "g (float[N, 2, 3] x) => (float[] y) { y = ConvTranspose<strides=[2]>(x, w) }",
        {"w": normal(2, 3, 2)},
    )
    reason = "only two spatial dimensions have DepthToSpace"
    assert_left_alone(model, "lower-conv-transpose", reason)


def test_a_weight_that_is_an_input_is_declined():
    model = model_of(
        "g (float[N, 2, 3, 3] x, float[2, 3, 2, 2] w) => (float[] y) "
        "{ y = ConvTranspose<strides=[2, 2]>(x, w) }"
    )
    reason = "the weight of ConvTranspose is not constant"
    assert_left_alone(model, "lower-conv-transpose", reason)
