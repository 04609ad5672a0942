"""Sizes that Python decides while a module is traced: refused, or right at every size."""

import math

import numpy as np
import pytest

import planish
from planish.ir.core.errors import TraceError
from planish.ir.torch.sizes import decided

from tests.helpers import run_ort

torch = pytest.importorskip("torch")
functional = torch.nn.functional
DYNAMIC = torch.export.Dim.DYNAMIC
SIZES = ((72, 100), (50, 90), (100, 25), (170, 45), (90, 170), (33, 50), (64, 96), (200, 10))


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def slow(*values, **more):
    return pytest.param(*values, marks=pytest.mark.slow, **more)


def image(height=72, width=100):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def traced(function, height=DYNAMIC, width=None):
    return planish.trace(Module(function).eval(), image(), ({2: height, 3: width},))


def branch(x):
    return x * 2 if x.shape[2] > 64 else x * 3


def rounded(x):
    return functional.pad(x, (0, 0, 0, int(x.shape[2] * 0.1)))


def looped(x):
    return sum(x[:, :, i] for i in range(x.shape[2] // 8))


def padded_if_needed(x):
    missing = (32 - x.shape[2] % 32) % 32
    return functional.pad(x, (0, 0, 0, missing)) if missing else x


def of_a_list(x):
    return x * (2 if x.shape[2] in (64, 128) else 3)


def pooled_to_three(x):  # PyTorch takes the windows apart, for the example's size
    return functional.adaptive_avg_pool2d(x, 3)


def in_three(x):  # a kernel of C++ decides
    return torch.cat(x.tensor_split(3, 2)[::-1], 2)


@pytest.mark.parametrize(
    ("function", "condition"),
    [
        (branch, r"x\.shape\[2\] > 64 \(.*test_decided\.py:\d+: return x \* 2 if x"),
        slow(rounded, r"math\.trunc\(0\.1\*\(x\.shape\[2\]\)\) == 7"),
        slow(looped, r"\(x\.shape\[2\] // 8\) == 9"),
        slow(padded_if_needed, r"% 32\) != 0"),
        slow(of_a_list, r"x\.shape\[2\] != 64"),
        (pooled_to_three, r"in PyTorch's adaptive_avg_pool2d, _decomp"),
        (in_three, r"\(x\.shape\[2\] % 3\) <= 0"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_what_the_example_decides_is_refused(function, condition):
    with pytest.raises(TraceError, match=condition) as refusal:
        traced(function)
    assert "declare bounds or multiples" in str(refusal.value)
    if function is branch:
        assert 'torch.export.Dim("n", min=65)' in str(refusal.value)


def test_bounds_that_do_not_hold_are_not_narrowed_in_silence():
    height = torch.export.Dim("height", min=8, max=512)
    with pytest.raises(TraceError, match=r"x\.shape\[2\] > 64"):
        traced(branch, height)


@pytest.mark.slow
def test_multiples_that_do_not_settle_it_are_refused():
    with pytest.raises(TraceError, match=r"x\.shape\[2\] > 64"):
        traced(branch, 8 * torch.export.Dim("eighth", min=8))


def test_a_program_tells_what_was_decided():
    program = torch.export.export(Module(branch).eval(), (image(),), dynamic_shapes=({2: DYNAMIC},))
    with pytest.raises(TraceError, match=r"x\.shape\[2\] > 64 \(.*test_decided\.py"):
        planish.trace(program)


def test_a_loaded_program_says_where_its_graph_is_right(tmp_path):
    program = torch.export.export(Module(branch).eval(), (image(),), dynamic_shapes=({2: DYNAMIC},))
    torch.export.save(program, tmp_path / "program.pt2")
    with pytest.warns(UserWarning, match=r"loaded.*only where .*\[2\] > 64"):
        planish.trace(torch.export.load(tmp_path / "program.pt2"))


def test_a_pytorch_that_does_not_tell_is_named(monkeypatch):
    decided._listen(torch)  # once a process, so not in what follows
    monkeypatch.delattr(torch.fx.experimental.symbolic_shapes.ShapeEnv, "_log_guard")
    decided._listen.__wrapped__(torch)
    with pytest.warns(UserWarning, match="does not tell what the example decides"):
        traced(lambda x: x * 2)


@pytest.mark.parametrize(
    "height",
    [
        slow(torch.export.Dim("height", min=65), id="named"),
        pytest.param(torch.export.Dim.DYNAMIC(min=65), id="hint"),
        pytest.param(8 * torch.export.Dim("eighth", min=9), id="multiple"),
    ],
)
def test_declared_bounds_settle_it(height):
    graph = traced(branch, height)
    assert isinstance(graph.inputs[0].shape[2], str)
    for size in (72, 80, 400):
        assert_same(branch, graph, image(size, 100))


def usual(x):
    if x.shape[2] % 2:
        raise ValueError("odd")
    assert x.shape[3] > 4
    y = functional.conv2d(x, torch.ones(4, 3, 3, 3) / 27, stride=2, padding=1)
    y = functional.max_pool2d(y, 3, 2, 1, ceil_mode=True)
    z = functional.interpolate(y, size=x.shape[2:], mode="bilinear")
    z = functional.pad(z, (0, (32 - x.shape[3] % 32) % 32))
    a = y.flatten(2)
    return z, functional.instance_norm(x), a @ a.transpose(1, 2), y.mean((2, 3))


def test_what_only_refuses_or_lays_out_is_no_decision():
    graph = traced(usual, width=DYNAMIC)
    assert all(isinstance(size, str) for size in graph.inputs[0].shape[2:])
    for height, width in SIZES:
        assert_same(usual, graph, image(2 * height, width))


def of_reals(x):
    height, width = x.shape[2:]
    more = math.ceil(height * 1.1), math.ceil(2.2 * width), math.floor(height * 1.3)
    return (
        functional.pad(x, (0, more[1] - width, 0, more[0] - height)),
        functional.pad(x, (0, 0, 0, more[2] - height)),
        x * (height * 1.1) + width / 3,
        x[:, :, :, : math.trunc(width * 0.7)] * width**0.5,
    )


def test_sizes_are_computed_as_python_does():
    graph = traced(of_reals, width=DYNAMIC)
    for height, width in SIZES:
        assert_same(of_reals, graph, image(height, width))


def assert_same(function, graph, x):
    found = run_ort(planish.to_model(graph), {graph.inputs[0].name: x.numpy()})
    expected = function(x)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for now, was in zip(found.values(), expected, strict=True):
        assert now.dtype == was.numpy().dtype
        np.testing.assert_allclose(now, was.numpy(), rtol=1e-4, atol=1e-5)
