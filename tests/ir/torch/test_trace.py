"""Tracing PyTorch; exports take seconds each, so they are few and tiny."""

import warnings

import numpy as np
import pytest

import planish
from planish.ir.core.errors import TraceError

from tests.helpers import run_ort

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x, scale):
        return self.drop(torch.relu(self.norm(self.conv(x)))) * scale


def inputs(batch=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, 8, 8, generator=generator), torch.tensor([2.0])


def net():
    torch.manual_seed(0)
    made = Net()
    with torch.no_grad():
        made.norm.running_mean.uniform_(-1, 1)
        made.norm.running_var.uniform_(0.5, 2)
    return made.eval()


def assert_same(module, graph, x, scale):
    names = [tensor.name for tensor in graph.inputs]
    feeds = dict(zip(names, (x.numpy(), scale.numpy()), strict=True))
    (found,) = run_ort(planish.to_model(graph), feeds).values()
    with torch.no_grad():
        expected = module(x, scale).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def batch():
    return torch.export.Dim("batch", min=1, max=64)


def test_a_module_with_dynamic_batch_traced_in_training_mode(batch):
    module = net().train()
    module.drop.eval()
    with pytest.warns(UserWarning, match="Net is in training mode"):
        graph = planish.trace(module, inputs(), ({0: batch}, None))
    assert module.training
    assert module.norm.training
    assert not module.drop.training  # each part is handed back as it was
    module.eval()
    symbol = graph.inputs[0].shape[0]
    assert isinstance(symbol, str)
    assert graph.inputs[0].shape[1:] == [3, 8, 8]
    assert graph.outputs[0].shape[0] == symbol
    for size in (1, 2, 5):
        assert_same(module, graph, *inputs(size))
    weights = {t.name: t.values for n in graph.nodes for t in n.inputs if hasattr(t, "values")}
    for name, value in module.state_dict().items():
        if "num_batches" not in name:
            np.testing.assert_array_equal(weights[name], value.numpy())
    for node in graph.nodes:  # nothing of this machine's paths or source lines
        assert __file__ not in str(node.__dict__)
        assert "def forward" not in str(node.__dict__)


def test_an_exported_program_and_a_graph_module_and_keyword_arguments(batch):
    module = net()
    x, scale = inputs()
    program = torch.export.export(module, (x, scale), dynamic_shapes=({0: batch}, None))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        graph = planish.trace(program)
    assert isinstance(graph.inputs[0].shape[0], str)
    assert_same(module, graph, *inputs(3))
    symbolic = torch.fx.symbolic_trace(module)
    graph = planish.trace(symbolic, {"x": x, "scale": scale})
    assert [tensor.name for tensor in graph.inputs] == ["x", "scale"]
    assert graph.inputs[0].shape == [2, 3, 8, 8]
    assert_same(module, graph, x, scale)


def test_what_cannot_be_traced_says_why():
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x

    with pytest.raises(TraceError, match="cannot trace Branching"):
        planish.trace(Branching().eval(), torch.ones(2))
    with pytest.raises(TraceError, match="needs example_inputs"):
        planish.trace(net())
    with pytest.raises(TraceError, match="cannot trace a function"):
        planish.trace(lambda x: x, torch.ones(2))


class Named(torch.nn.Module):
    """Weights whose plain names are those of an input and of what the exporter makes."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("mean", torch.rand(3, 1, 1, generator=generator))
        self.mul = torch.nn.Parameter(torch.rand(3, 1, 1, generator=generator))
        self.x = torch.nn.Parameter(torch.rand(3, 1, 1, generator=generator))
        self.x_1 = torch.nn.Parameter(torch.rand(3, 1, 1, generator=generator))

    def forward(self, x, scale):
        return ((x - self.mean) * self.mul * self.x * self.x_1 * scale).mean((2, 3))


def test_a_weight_named_like_an_input_or_a_result():
    module = Named().eval()
    graph = planish.trace(module, inputs())
    assert [type(t).__name__ for t in graph.inputs] == ["Variable", "Variable"]
    assert [t.name for t in graph.inputs] == ["x", "scale"]
    weights = {t.name: t.values for n in graph.nodes for t in n.inputs if hasattr(t, "values")}
    for name, found in (("mean", "mean"), ("mul", "mul"), ("x", "x_2"), ("x_1", "x_1")):
        expected = module.state_dict()[name].numpy()
        np.testing.assert_array_equal(weights[found], expected)
    assert graph.outputs[0].name == "mean_1"
    assert_same(module, graph, *inputs())


def test_a_failed_trace_hands_the_module_back_in_its_mode():
    module = net().train()
    with (
        pytest.warns(UserWarning, match="training mode"),
        pytest.raises(TraceError, match="cannot trace Net"),
    ):
        planish.trace(module, torch.ones(2))  # one argument is missing
    assert module.training
    assert module.conv.training


class Volumes(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv3d(2, 4, 3, padding=1, bias=False)
        self.grouped = torch.nn.Conv3d(4, 4, 3, groups=2, bias=False)
        self.biased = torch.nn.Conv3d(4, 3, 1)

    def forward(self, x):
        return self.biased(torch.relu(self.grouped(torch.relu(self.first(x)))))


@pytest.mark.parametrize("dynamic", [False, True])
def test_convolutions_of_volumes_without_bias_run(dynamic):
    module = Volumes().eval()
    x = torch.randn(2, 2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    shapes = {"x": {0: torch.export.Dim("N", min=1, max=64)}} if dynamic else None
    graph = planish.trace(module, (x,), shapes)
    convolutions = [node for node in graph.nodes if node.op == "Conv"]
    assert [len(node.inputs) for node in convolutions] == [2, 2, 3]
    assert [node.op for node in graph.nodes] == ["Conv", "Relu", "Conv", "Relu", "Conv"]
    (found,) = run_ort(planish.to_model(graph), {graph.inputs[0].name: x.numpy()}).values()
    with torch.no_grad():
        np.testing.assert_allclose(found, module(x).numpy(), rtol=1e-4, atol=1e-5)


SIZES = (
    lambda h: h // -2,
    lambda h: -h // 2,
    lambda h: (5 - h) // 3,
    lambda h: (5 - h) // -3,
    lambda h: 17 // (6 - h * 4),
    lambda h: (5 - h) % 4,
    lambda h: h % -3,
    lambda h: (5 - h) % -4,
    lambda h: (3.5 - h) % 3,
    lambda h: h % -1.5,
    lambda h: max(7 - h, 0) // 2,
    lambda h: (h + 1) // 2 % 3,
)


class Sized(torch.nn.Module):
    """Pads as TensorFlow does, and has sizes that divide and are divided with either sign."""

    def forward(self, x, scale):
        h = x.shape[2]
        total = max((-(h // -2) - 1) * 2 + 3 - h, 0)
        padded = torch.nn.functional.pad(x, (0, 0, total // 2, total - total // 2))
        found = torch.stack([scale * f(h) for f in SIZES])
        return torch.nn.functional.avg_pool2d(padded, 3, 2)[:, :1], found


def test_python_rounds_down_what_divides_sizes():
    x, scale = inputs()
    graph = planish.trace(Sized().eval(), (x, scale), ({2: torch.export.Dim.AUTO}, None))
    # Where nothing is negative Div of integers rounds down by itself.
    assert {"Add", "Max"} <= {node.i().op for node in graph.nodes if node.op == "Div"}
    model = planish.to_model(graph)
    for height in range(4, 17):
        given = torch.randn(2, 3, height, 8, generator=torch.Generator().manual_seed(height))
        feeds = dict(
            zip([t.name for t in graph.inputs], (given.numpy(), scale.numpy()), strict=True)
        )
        for found, wanted in zip(
            run_ort(model, feeds).values(), Sized()(given, scale), strict=True
        ):
            np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-6)
