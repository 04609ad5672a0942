"""Interpolation has the sizes and pixels of PyTorch, whether sizes are known or open."""

import numpy as np
import pytest

import planish

from tests.helpers import run_ort

torch = pytest.importorskip("torch")
DYNAMIC = torch.export.Dim.DYNAMIC
# Products with 1.3, 1.15 and 0.57 that float32 and doubles round to different integers.
SIZES = ((90, 63), (100, 60), (20, 70), (13, 26))


class Interpolated(torch.nn.Module):
    channels = 1  # which say nothing of positions

    def __init__(self, axes=2, **options):
        super().__init__()
        self.axes = axes
        self.options = options

    def forward(self, x):
        x = {1: lambda: x[:, :, :, 0], 2: lambda: x, 3: lambda: x[:, None]}[self.axes]()
        return torch.nn.functional.interpolate(x, **self.options)


def slow(*values, **more):
    return pytest.param(*values, marks=pytest.mark.slow, **more)


def image(module, height, width):
    return torch.rand(1, module.channels, height, width, generator=torch.Generator().manual_seed(0))


def traced(module, size, dynamic=False):
    shapes = ({2: DYNAMIC, 3: DYNAMIC},) if dynamic else None
    return planish.trace(module.eval(), image(module, *size), shapes)


def assert_same(module, graph, size):
    x = image(module, *size)
    expected = module(x).numpy()
    (found,) = run_ort(planish.to_model(graph), {graph.inputs[0].name: x.numpy()}).values()
    assert found.shape == expected.shape
    # Positions are rounded in float32: a part of a pixel, in proportion to the size.
    exact = module.options.get("mode", "nearest").startswith("nearest")
    np.testing.assert_allclose(found, expected, rtol=0, atol=0 if exact else 5e-5)


OPTIONS = [
    pytest.param({"scale_factor": 1.3}, id="nearest"),
    pytest.param({"scale_factor": 41.0}, id="nearest-of-whole-factor"),
    pytest.param({"size": (117, 91)}, id="nearest-to-size"),
    pytest.param({"scale_factor": (1.15, 1.3), "mode": "bilinear"}, id="bilinear"),
    slow({"scale_factor": 1.3, "mode": "bilinear", "align_corners": True}, id="corners"),
    slow({"scale_factor": 0.57, "mode": "bicubic"}, id="bicubic"),
    pytest.param({"scale_factor": 0.7, "mode": "bilinear", "antialias": True}, id="antialias"),
    slow({"scale_factor": 0.37, "mode": "bicubic", "antialias": True}, id="bicubic-antialias"),
    slow({"axes": 1, "scale_factor": 1.3, "mode": "linear"}, id="linear"),
    slow({"axes": 1, "scale_factor": 1.3}, id="nearest-1d"),
    slow({"axes": 3, "scale_factor": (2.0, 1.3, 1.15), "mode": "trilinear"}, id="trilinear"),
    slow({"axes": 3, "scale_factor": (2.0, 1.3, 1.15)}, id="nearest-3d"),
    slow({"scale_factor": 1.3, "mode": "nearest-exact"}, id="nearest-exact"),
    slow(
        {"scale_factor": 1.3, "mode": "bilinear", "recompute_scale_factor": True}, id="recomputed"
    ),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_open_sizes(options):
    module = Interpolated(**options)
    graph = traced(module, (72, 100), dynamic=True)
    for size in SIZES:
        assert_same(module, graph, size)


@pytest.mark.parametrize(
    "size", [SIZES[0], slow(SIZES[1]), slow(SIZES[2]), slow(SIZES[3])], ids=str
)
@pytest.mark.parametrize("options", OPTIONS)
def test_known_sizes(options, size):
    module = Interpolated(**options)
    assert_same(module, traced(module, size), size)


@pytest.mark.parametrize("dynamic", [False, slow(True)])
@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 2},
        slow({"scale_factor": 3.0}),
        slow({"scale_factor": (0.5, 1.5)}),
        slow({"scale_factor": 2.0, "mode": "bilinear"}),
        slow({"scale_factor": 2.0, "mode": "bilinear", "align_corners": True}),
    ],
    ids=str,
)
def test_what_resize_has_is_one_resize(options, dynamic):
    module = Interpolated(**options)
    graph = traced(module, (16, 12), dynamic)
    assert [node.op for node in graph.nodes if node.op != "Constant"] == ["Resize"]
    assert_same(module, graph, (14, 10) if dynamic else (16, 12))


class Pyramid(torch.nn.Module):
    """Features of two scales, of which the lower takes the size of the other."""

    channels = 3

    def __init__(self):
        super().__init__()
        self.options = {"mode": "a part of it"}
        self.down = torch.nn.Conv2d(3, 3, 3, stride=2, padding=1)
        self.smooth = torch.nn.Conv2d(3, 3, 3, padding=1)

    @torch.no_grad()
    def forward(self, x):
        lower = self.down(self.down(x))
        return self.smooth(x + torch.nn.functional.interpolate(lower, size=x.shape[2:]))


def test_to_the_size_of_another():
    module = Pyramid()
    graph = traced(module, (72, 100), dynamic=True)
    for size in (*SIZES, (61, 122), (164, 8)):
        assert_same(module, graph, size)
