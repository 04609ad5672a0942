"""Beside padding a shift is a map of the output's size, where there is room for it."""

from __future__ import annotations

import pytest

import planish

from tests.helpers import model_of, reasons, run_pass
from tests.passes.linear.push_affine.common import (
    BN,
    NORMALIZED,
    PASS,
    check,
    normal,
    weights,
)

BORDERS = {
    "strided": "strides = [2, 2], pads = [1, 1, 1, 1]> (z, w, cb)",
    "odd pads": "strides = [2, 3], pads = [0, 2, 1, 1]> (z, w)",
    "dilated": "strides = [2, 2], dilations = [2, 1], pads = [2, 1, 2, 1]> (z, w)",
    "auto_pad": 'strides = [2, 2], auto_pad = "SAME_LOWER"> (z, w)',
    "depthwise": "strides = [2, 2], group = 6, pads = [1, 1, 1, 1]> (z, depthwise)",
    "wider than the image": "strides = [3, 3], pads = [7, 7, 7, 7]> (z, w)",
}


@pytest.mark.parametrize("attributes", BORDERS.values(), ids=BORDERS)
@pytest.mark.parametrize("batch", ["N", "1"])
def test_padding_makes_a_map(attributes, batch):
    size = f"{batch}, 6, 15, 13"
    if "7, 7" in attributes:
        size = f"{batch}, 6, 31, 29"
    check(f"{NORMALIZED} y = Conv <{attributes}", ["Conv", "Add"], size=size)


@pytest.mark.parametrize("spatial", ["19", "9, 8", "5, 6, 5"])
def test_one_to_three_dimensions(spatial):
    rank = spatial.count(",") + 1
    ones, twos = ", ".join("1" * 2 * rank), ", ".join("2" * rank)
    check(
        f"{BN} y = Conv <strides = [{twos}], pads = [{ones}]> (z, w)",
        ["Conv", "Add"],
        size=f"N, 6, {spatial}",
        w=normal(4, 6, *[3] * rank),
    )


def test_transposed_convolution_has_a_map_everywhere():
    check(
        "a = Add(x, t) b = Mul(a, s) z = Sub(b, k) y = ConvTranspose <group = 2, strides = [1, 1], "
        "pads = [2, 1, 1, 2]> (z, transposed)",
        ["ConvTranspose", "Add"],
    )
    check(
        "z = Mul(x, s) y = ConvTranspose <strides = [2, 2], output_padding = [1, 1]> "
        "(z, transposed)",
        ["ConvTranspose"],
    )
    check(f"{BN} y = ConvTranspose(z, point)", ["ConvTranspose"], point=normal(6, 2, 1, 1))
    check(f"{NORMALIZED} y = ConvTranspose(z, transposed)", ["ConvTranspose", "Add"])
    # Pads that crop the border away leave positions that see every tap.
    check(f"{BN} y = ConvTranspose <pads = [2, 2, 2, 2]> (z, transposed)", ["ConvTranspose"])


def test_one_position_needs_no_map():
    check(f"{BN} y = Conv <pads = [1, 1, 1, 1]> (z, w)", ["Conv"], size="N, 6, 1, 1")


@pytest.mark.parametrize("size", ["N, 6, H, W", "N, 6, 7, 5"])
def test_the_scale_alone_goes_into_a_padded_convolution(size):
    """A map would cost more, or cannot be: one Add is left of the chain."""
    feed = [2, 6, 7, 5]
    conv = "y = Conv <pads = [1, 1, 1, 1]> (z, w)"
    wide = normal(18, 6, 3, 3)
    check(f"{NORMALIZED} {conv}", ["Add", "Conv"], size=size, feed=feed, w=wide)
    check(f"z = Mul(x, s) {conv}", ["Conv"], size=size, feed=feed)
    check(f"z = Neg(x) {conv}", ["Conv"], size=size, feed=feed)
    result = check(f"{BN} {conv}", ["BatchNormalization", "Conv"], size=size, feed=feed, w=wide)
    cost = "moving it would cost more than it saves"
    assert reasons(result) == {"its spatial size is not static" if "H" in size else cost}


def test_map_limit():
    body = f"{BN} y = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (z, w)"
    check(body, ["Conv", "Add"], pipeline="push-affine{map-limit=48}")
    result = check(body, ["BatchNormalization", "Conv"], pipeline="push-affine{map-limit=47}")
    assert reasons(result) == {"the map of 48 elements is larger than map-limit"}


LARGE = {"size": "1, 6, 128, 128", "feed": [1, 6, 128, 128]}


PADDED = "y = Conv <pads = [1, 1, 1, 1]> (z, w)"


@pytest.mark.parametrize(
    ("body", "kept"), [(f"{BN} {PADDED}", "BatchNormalization"), (f"{NORMALIZED} {PADDED}", "Add")]
)
def test_a_map_does_not_multiply_the_file(body, kept):
    """Here it takes 256 KiB, and the weights take one."""
    result = check(body, [kept, "Conv"], **LARGE)
    if kept == "BatchNormalization":
        assert reasons(result) == {"the map of 262144 bytes would make the model much larger"}
    assert run_pass(result.graph, PASS).edits == 0
    check(body, ["Conv", "Add"], pipeline=f"{PASS}{{map-growth=320}}", **LARGE)


def test_maps_have_one_room_together():
    """Twelve of 98 KiB, of which one is nothing, beside weights of 4 KiB in all."""
    layers = " ".join(
        f"z{i} = BatchNormalization(x{i}, gain, bias, mean, var) "
        f"y{i} = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (z{i}, w{i})"
        for i in range(12)
    )
    names = [f"float[1, 6, 158, 158] x{i}" for i in range(12)]
    results = [f"float[] y{i}" for i in range(12)]
    text = f"g ({', '.join(names)}) => ({', '.join(results)}) {{ {layers} }}"
    model = model_of(text, {**weights(), **{f"w{i}": normal(4, 6, 2, 2) for i in range(12)}})
    before = planish.to_model(planish.load(model)).ByteSize()
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 1
    assert planish.to_model(result.graph).ByteSize() < before + 2**17 + 2048
    again = run_pass(result.graph, PASS)
    assert again.edits == 0
