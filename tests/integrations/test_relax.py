"""planish inside TVM: modules of its importers, and of people, with planish's kernels."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import planish
from planish import BackendError

tvm = pytest.importorskip("tvm")
relax = pytest.importorskip("tvm.relax")

from tvm.relax.frontend.onnx import from_onnx  # noqa: E402
from tvm.relax.frontend.torch import from_exported_program  # noqa: E402

from planish.backends.tvm.check.check import KernelReport, WrongKernel  # noqa: E402
from planish.integrations import relax as planish_relax  # noqa: E402
from planish.integrations.relax import dispatch  # noqa: E402

pytestmark = pytest.mark.usefixtures("code_as_it_is")


class Network(nn.Module):
    """Layers of every kind that importers write in their own way."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 20, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(20)
        self.depth = nn.Conv2d(20, 20, 3, stride=2, padding=1, groups=20)
        self.last = nn.Conv2d(40, 16, 1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = nn.functional.relu6(self.norm(self.first(x)))
        y = self.depth(x)
        z = nn.functional.max_pool2d(x, 3, 2, 1)
        x = nn.functional.silu(self.last(torch.cat([y, z], 1)))
        x = nn.functional.interpolate(self.up(x), scale_factor=2)
        return self.head(nn.functional.leaky_relu(x, 0.1).mean((2, 3)))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    module = Network().eval()
    module.norm.running_var.uniform_(0.5, 2)
    module.norm.running_mean.normal_()
    return module


@pytest.fixture(scope="module")
def on():
    return planish_relax.target(threads=1)


X = np.random.default_rng(0).standard_normal((2, 3, 10, 12)).astype(np.float32)


def run(module, on, *arrays, planish_build=True, **options):
    """Return the results of `module`, compiled by planish's pipeline or by TVM's own."""
    if planish_build:
        library = planish_relax.build(module, on, check_kernels=False)
    else:
        library = tvm.compile(module, on, **options)
    found = relax.VirtualMachine(library, tvm.cpu())["main"](*map(tvm.runtime.tensor, arrays))
    return [each.numpy() for each in ([found] if hasattr(found, "numpy") else found)]


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())


def dispatched(module, on):
    with on:
        return planish_relax.DispatchToPlanish(check_kernels=False)(module)


def relax_operators(module):
    """Return the Relax operators that are left in `module`, calls of kernels apart."""
    found = set()
    for name, function in module.functions_items():
        if isinstance(function, relax.Function):
            assert name.name_hint == "main"
            for block in function.body.blocks:
                for binding in block.bindings:
                    found.add(getattr(getattr(binding.value, "op", None), "name", ""))
    return found - {"", "relax.call_tir", "relax.call_tir_inplace"}


def test_what_the_torch_importer_makes_by_the_pipelines_name(network, on, monkeypatch):
    compared = []
    check = dispatch.check_kernels

    def spy(lowered, toolchain):
        compared.append(check(lowered, toolchain))
        return compared[-1]

    monkeypatch.setattr(dispatch, "check_kernels", spy)
    with torch.no_grad():
        expected = [network(torch.from_numpy(X)).numpy()]
    module = from_exported_program(torch.export.export(network, (torch.from_numpy(X),)))
    same(run(module, on, X, planish_build=False, relax_pipeline="planish"), expected)
    (report,) = compared
    assert report.right > 3
    assert not report.wrong
    found = dispatched(module, on)
    assert relax_operators(found) == set()
    assert planish_relax.left_to_tvm(found) == []


@torch.no_grad()
def test_what_the_onnx_importer_makes_for_any_batch(network, on):
    batch = torch.export.Dim("batch", min=1, max=64)
    graph = planish.trace(network, (torch.from_numpy(X),), dynamic_shapes=({0: batch},))
    graph = planish.Pipeline.parse("fold-constants").run(graph).graph
    module = dispatched(from_onnx(planish.to_model(graph)), on)
    assert planish_relax.left_to_tvm(module) == []
    for x in (X, X[:1], np.concatenate([X, X + 1])):
        same(run(module, on, x), [network(torch.from_numpy(x)).numpy()])


def test_a_kernel_that_is_wrong_is_not_taken(on, monkeypatch):
    def wrong(lowered, toolchain):
        return KernelReport(0, wrong=[_wrong(lowered)] if "Conv" in _operators(lowered) else [])

    monkeypatch.setattr(dispatch, "check_kernels", wrong)
    with on:
        module = planish_relax.DispatchToPlanish()(from_onnx(between()))
    left = [one for one in planish_relax.left_to_tvm(module) if one.op == "relax.nn.conv2d"]
    assert len(left) == 3
    assert {one.reason for one in left} == {"planish's kernel was found wrong"}


def _operators(lowered):
    return {op for call in lowered.calls for op in call.operators}


def _wrong(lowered):
    call = next(call for call in lowered.calls if "Conv" in call.operators)
    return WrongKernel(SimpleNamespace(name=call.kernel), "it is wrong")


TEXT = """
<ir_version: 8, opset_import: ["" : 18]>
g (float[1,4,6,6] x) => (float[1,8,6,6] y, float[1,4,6,6] s) <int64 one = {1}> {
  a = Conv<pads = [1,1,1,1]>(x, w)
  b = Relu(a)
  c = Conv(b, v)
  s = CumSum(c, one)
  d = Conv<pads = [1,1,1,1]>(s, w)
  y = Relu(d)
}
"""


def between():
    """Return a network with an operator between convolutions that planish does not know."""
    draw = np.random.default_rng(1)
    model = onnx.parser.parse_model(TEXT)
    for name, shape in (("w", (8, 4, 3, 3)), ("v", (4, 8, 1, 1))):
        values = draw.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def test_what_planish_does_not_know_stays_between_and_is_told(on):
    model = between()
    x = np.random.default_rng(2).standard_normal((1, 4, 6, 6)).astype(np.float32)
    module = dispatched(from_onnx(model), on)
    (left,) = planish_relax.left_to_tvm(module)
    assert (left.function, left.op) == ("main", "relax.cumsum")
    assert left.reason == "planish does not know relax.cumsum"
    assert "relax.cumsum" in relax_operators(module)
    expected = planish.lower(planish.load(model), threads=1)({"x": x})
    same(run(module, on, x), [expected["y"], expected["s"]])


def test_weights_that_are_parameters_stay_until_they_are_bound(on):
    model = between()
    module = from_onnx(model, keep_params_in_input=True)
    module, params = relax.frontend.detach_params(module)
    left = planish_relax.left_to_tvm(dispatched(module, on))
    reasons = {one.reason for one in left if one.op == "relax.nn.conv2d"}
    (reason,) = reasons
    assert "its weight is no constant" in reason
    assert "BindParams" in reason
    names = [param.name for param in module["main"].params][1:]
    bound = dict(zip(names, params["main"], strict=True))
    bound = relax.transform.BindParams("main", bound)(module)
    assert "relax.nn.conv2d" not in relax_operators(dispatched(bound, on))


def test_a_persons_passes_go_on_with_planishs_program(on):
    model = between()
    x = np.random.default_rng(3).standard_normal((1, 4, 6, 6)).astype(np.float32)
    module = planish_relax.to_relax(planish.load(model), on=on)
    seen = []

    @tvm.transform.module_pass(opt_level=0)
    def mine(module, _):
        seen.extend(name.name_hint for name in module.get_global_vars())
        return relax.transform.CanonicalizeBindings()(module)

    expected = planish.lower(planish.load(model), threads=1)({"x": x})
    same(run(mine(module), on, x), [expected["y"], expected["s"]])
    assert any(name.startswith("conv") for name in seen)


def test_another_layout_is_told(on):
    x = relax.Var("x", relax.TensorType([1, 6, 6, 4], "float32"))
    weight = relax.const(np.ones((8, 3, 3, 4), np.float32))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            y = relax.op.nn.conv2d(x, weight, data_layout="NHWC", kernel_layout="OHWI")
            out = builder.emit_output(y)
        builder.emit_func_output(out)
    (left,) = planish_relax.left_to_tvm(dispatched(builder.get(), on))
    assert left.reason == "its layout is NHWC; planish's is NCHW"


def test_no_target_and_a_target_without_vectors_are_refused():
    module = from_onnx(between())
    with pytest.raises(BackendError, match="no target is in scope"):
        planish_relax.DispatchToPlanish()(module)
    with (
        tvm.target.Target({"kind": "llvm", "mcpu": "x86-64"}),
        pytest.raises(BackendError, match="AVX2 or NEON"),
    ):
        planish_relax.DispatchToPlanish()(module)
