"""`torch.compile(module, backend="planish")`, in PyTorch itself."""

import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from planish.integrations.torch_compile import making, network, watched
from planish.integrations.torch_compile.backend import compile_graph
from planish.integrations.torch_compile.network import EagerWarning
from planish.integrations.torch_compile.options import CompileOptions
from planish.ir.core.errors import PipelineError


class Small(nn.Module):
    """Two layers with sizes that are read off the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x))).view(x.shape[0], -1) * x.shape[2]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setenv("PLANISH_NETWORKS", "")
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def seen(monkeypatch):
    """The runtimes' networks that were made, in order."""
    found = []
    lowered = making.lowered

    def spy(graph, options, feed):
        found.append((graph, lowered(graph, options, feed)))
        return found[-1][1]

    monkeypatch.setattr(making, "lowered", spy)
    return found


def small(seed=0):
    torch.manual_seed(seed)
    module = Small().eval()
    module.norm.running_var.uniform_(0.5, 2)
    return module


def compiled(module, **options):
    return torch.compile(module, backend=compile_graph, options={"threads": 1, **options})


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_it_is_found_by_name_and_one_network_serves_open_sizes(seen):
    module = small()
    function = torch.compile(module, backend="planish", dynamic=True)
    for shape in ((2, 3, 8, 9), (5, 3, 9, 9), (3, 3, 10, 12)):
        x = torch.randn(shape)
        same(function(x), module(x))
    ((graph, _),) = seen
    # BatchNormalization was whole, and is in the convolution.
    assert "BatchNormalization" not in {node.op for node in graph.nodes}

    assert len(graph.inputs) == 1


@torch.no_grad()
def test_weights_that_change_are_seen_and_in_the_end_left_to_pytorch(seen, monkeypatch):
    monkeypatch.setattr(network, "_MOST_CHANGES", 1)
    module = small()
    function = compiled(module)
    x = torch.randn(2, 3, 8, 8)
    same(function(x), module(x))
    module.conv.weight.mul_(2)
    same(function(x), module(x))
    same(function(x), module(x))
    assert len(seen) == 2
    module.norm.running_mean.add_(1)
    with pytest.warns(EagerWarning, match="its weights have changed 2 times"):
        found = function(x)
    same(found, module(x))
    assert len(seen) == 2


@torch.no_grad()
def test_what_pytorch_does_not_count_is_seen(seen):
    module = small()
    function = compiled(module)
    x = torch.randn(2, 3, 8, 8)
    same(function(x), module(x))
    module.train()(x)  # new statistics
    module.eval()
    same(function(x), module(x))
    module.conv.weight.data.mul_(2)
    same(function(x), module(x))
    assert len(seen) == 3


@torch.inference_mode()
def test_inference_mode_and_the_order_in_memory(seen):
    module = nn.Conv2d(3, 4, 3).eval()
    function = compiled(module)
    x = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    found, expected = function(x), module(x)
    same(found, expected)
    assert found.stride() == expected.stride()
    assert len(seen) == 1


def warned(module, *inputs):
    """Return why a module is left to PyTorch, which it has to be, with its own result."""
    copies = [each.clone() for each in inputs]
    with pytest.warns(EagerWarning) as caught, torch.no_grad():
        found = compiled(module)(*inputs)
    with torch.no_grad():
        same(found, module(*copies))
    same(inputs, tuple(copies))
    assert len(caught) == 1
    return str(caught[0].message)


class Writes(nn.Module):
    def forward(self, x):
        x.add_(1)
        return x * 2


class Shares(nn.Module):
    def forward(self, x):
        return x * 2, x.view(-1)


class Counts(nn.Module):
    def forward(self, x):
        return x * 2, torch.linalg.eigvals(x[0, 0])


class Draws(nn.Module):
    def forward(self, x):
        return x * torch.rand_like(x)


def test_what_pytorch_has_to_run_is_told_once():
    x = torch.randn(1, 1, 4, 4)
    assert "writes to its inputs" in warned(Writes(), x.clone())
    assert "share memory" in warned(Shares(), x)
    with torch.random.fork_rng():
        assert "random numbers" in warned(Draws(), torch.zeros(1, 1, 4, 4))
    told = warned(Counts(), x)
    assert told.startswith("planish leaves a graph of ")
    assert "cannot trace" in told or "torch.export" in told


def test_training_and_gradients_are_pytorchs():
    module = small()
    x = torch.randn(2, 3, 8, 8)
    function = compiled(module)
    with pytest.warns(EagerWarning, match=r"gradients are asked for: call it under torch\.no_grad"):
        function(x).sum().backward()
    assert module.conv.weight.grad.abs().sum() > 0
    module.train()
    before = module.norm.running_mean.clone()
    with pytest.warns(EagerWarning, match="writes to its inputs or buffers"), torch.no_grad():
        found = compiled(module)(x)
    module.norm.running_mean.copy_(before)
    same(found, module(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pipline": "exact"}, r"'pipline'.*did you mean 'pipeline'"),
        ({"pipeline": "exakt"}, "exakt"),
        ({"threads": "2"}, "'threads' is '2'; give 1 or more"),
        ({"watch": 1}, "'watch' is 1; give a bool"),
        ({"cache": 3}, "'cache' is 3; give a bool, or a folder"),
        ({"feeds": 3}, "'feeds' is .*; give tuples"),
        ({"feeds": [3]}, "sample 0 of .* 'feeds' is .*; give a tuple of tensors"),
        ({"feeds": torch.randn(1, 3, 8, 8)}, "sample 0 of .* 'feeds' is .*; give a tuple"),
        ({"feeds": [(torch.ones(1, 3, 8, 8),), ("x",)]}, "sample 1 of .* has .*; give tensors"),
        ({"feeds": []}, "'feeds' is empty"),
        ({"runtime": "onnxruntim"}, r"did you mean 'onnxruntime'"),
        ({"lower": {"spining": True}}, r"no option 'spining' \(did you mean 'spinning'"),
        ({"lower": {"spinning": 3}}, "spinning is 3; give true or false"),
        ({"runtime": "onnxruntime{spining=true}"}, r"no option 'spining'"),
        ({"lower": {"threads": 3}}, "'lower' has 'threads'; give options of the runtime's backend"),
    ],
)
def test_mistakes_in_options_are_errors(options, message):
    with pytest.raises(Exception, match=message), torch.no_grad():
        torch.compile(small(), backend="planish", options=options)(torch.randn(1, 3, 8, 8))


def test_modes():
    assert CompileOptions.of(None, "default") == CompileOptions.of({}, None) == CompileOptions()
    assert CompileOptions.of(None, "max-autotune").runtime == "auto"
    assert CompileOptions.of(None, "max-autotune-no-cudagraphs").runtime == "auto"
    assert not CompileOptions.of(None, "reduce-overhead").watch
    with pytest.raises(PipelineError, match=r"'max-autotun' \(did you mean 'max-autotune'"):
        CompileOptions.of(None, "max-autotun")
    with pytest.raises(PipelineError, match="'max-autotune' sets the option 'runtime'; leave one"):
        CompileOptions.of({"runtime": "tvm"}, "max-autotune")


@torch.no_grad()
def test_weights_that_are_not_watched_count_as_they_were(seen):
    module = small()
    function = torch.compile(module, backend="planish", mode="reduce-overhead", dynamic=True)
    x = torch.randn(2, 3, 8, 9)
    expected = module(x)
    same(function(x), expected)
    module.conv.weight.mul_(2)
    same(function(x), expected)
    other = torch.randn(2, 3, 10, 12)  # numbers are watched all the same
    assert function(other).shape == module(other).shape
    assert len(seen) == 1


@torch.no_grad()
def test_single_elements_that_pytorch_does_not_count_are_seen_now_and_then(seen, monkeypatch):
    monkeypatch.setattr(watched, "_CALLS", 3)
    module = small()
    function = compiled(module)
    x = torch.randn(2, 3, 8, 8)
    same(function(x), module(x))
    module.conv.weight.data[-1, -1, -1, -1] += 2
    for _ in range(3):
        found = function(x)
    same(found, module(x))


@torch.no_grad()
def test_first_calls_from_several_threads(seen):
    module = small()
    function = compiled(module)
    inputs = [torch.randn(2, 3, 8, 8) for _ in range(4)]
    wrong = []

    def run(x):
        with torch.no_grad():
            expected = module(x)
            wrong.extend(i for i in range(20) if not torch.allclose(function(x), expected, 1e-3))

    workers = [threading.Thread(target=run, args=(x,)) for x in inputs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
    assert not torch.compiler.is_exporting()
    made = len(seen)  # Dynamo itself may have traced it in each thread
    for x in inputs:
        function(x)
    assert len(seen) == made <= len(inputs)


@pytest.mark.slow
@torch.no_grad()
def test_integers_learn_from_feeds(seen):
    module = small()
    samples = [(torch.randn(1, 3, 32, 32),) for _ in range(8)]
    pipeline = "exact,quantize{measure=false,guard=off}"
    function = compiled(module, pipeline=pipeline, feeds=samples)
    x = torch.randn(1, 3, 32, 32)
    expected, found = module(x), function(x)
    assert "QuantizeLinear" in {node.op for node in seen[0][0].nodes}
    assert 10 * np.log10(expected.square().sum() / (found - expected).square().sum()) > 20


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "tvm"])
def test_example_networks_on_every_runtime(runtime):
    pytest.importorskip(runtime)
    from examples import models

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", EagerWarning)
        for name in ("mobilenet_v2", "shufflenet_v2", "unet", "densenet121"):
            module = models.build(name).eval()
            (x,) = models.example_inputs(name, size=64)
            expected, found = module(x), compiled(module, runtime=runtime)(x)
            assert (found - expected).abs().max() <= 1e-3 * expected.abs().max()
