"""Modules of torch.fx and programs of torch.export through planish, and torch.fx's passes in it."""

import numpy as np
import pytest

import planish
from planish.ir.core.errors import ConversionError, PassError, VerificationError

from tests.helpers import ops, run_pass

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
hosts = pytest.importorskip("planish.integrations.torch_fx")
pytest.importorskip("tests.exporter", reason="onnxscript is not installed")

from torch import nn  # noqa: E402
from torch.export import Dim  # noqa: E402
from torch.fx.passes.infra.pass_base import PassResult  # noqa: E402
from torch.fx.passes.infra.pass_manager import PassManager  # noqa: E402

from planish.integrations.torch_fx.signature import with_signature_of  # noqa: E402

N = Dim("N", max=16)


class Block(nn.Module):
    """A normalized convolution, with arguments and results in a structure."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        nn.init.normal_(self.norm.running_mean)

    def forward(self, pictures, others, *, scale=None):
        y = self.norm(self.conv(pictures["x"]))
        return {"sum": y + others[0], "none": None, "list": [y if scale is None else y * scale]}


ARGS = ({"x": torch.ones(2, 3, 8, 6)}, [torch.ones(2, 4, 8, 6), torch.ones(4)])
H = Dim("H", max=32)
SIZES = {
    "pictures": {"x": {0: N, 2: 2 * H}},
    "others": [{0: N, 2: 2 * H}, {0: H}],
    "scale": None,
}


@pytest.fixture(scope="module")
def block():
    return Block().eval()


@pytest.fixture(scope="module")
def program(block):
    """Return a program with open sizes, of which one is twice another."""
    scale = {"scale": torch.full((1,), 3.0)}
    return torch.export.export(block, ARGS, scale, dynamic_shapes=SIZES)


def called(module, batch=5, half=2):
    """Call a `Block` of any form with other sizes."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, 3, 2 * half, 6, generator=generator)
    other = torch.randn(batch, 4, 2 * half, 6, generator=generator)
    with torch.no_grad():
        return module({"x": x}, [other, torch.ones(half)], scale=torch.full((1,), 3.0))


def assert_called_alike(expected, found):
    assert found.keys() == expected.keys()
    assert found["none"] is None
    torch.testing.assert_close(found["sum"], expected["sum"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["list"], expected["list"], rtol=1e-5, atol=1e-5)


def test_a_program_keeps_its_signature_and_open_sizes(program, block):
    found = hosts.optimize_program(program, "exact")
    assert_called_alike(called(block), called(found.module()))
    assert found.call_spec.in_spec == program.call_spec.in_spec
    assert found.call_spec.out_spec == program.call_spec.out_spec
    assert found.graph_signature.user_inputs == program.graph_signature.user_inputs
    assert sorted(found.state_dict) == ["conv.bias", "conv.weight"]
    targets = [node.target for node in found.graph.nodes if node.op == "call_function"]
    assert torch.ops.aten.batch_norm.default not in targets
    with pytest.raises(Exception, match=r"<= 16|expected"):
        called(found.module(), batch=17)
    assert hosts.optimize_program(found, "exact") is found


def test_a_program_whose_sizes_would_be_fixed_is_refused(program, monkeypatch):
    from planish.integrations.torch_fx import programs

    # As an operator would ask for that does not take an empty tensor.
    sizes = (SIZES["pictures"], [SIZES["others"][0], None], None)
    monkeypatch.setattr(programs, "sizes_of", lambda *given: sizes)
    told = (
        r"axis 2 of input '\w+' takes 2\*n1, n1 from 0 to 32 and would take 2\*n1, n1 from 2 to 32"
    )
    with pytest.raises(ConversionError, match=told):
        hosts.optimize_program(program)


def test_a_program_for_training_or_of_sizes_is_refused():
    training = torch.export.export(Block().train(), ARGS)
    with pytest.raises(ConversionError, match=r"writes to 'norm.num_batches_tracked'"):
        hosts.optimize_program(training)

    class Sizes(nn.Module):
        def forward(self, x):
            return x + 0, x.shape[0]

    sizes = torch.export.export(Sizes(), (torch.ones(2, 3),), dynamic_shapes=({0: N},))
    with pytest.raises(ConversionError, match=r"output 'sym_size.*' of the module is a SymInt"):
        hosts.optimize_program(sizes)


def test_results_that_differ_are_an_error(program, monkeypatch):
    from planish.integrations.torch_fx import programs

    def twice(graph):
        module = planish.to_fx(graph)
        module.get_parameter("conv.weight").data *= 2
        return module

    monkeypatch.setattr(programs, "to_fx", twice)
    with pytest.raises(VerificationError, match="output 0 of the program differs"):
        hosts.optimize_program(program, "exact")


NET = nn.Sequential(
    nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten(2)
).eval()
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def test_a_pipeline_is_a_pass_of_torch_fx():
    module = torch.fx.symbolic_trace(NET)
    code = module.code
    run = hosts.as_pass("exact", (X,), ({0: N},))
    found = PassManager([run])(module)
    assert found.modified
    assert module.code == code
    assert not any(isinstance(part, nn.BatchNorm2d) for part in found.graph_module.modules())
    for batch in (X, X[:1]):
        torch.testing.assert_close(found.graph_module(batch), NET(batch), rtol=1e-5, atol=1e-5)
    again = run(found.graph_module)
    assert not again.modified
    assert again.graph_module is found.graph_module


def test_what_torch_export_notes_of_inputs_is_enough(program, block):
    found = hosts.as_pass("exact")(program.module())
    assert found.modified
    assert_called_alike(called(block), called(found.graph_module))


def test_a_module_of_which_nothing_is_noted_needs_examples():
    with pytest.raises(ConversionError, match=r"'input' .* give example_inputs"):
        hosts.as_pass("exact")(torch.fx.symbolic_trace(NET))


def double_the_last(module):
    """Change weights alone."""
    last = [part for part in module.modules() if isinstance(part, nn.Conv2d)][-1]
    last.weight.data *= 2


class RemoveSecondRelu(torch.fx.passes.infra.pass_base.PassBase):
    """max(max(x, 0), 0) = max(x, 0). It changes the structure."""

    def call(self, module):
        for node in module.graph.nodes:
            second = self._relu(module, node) and self._relu(module, node.args[0])
            if second:
                node.replace_all_uses_with(node.args[0])
                module.graph.erase_node(node)
                module.recompile()
                return PassResult(module, True)
        return PassResult(module, False)

    @staticmethod
    def _relu(module, node):
        return node.op == "call_module" and isinstance(module.get_submodule(node.target), nn.ReLU)


@pytest.fixture(scope="module")
def graph():
    return planish.trace(NET, (X,), ({0: N},))


def test_a_pass_of_torch_fx_that_changes_weights_keeps_the_nodes(graph, registered):
    registered(hosts.from_pass(double_the_last))
    result = planish.Pipeline.parse("double-the-last").run(graph, verify="each")
    assert [n.name for n in result.graph.nodes] == [n.name for n in graph.nodes]
    before, after = ([n for n in g.nodes if n.op == "Conv"][-1].inputs[1].values
                     for g in (graph, result.graph))  # fmt: skip
    np.testing.assert_array_equal(after, 2 * before)
    assert result.records[0].name == "double-the-last"


def test_a_pass_of_torch_fx_that_changes_operators_keeps_the_interface(graph, registered):
    registered(hosts.from_pass(RemoveSecondRelu()), exact=True)
    result = run_pass(graph, "remove-second-relu")
    assert ops(graph).count("Relu") == 2
    assert ops(result.graph).count("Relu") == 1
    assert result.verified
    for now, was in zip(
        (*result.graph.inputs, *result.graph.outputs), (*graph.inputs, *graph.outputs), strict=True
    ):
        assert (now.name, now.shape, now.dtype) == (was.name, was.shape, was.dtype)
    session = planish.lower(result.graph)
    for batch in (1, 3):
        found = session({graph.inputs[0].name: X[:1].expand(batch, -1, -1, -1).numpy()})
        expected = NET(X[:1]).expand(batch, -1, -1).detach().numpy()
        np.testing.assert_allclose(found[graph.outputs[0].name], expected, rtol=1e-5, atol=1e-5)


def fix_the_batch(module):
    """Give a size that was open."""
    for node in module.graph.nodes:
        if node.op == "output":
            with module.graph.inserting_before(node):
                fixed = module.graph.call_function(torch.reshape, (node.args[0], (2, 4, 36)))
            node.args = (fixed,)
    module.recompile()


def test_what_a_pass_of_torch_fx_gets_wrong_names_it(graph, registered):
    registered(hosts.from_pass(lambda module: 3), name="wrong")
    with pytest.raises(PassError, match="'wrong': it returns an int"):
        planish.Pipeline.parse("wrong").run(graph, strict=True)
    registered(hosts.from_pass(fix_the_batch))
    with pytest.raises(PassError, match=r"'fix-the-batch': .*cannot trace"):
        planish.Pipeline.parse("fix-the-batch").run(graph, strict=True)


def test_a_number_that_tracing_takes_in_is_named_with_what_to_do():
    class Scaled(nn.Module):
        def forward(self, x, *, scale=2.0):
            return torch.relu(x) * scale

    network = torch.fx.symbolic_trace(nn.ReLU())
    with pytest.raises(ConversionError, match=r"'scale' .* torch.export.* or write the number"):
        with_signature_of(torch.fx.symbolic_trace(Scaled()), network)
