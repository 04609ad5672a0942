"""Passes of other programs as passes of planish: verified, counted, named, bisected, run again."""

import sys

import numpy as np
import onnx
import pytest

import planish
from planish.ir.core.errors import PassError, VerificationError

from tests.helpers import assert_same_function, model_of, ops, run_pass

ir = pytest.importorskip("onnx_ir", reason="onnx_ir, which onnxscript needs, is not installed")
onnxoptimizer = pytest.importorskip("onnxoptimizer", reason="onnxoptimizer is not installed")
onnx_ir_passes = pytest.importorskip("planish.integrations.onnx_ir")
of_onnxoptimizer = pytest.importorskip("planish.integrations.onnxoptimizer")
from planish.integrations import onnxsim as of_onnxsim  # noqa: E402

W = (np.arange(1024, dtype=np.float32).reshape(4, 4, 8, 8) - 500) / 100
TEXT = """
    <ir_version: 10, opset_import: ["" : 20], doc_string: "about", metadata_props: ["k" : "v"]>
    g (float[2,4,9,9] x) => (float[2,4,2,2] y) {
        [one] a = Identity(x) [two] b = Conv(a, w) [three] y = Relu(b)
    }"""


@pytest.fixture
def model():
    made = model_of(TEXT, {"w": W})
    for node in made.graph.node:
        node.metadata_props.add(key="name", value=node.name)
    made.graph.input[0].doc_string = "a picture"
    return made


def without_identities(model: onnx.ModelProto) -> None:
    """Remove Identity in place. Nothing is returned."""
    for node in [n for n in model.graph.node if n.op_type == "Identity"]:
        model.graph.node.remove(node)
        for reader in model.graph.node:
            names = [node.input[0] if n == node.output[0] else n for n in reader.input]
            reader.input[:] = names


def another_without_identities(model: onnx.ModelProto) -> onnx.ModelProto | bool:
    """Return another model, or False."""
    if all(node.op_type != "Identity" for node in model.graph.node):
        return False
    made = onnx.ModelProto()
    made.CopyFrom(model)
    without_identities(made)
    return made


class IdentitiesGonePass(ir.passes.InPlacePass):
    """Remove Identity."""

    def call(self, model):
        found = [node for node in model.graph if node.op_type == "Identity"]
        for node in found:
            node.outputs[0].replace_all_uses_with(node.inputs[0])
            model.graph.remove(node, safe=True)
        return ir.passes.PassResult(model, bool(found))


def rules():
    from onnxscript.rewriter import pattern

    return pattern.RewriteRuleSet(
        [pattern.RewriteRule(lambda op, x: op.Relu(op.Identity(x)), lambda op, x: op.Relu(x)),
         pattern.RewriteRule(lambda op, x, w: op.Conv(op.Identity(x), w),
                             lambda op, x, w: op.Conv(x, w))]
    )  # fmt: skip


HOSTS = {
    "identities-gone": lambda: onnx_ir_passes.from_pass(IdentitiesGonePass()),
    "rewrite-rule-set": lambda: onnx_ir_passes.from_pass(rules()),
    "without-identities": lambda: of_onnxsim.from_rewriter(without_identities),
    "another-without-identities": lambda: of_onnxsim.from_rewriter(another_without_identities),
    "eliminate-identity": lambda: of_onnxoptimizer.from_pass("eliminate_identity"),
}


@pytest.mark.parametrize("name", HOSTS)
def test_a_pass_of_another_program_is_one_of_planish(name, model, registered):
    registered(HOSTS[name](), exact=True)
    graph = planish.load(model)
    result = run_pass(graph, name)
    assert ops(result.graph) == ["Conv", "Relu"]
    assert result.verified
    assert [(record.name, record.edits) for record in result.records] == [(name, 1)]
    assert np.shares_memory(result.graph.nodes[0].inputs[1].values, graph.nodes[1].inputs[1].values)
    kept = planish.to_model(result.graph)
    del model.graph.node[0]
    without = {
        "metadata_props": [model.metadata_props, kept.metadata_props],
        "doc_string": [model.doc_string, kept.doc_string],
        "input": [model.graph.input, kept.graph.input],
    }
    assert all(before == after for before, after in without.values())
    if name != "rewrite-rule-set":  # whose Conv is another node
        assert [n.metadata_props for n in kept.graph.node] == [
            n.metadata_props for n in model.graph.node
        ]


@pytest.mark.parametrize("name", ["eliminate-identity", "without-identities"])
def test_weights_of_old_files_are_no_inputs(name, registered):
    text = """<ir_version: 3, opset_import: ["" : 9]>
        g (float[3] x, float[3] w) => (float[3] y) <float[3] w = {1, 2, 3}> {
            a = Identity(x) y = Add(a, w) }"""
    registered(HOSTS[name](), exact=True)
    result = run_pass(planish.load(model_of(text)), name)
    assert (result.edits, result.verified) == (1, True)
    assert planish.to_model(result.graph).ir_version == 3


def halve_weights(model):
    """Write other values under the same name."""
    weights = model.graph.initializer[0]
    weights.CopyFrom(onnx.numpy_helper.from_array(W / 2, weights.name))


class HalveWeights(ir.passes.InPlacePass):
    """Write other values under the same name."""

    def call(self, model):
        model.graph.initializers["w"].const_value = ir.tensor(W / 2, name="w")
        return ir.passes.PassResult(model, True)


@pytest.mark.parametrize(
    "adapt",
    [
        lambda: of_onnxsim.from_rewriter(halve_weights),
        lambda: onnx_ir_passes.from_pass(HalveWeights()),
    ],
    ids=["onnxsim", "onnx_ir"],
)
def test_weights_that_a_host_changes_are_changed(adapt, model, registered):
    registered(adapt())
    result = planish.Pipeline.parse("halve-weights").run(planish.load(model))
    np.testing.assert_array_equal(result.graph.nodes[1].inputs[1].values, W / 2)
    assert result.edits == 1
    assert result.error > 0.1


def test_pipelines_mix_them_and_print_them(model, registered):
    registered(HOSTS["identities-gone"](), exact=True)
    pipeline = planish.Pipeline.parse("repeat(identities-gone,fold-constants),exact")
    assert str(planish.Pipeline.parse(str(pipeline))) == str(pipeline)
    assert pipeline.run(planish.load(model)).verified
    assert pipeline.passes[0].passes[0].summary() == "Remove Identity"


def test_a_plugin_file_of_the_command_line_registers_them(
    model, registered, tmp_path, monkeypatch, capsys
):
    from planish.cli.main import main

    onnx.save(model, tmp_path / "model.onnx")
    plugin = tmp_path / "theirs.py"
    plugin.write_text(
        "import planish\n"
        "from onnx_ir.passes.common import IdentityEliminationPass\n"
        "from planish.integrations import onnx_ir\n"
        "theirs = onnx_ir.from_pass(IdentityEliminationPass())\n"
        "planish.register_pass(theirs, exact=True)\n",
        encoding="utf-8",
    )
    words = ["optimize", tmp_path / "model.onnx", "-o", tmp_path / "out.onnx", "--plugin", plugin]
    words += ["-p", "identity-elimination,exact", "--verify", "each"]
    monkeypatch.setattr(sys, "argv", ["planish", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == 0, shown
    assert "identity-elimination" in shown.out
    assert ops(planish.load(tmp_path / "out.onnx")) == ["Conv", "Relu"]


class WrongPass(ir.passes.InPlacePass):
    """Break what is computed."""

    def call(self, model):
        node = next(n for n in model.graph if n.op_type in ("Relu", "Abs"))
        changed = node.op_type == "Relu"
        node.op_type = "Abs"
        return ir.passes.PassResult(model, changed)


def test_a_wrong_one_is_found_named_and_bisected_to(model, registered):
    registered(onnx_ir_passes.from_pass(WrongPass()), exact=True)
    graph = planish.load(model)
    pipeline = planish.Pipeline.parse("eliminate-identities,wrong")
    with pytest.raises(VerificationError, match="pass 2 of 2, 'wrong'"):
        pipeline.run(graph, verify="each", strict=True)
    result = pipeline.run(graph, verify="each", strict=False)
    assert ops(result.graph) == ["Conv", "Relu"]
    assert [failure.pass_name for failure in result.failures] == ["wrong"]
    assert planish.bisect(pipeline, graph).pass_name == "wrong"


def broken(model):
    """Leave a node without a producer."""
    model.graph.node[1].input[0] = "nowhere"


def raises(model):
    """Fail."""
    raise KeyError("what it wanted")


def other_inputs(model):
    """Rename an input."""
    model.graph.input[0].name = model.graph.node[0].input[0] = "z"


def nonsense(model):
    """Return what is no model."""
    return [model]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (broken, "leaves what is no graph.* reads tensor 'nowhere'"),
        (raises, "KeyError: 'what it wanted'"),
        (other_inputs, "interface has changed from input 'x'"),
        (nonsense, "returns a list; return a ModelProto"),
    ],
)
def test_what_a_host_gets_wrong_is_an_error_that_names_the_pass(
    function, reason, model, registered
):
    registered(of_onnxsim.from_rewriter(function))
    name = function.__name__.replace("_", "-")
    pipeline = planish.Pipeline.parse(name)
    with pytest.raises(PassError, match=rf"'{name}': .*{reason}"):
        pipeline.run(planish.load(model), strict=True)
    result = pipeline.run(planish.load(model), strict=False)
    assert ops(result.graph) == ["Identity", "Conv", "Relu"]
    assert len(result.failures) == 1


def test_conditions_of_a_pass_are_checked(model, registered):
    class Unwilling(IdentitiesGonePass):
        def requires(self, model):
            raise ir.passes.PreconditionError("never on a Monday")

    registered(onnx_ir_passes.from_pass(Unwilling()))
    with pytest.raises(PassError, match="'unwilling': PreconditionError: never on a Monday"):
        planish.Pipeline.parse("unwilling").run(planish.load(model), strict=True)


def test_what_is_no_pass_is_refused():
    with pytest.raises(PassError, match="a function is no pass of onnx_ir"):
        onnx_ir_passes.from_pass(raises)
    with pytest.raises(PassError, match=r"no pass 'eliminate_identities' .*'eliminate_identity'"):
        of_onnxoptimizer.from_pass("eliminate_identities")


def test_onnxoptimizer_keeps_what_it_would_lose(registered):
    text = """<ir_version: 10, opset_import: ["" : 20, "my" : 1]>
        g (float[4] x) => (float[4] y) <float[1] scale = {0.5}> {
            a = Identity(x) b = my.f(a) y = Mul(b, scale) }
        <opset_import: ["" : 20], domain: "my", doc_string: "twice"> f (v) => (r) {
            r = Add(v, v) }"""
    model = model_of(text)
    model.graph.initializer[0].doc_string = "a scale"
    model.functions[0].node[0].metadata_props.add(key="from", value="line 1")
    annotation = model.graph.quantization_annotation.add(tensor_name="b")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    registered(of_onnxoptimizer.from_pass("eliminate_identity"), exact=True)
    result = run_pass(planish.load(model), "eliminate-identity")
    found, expected = planish.to_model(result.graph), planish.to_model(planish.load(model))
    assert found.functions == expected.functions
    assert found.graph.quantization_annotation == expected.graph.quantization_annotation
    assert found.graph.initializer == expected.graph.initializer


def test_a_pipeline_inside_onnxsim(model):
    onnxsim = pytest.importorskip("onnxsim", reason="onnxsim is not installed")
    calls = []
    rewriter = of_onnxsim.as_rewriter("exact", report=calls.append)
    found, _ = onnxsim.simplify(model, custom_rewriter=rewriter, perform_optimization=False)
    assert [node.op_type for node in found.graph.node] == ["Conv", "Relu"]
    assert len(calls) == 2
    assert rewriter(found) is False
    assert_same_function(model, planish.load(found), {"x": np.ones((2, 4, 9, 9), np.float32)})
