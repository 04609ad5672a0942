"""What convolutions make of a constant image, and whether it is one value."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from planish.ir.ops.linear.kernel import from_conv, from_conv_transpose
from planish.passes.linear.push_affine.border import (
    constant_image,
    is_uniform,
    seen_taps,
    sees_every_tap,
)

from tests.helpers import graph_of
from tests.passes.linear.push_affine.common import (
    normal,
)

GEOMETRY = list(itertools.product((1, 2, 3), (1, 2), (1, 2), (0, 1), (0, 2)))


@pytest.mark.parametrize(("kernel", "stride", "dilation", "begin", "end"), GEOMETRY)
def test_image_of_a_constant_convolution(kernel, stride, dilation, begin, end):
    """The map, summed tap by tap along each axis, against PyTorch on the image itself."""
    graph = graph_of(
        f"""g (float[1, 4, 6, 7] x) => (float[] y) {{
            y = Conv <group = 2, kernel_shape = [{kernel}, 2], strides = [{stride}, 1],
                      dilations = [{dilation}, 1], pads = [{begin}, 0, {end}, 1]> (x, w) }}""",
        {"w": normal(6, 2, kernel, 2)},
    )
    view = _view(graph)
    weight, values = normal(6, 2, kernel, 2).astype(np.float64), normal(4).astype(np.float64)
    seen = seen_taps(graph.nodes[0], (6, 7), view)
    found = constant_image(from_conv(weight, None, 2), values, seen)
    image = torch.from_numpy(np.broadcast_to(values[:, None, None], (1, 4, 6, 7)).copy())
    padded = torch.nn.functional.pad(image, (0, 1, begin, end))
    expected = torch.nn.functional.conv2d(
        padded, torch.from_numpy(weight), stride=(stride, 1), dilation=(dilation, 1), groups=2
    )[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "pad", "extra"),
    [g for g in itertools.product((1, 2, 3), (1, 2, 3), (1, 2), (0, 1), (0, 1)) if g[4] < g[1]],
)
def test_image_of_a_constant_transposed_convolution(kernel, stride, dilation, pad, extra):
    graph = graph_of(
        f"""g (float[1, 4, 6, 5] x) => (float[] y) {{
            y = ConvTranspose <group = 2, kernel_shape = [{kernel}, 2], strides = [{stride}, 1],
                dilations = [{dilation}, 1], pads = [{pad}, 0, {pad}, 0],
                output_padding = [{extra}, 0]> (x, w) }}""",
        {"w": normal(4, 3, kernel, 2)},
    )
    weight, values = normal(4, 3, kernel, 2).astype(np.float64), normal(4).astype(np.float64)
    seen = seen_taps(graph.nodes[0], (6, 5), _view(graph))
    found = constant_image(from_conv_transpose(weight, None, 2), values, seen)
    image = torch.from_numpy(np.broadcast_to(values[:, None, None], (1, 4, 6, 5)).copy())
    expected = torch.nn.functional.conv_transpose2d(
        image,
        torch.from_numpy(weight),
        stride=(stride, 1),
        padding=(pad, 0),
        output_padding=(extra, 0),
        dilation=(dilation, 1),
        groups=2,
    )[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("attributes", "kernel", "expected"),
    [
        ("strides = [1]", 1, True),
        ("strides = [1]", 2, False),
        ("strides = [2]", 1, False),
        ("strides = [2]", 2, False),
        ("pads = [0, 1]", 1, False),
        ("dilations = [2], output_padding = [1]", 1, False),
        ("output_shape = [4]", 1, False),
    ],
)
def test_a_transposed_convolution_of_any_size_that_is_even(attributes, kernel, expected):
    graph = graph_of(
        f"g (float[1, 1, H] x) => (float[] y) {{ y = ConvTranspose <{attributes}> (x, w) }}",
        {"w": normal(1, 1, kernel)},
    )
    assert sees_every_tap(graph.nodes[0], [kernel]) == expected


def test_an_image_without_outputs_is_not_uniform():
    assert not is_uniform((np.ones((3, 2)), np.ones((0, 2))))
    assert is_uniform((np.ones((3, 2)), np.ones((1, 2))))


def _view(graph):
    from planish.passes.engine.context import Context

    context = Context(graph)
    return context.view()
