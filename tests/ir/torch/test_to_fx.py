"""Modules made of graphs: names, sharing, modes, gradients, refusals, writing back."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import planish

from tests.helpers import graph_of, model_of, model_using, relative_error, run_ort

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


class Net(nn.Module):
    """Parameters of every kind: of layers, of the module itself, alone, and a buffer."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU6()
        )
        self.plain = nn.BatchNorm2d(4, affine=False)
        self.act = nn.PReLU(4)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.gamma = nn.Parameter(torch.randn(4, 1, 1))
        self.register_buffer("offset", torch.randn(3, 1, 1))
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.act(self.plain(self.features(x - self.offset)))
        x = self.up(x * self.gamma) * self.scale + 0.5
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def traced():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net()
        for norm in (net.features[1], net.plain):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
        x = torch.randn(2, 3, 6, 6)
    batch = torch.export.Dim("batch")
    return net.eval(), x, planish.trace(net, (x,), dynamic_shapes=({0: batch},))


def test_a_state_dict_goes_both_ways(traced):
    net, x, graph = traced
    module = planish.to_fx(graph)
    with torch.no_grad():
        torch.testing.assert_close(module(x), net(x), rtol=1e-5, atol=1e-6)
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    module.load_state_dict(other.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(module(x), other(x), rtol=1e-5, atol=1e-6)
    again = copy.deepcopy(net)
    again.load_state_dict(module.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(again(x), other(x))


def test_layers_are_those_of_the_source(traced):
    module = planish.to_fx(traced[2])
    kinds = {path: type(part) for path, part in module.named_modules()}
    assert kinds["features.0"] is nn.Conv2d
    assert kinds["features.1"] is nn.BatchNorm2d
    assert kinds["plain"] is nn.BatchNorm2d
    assert kinds["up"] is nn.ConvTranspose2d
    assert kinds["head"] is nn.Linear
    assert nn.ReLU6 in kinds.values()


def test_another_batch_size_runs(traced):
    net, _, graph = traced
    x = torch.randn(5, 3, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(planish.to_fx(graph)(x), net(x), rtol=1e-5, atol=1e-6)


def test_training_uses_the_batch_and_evaluation_the_statistics(traced):
    net, x, graph = traced
    module, source = planish.to_fx(graph), copy.deepcopy(net).train()
    assert not module.training
    module.train()
    torch.testing.assert_close(module(x), source(x), rtol=1e-4, atol=1e-5)
    for name, buffer in source.named_buffers():
        if name != "offset":  # a graph does not say that this was no parameter
            torch.testing.assert_close(module.get_buffer(name), buffer)


def test_what_was_trained_is_written_back(traced):
    _, x, graph = traced
    before = planish.to_model(graph).SerializeToString()
    module = planish.to_fx(graph).train()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    module(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
    optimizer.step()
    written = planish.from_fx(copy.deepcopy(module.eval()))
    assert [n.name for n in written.nodes] == [n.name for n in graph.nodes]
    assert planish.to_model(graph).SerializeToString() == before
    found = run_ort(planish.to_model(written), {graph.inputs[0].name: x.numpy()})
    with torch.no_grad():
        expected = module(x).numpy()
    assert relative_error(expected, next(iter(found.values()))) < 1e-5
    untrained = run_ort(planish.to_model(graph), {graph.inputs[0].name: x.numpy()})
    assert relative_error(expected, next(iter(untrained.values()))) > 1e-3


def test_gradients_are_those_of_differences():
    weights = {"w": normal(2, 2, 3, 3), "b": normal(2), "m": normal(2, 3), "up": normal(2, 2, 2, 2)}
    weights |= {"scale": np.abs(normal(2)) + 0.5, "mean": normal(2), "var": np.abs(normal(2)) + 0.5}
    body = """a = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w, b)
        n = BatchNormalization(a, scale, b, mean, var)
        s = Sigmoid(n)
        t = Mul(n, s)
        u = ConvTranspose <strides = [2, 2], pads = [0, 0, 1, 1]> (t, up)
        p = AveragePool <kernel_shape = [2, 2], pads = [1, 0, 0, 0]> (u)
        g = GlobalAveragePool(p)
        f = Flatten(g)
        y = Gemm(f, m)"""
    graph = planish.load(model_using(weights, body, "float[N, 2, 5, 5] x"))
    module = planish.to_fx(graph).double()
    names = [name for name, _ in module.named_parameters()]
    assert len(names) == 5
    values = [p.detach().clone().requires_grad_() for p in module.parameters()]
    x = torch.from_numpy(normal(2, 2, 5, 5)).double().requires_grad_()

    def run(x, *parameters):
        state = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(module, state, (x,))

    assert torch.autograd.gradcheck(run, (x, *values))


def test_shared_weights_stay_shared():
    text = """g (float[N, 3, 6, 6] x) => (float[N, 3, 6, 6] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        b = Conv <pads = [1, 1, 1, 1]> (a, w)
        y = Conv <pads = [2, 2, 2, 2], dilations = [2, 2]> (b, w)
    }"""
    module = planish.to_fx(graph_of(text, {"w": normal(3, 3, 3, 3)}))
    (weight,) = module.parameters()
    assert sum(isinstance(part, nn.Conv2d) for part in module.modules()) == 1
    with torch.no_grad():
        weight.zero_()
    assert not module(torch.randn(1, 3, 6, 6)).any()


def test_names_of_other_exporters_become_clean_ones():
    model = model_of(
        """g (float[N, 3, 6, 6] x) => (float[N, 4] y) {
            a = Conv (x, k, b)
            g = GlobalAveragePool(a)
            f = Flatten(g)
            y = MatMul(f, m)
        }""",
        {"k": normal(4, 3, 3, 3), "b": normal(4), "m": normal(4, 4)},
    )
    renamed = {"k": "model/conv1/Conv2D:0", "b": "onnx::Conv_12", "m": "dense/kernel:0"}
    for tensor in model.graph.initializer:
        tensor.name = renamed[tensor.name]
    for node in model.graph.node:
        node.name = f"model/{node.output[0]}/{node.op_type}"
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    module = planish.to_fx(planish.load(model))
    assert sorted(dict(module.named_parameters())) == [
        "model_a_Conv.bias",
        "model_a_Conv.weight",
        "model_y_MatMul.weight",
    ]
    with torch.no_grad():
        module.get_parameter("model_y_MatMul.weight").copy_(torch.arange(16.0).reshape(4, 4))
    written = planish.from_fx(module).tensors()["dense/kernel:0"].values
    np.testing.assert_array_equal(written, np.arange(16).reshape(4, 4).T)


def test_fused_operators_are_walked():
    weights = {"w": normal(4, 3, 3, 3), "b": normal(4), "w2": normal(4, 4, 3, 3)}
    body = """a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
        r = Relu(a)
        c = Conv <pads = [1, 1, 1, 1]> (r, w2)
        d = Add(c, r)
        y = Relu(d)"""
    model = model_using(weights, body, "float[N, 3, 6, 6] x")
    graph = planish.Pipeline.parse("exact").run(planish.load(model), verify="off").graph
    assert any(node.domain == "planish" for node in graph.nodes)
    module, x = planish.to_fx(graph), normal(2, 3, 6, 6)
    with torch.no_grad():
        module.get_parameter(next(n for n, _ in module.named_parameters())).mul_(2)
        expected = module(torch.from_numpy(x)).numpy()
    written = planish.to_model(planish.from_fx(module), portable=True)
    assert relative_error(expected, run_ort(written, {"x": x})["y"]) < 1e-5


def test_weights_in_constant_nodes_train():
    text = """g (float[N, 2] x) => (float[N, 2] y) {
        w = Constant <value = float[2, 2] {1, 2, 3, 4}> ()
        half = Constant <value = float {0.5}> ()
        a = MatMul(x, w)
        y = Mul(a, half)
    }"""
    module = planish.to_fx(graph_of(text))
    assert len(list(module.parameters())) == 1
    x = torch.ones(1, 2)
    assert module(x).tolist() == [[2.0, 3.0]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "y = NonZero (x)",
            r"node NonZero -> 'y' cannot be put into PyTorch: NonZero has no count",
        ),
        ("y = Resize <antialias = 1> (x, , up)", "it is antialiased"),
        ("y = BatchNormalization <training_mode = 1> (x, s, s, s, s)", "batch's statistics"),
    ],
)
def test_what_has_no_counterpart_is_refused(body, message):
    weights = {"up": np.array([1, 1, 2, 2], np.float32), "s": np.ones(3, np.float32)}
    graph = planish.load(model_using(weights, body, "float[N, 3, 4, 4] x"))
    with pytest.raises(planish.PlanishError, match=message):
        planish.to_fx(graph)


def test_a_module_of_another_origin_is_not_written_back():
    with pytest.raises(planish.PlanishError, match=r"was not made by planish\.to_fx"):
        planish.from_fx(torch.fx.symbolic_trace(nn.Linear(2, 2)))


def test_changed_shapes_and_lost_parameters_are_refused():
    graph = graph_of(
        "g (float[N, 2] x) => (float[N, 2] y) { y = MatMul(x, w) }", {"w": normal(2, 2)}
    )
    module = planish.to_fx(graph)
    (path,) = dict(module.named_parameters())
    layer = module.get_submodule(path.rpartition(".")[0])
    layer.weight = nn.Parameter(torch.zeros(3, 2))
    with pytest.raises(planish.PlanishError, match="has shape"):
        planish.from_fx(module)
    del layer.weight
    with pytest.raises(planish.PlanishError, match="has no parameter"):
        planish.from_fx(module)


def test_what_is_filled_is_expanded_and_no_list_of_numbers():
    graph = graph_of(
        "g (float[N, 4] x) => (float[N, 4] y) "
        "{ c = ConstantOfShape(large) s = Slice(c, zero, one) y = Add(x, s) }",
        {"large": np.array([1 << 31, 4]), "zero": np.array([0]), "one": np.array([1])},
    )
    module = planish.to_fx(graph)
    assert module(torch.ones(2, 4)).tolist() == [[1.0] * 4] * 2


def test_importing_planish_needs_no_torch():
    code = "import sys, planish; planish.to_fx; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def pickled(module):
    return pickle.loads(pickle.dumps(module))


@pytest.mark.parametrize(
    "steps",
    [
        [pickled, pickled],
        [pickled, copy.deepcopy],
        [copy.deepcopy, pickled],
        [copy.deepcopy, pickled, copy.deepcopy, copy.copy, pickled],
    ],
    ids=lambda steps: "-".join(step.__name__ for step in steps),
)
def test_copies_and_pickles_give_the_same_and_go_back_into_their_graph(traced, steps):
    _, x, graph = traced
    module = found = planish.to_fx(graph)
    for step in steps:
        found = step(found)
    torch.testing.assert_close(found(x), module(x), rtol=0, atol=0)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.mul_(1.5)
        feed = {graph.inputs[0].name: x.numpy()}
        written = run_ort(planish.to_model(planish.from_fx(found)), feed)
        assert relative_error(found(x).numpy(), next(iter(written.values()))) < 1e-5


def test_calls_of_functions_are_pickled_whole():
    """Traced through, they would ask values for their shapes, which there are none of."""
    graph = graph_of(
        "g (float[1, 3, N, 8] x) => (float[1, 3, P, Q] y) { y = Pad(x, p) }",
        {"p": np.array([0, 0, 1, -1, 0, 0, 2, 1])},
    )
    module = planish.to_fx(graph)
    x = torch.randn(1, 3, 6, 8)
    torch.testing.assert_close(pickle.loads(pickle.dumps(module))(x), module(x))


def test_a_range_over_an_open_size_leaves_it_open():
    graph = graph_of(
        """g (float[N,3] x) => (float[N,3] y) <int64 zero = {0}, int64 one = {1}> {
            s = Shape<start = 0, end = 1>(x) n = Squeeze(s) r = Range(zero, n, one)
            f = Cast<to = 1>(r) u = Unsqueeze(f, last) y = Add(x, u) }""",
        {"last": np.array([1])},
    )
    sizes = ({0: torch.export.Dim("N", max=16)},)
    program = torch.export.export(
        planish.to_fx(graph), (torch.zeros(2, 3),), dynamic_shapes=sizes, strict=False
    )
    found = program.module()(torch.zeros(5, 3))
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4]
