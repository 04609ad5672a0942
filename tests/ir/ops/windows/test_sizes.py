"""Pads and sizes along one axis, against ONNX Runtime: the same few cases in every run."""

from __future__ import annotations

import numpy as np
import pytest

from planish.ir.ops.windows.sizes import (
    outputs_of,
    reach_of,
    same_pads,
    transposed_outputs,
    transposed_pads,
)

from tests.helpers import model_of, run_ort


def run(op, size, kernel, attrs):
    """Return input, weight and what the runtime makes of them, each of one axis."""
    x, w = np.arange(1, size + 1, dtype=np.float32), 10 ** np.arange(kernel, dtype=np.float32)
    text = f"g (float[1, 1, {size}] x) => (float[] y) {{ y = {op} <{attrs}> (x, w) }}"
    model = model_of(text, {"w": w.reshape(1, 1, -1)})
    return x, w, run_ort(model, {"x": x.reshape(1, 1, -1)})["y"].reshape(-1)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(5, 3, 1), (5, 4, 1), (6, 3, 2), (5, 2, 2), (6, 1, 3)]
)
def test_a_window_of_same_size_reads_where_the_runtime_does(size, kernel, stride, upper):
    auto = "SAME_UPPER" if upper else "SAME_LOWER"
    x, w, expected = run("Conv", size, kernel, f'auto_pad = "{auto}", strides = [{stride}]')
    pads = same_pads(size, kernel, stride, upper=upper)
    assert outputs_of(size, kernel, stride, *pads) == len(expected)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, pads), kernel)
    np.testing.assert_array_equal(windows[::stride] @ w, expected)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(5, 2, 1), (6, 3, 2), (7, 2, 3)])
def test_without_pads_there_are_none(size, kernel, stride):
    expected = run("Conv", size, kernel, f"strides = [{stride}]")[-1]
    assert outputs_of(size, kernel, stride) == len(expected)
    expected = run("ConvTranspose", size, kernel, f"strides = [{stride}]")[-1]
    assert transposed_outputs(size, kernel, stride, 0, 0) == len(expected)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "begin", "end", "extra"),
    [(3, 3, 2, 1, 1, 0, 0), (3, 3, 2, 1, 0, 1, 1), (4, 2, 3, 2, 0, 0, 2), (4, 3, 1, 2, 2, 1, 0)],
)
def test_a_transposed_axis_is_as_long_as_the_runtimes(
    size, kernel, stride, dilation, begin, end, extra
):
    steps = f"strides = [{stride}], dilations = [{dilation}]"
    attrs = f"{steps}, pads = [{begin}, {end}], output_padding = [{extra}]"
    expected = run("ConvTranspose", size, kernel, attrs)[-1]
    reach = reach_of(kernel, dilation)
    assert transposed_outputs(size, reach, stride, begin, end, extra=extra) == len(expected)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "extra", "wanted"),
    [
        (3, 3, 2, 0, None),
        (3, 4, 1, 0, None),
        (3, 2, 3, 0, None),  # fewer than size * stride, and no pads
        (3, 2, 3, 1, None),
        (3, 4, 2, 0, 5),
        (3, 4, 2, 1, 6),
        (3, 2, 3, 0, 9),  # one more than the kernel gives
    ],
)
def test_a_transposed_axis_is_cut_where_the_runtime_cuts(
    size, kernel, stride, extra, wanted, upper
):
    auto = f'auto_pad = "{"SAME_UPPER" if upper else "SAME_LOWER"}"'
    asked = auto if wanted is None else f"{auto}, output_shape = [{wanted}]"
    attrs = f"{asked}, strides = [{stride}], output_padding = [{extra}]"
    x, w, expected = run("ConvTranspose", size, kernel, attrs)
    begin, end = transposed_pads(size, kernel, stride, extra=extra, wanted=wanted, upper=upper)
    assert transposed_outputs(size, kernel, stride, begin, end, extra=extra) == len(expected)
    spread = np.zeros((size, stride))
    spread[:, 0] = x
    whole = np.convolve(spread.reshape(-1), w)[: (size - 1) * stride + kernel]
    whole = np.pad(whole, (0, extra + max(-end, 0)))
    np.testing.assert_array_equal(whole[begin : len(whole) - max(end, 0)], expected)
