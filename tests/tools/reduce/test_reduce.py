"""Faults planted in small networks come out in a few nodes, and nothing of the network does."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import planish
from planish.ir.core.errors import PassError, RefusedError
from planish.passes.pipeline import registry
from planish.tools.reduce.apart import Limits
from planish.tools.reduce.case import Case
from planish.tools.reduce.reduce import reduce as reduce_case
from planish.tools.reduce.script import reproducer_of
from planish.tools.reduce.suspects import Checked, Crash, Wrong

from tests.helpers import model_of
from tests.tools.reduce.resnet import resnet

# Where a crash is not the subject, candidates are judged in this process: a fork takes ten times
# as long as they do.
reduce = functools.partial(reduce_case, limits=None)


@pytest.fixture(scope="module")
def network():
    return resnet((1,), width=4, size=16)


# For what has to be forked: a try takes a tenth of a second then.
_FEW = model_of(
    "g (float[2, 3] x) => (float[2, 4] y) { a = Relu(x) b = Tanh(a) c = Gemm(b, w) y = Abs(c) }",
    {"w": np.ones((3, 4), np.float32)},
)


def _operators(model):
    return sorted(node.op_type for node in model.graph.node)


def _is_secret(data: bytes) -> bool:
    return b"secret" in data or b"node_" in data


def _residual(model: onnx.ModelProto) -> bool:
    """Say whether an Add joins two normalizations, as where channels become more."""
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    return any(
        node.op_type == "Add" and {made.get(n) for n in node.input} == {"BatchNormalization"}
        for node in model.graph.node
    )


def test_a_pattern_is_all_that_is_left(network):
    found = reduce(Case(network), Checked(_residual))
    assert _operators(found.case.model) == ["Add", "BatchNormalization", "BatchNormalization"]
    assert found.is_anonymous
    assert not found.stopped
    onnx.checker.check_model(found.case.model)
    assert not _is_secret(found.case.model.SerializeToString())
    sizes = {dim for tensor in found.case.model.graph.initializer for dim in tensor.dims}
    assert sizes == {1}
    ours = {t.raw_data for t in found.case.model.graph.initializer}
    assert not any(raw and raw in t.raw_data for raw in ours for t in network.graph.initializer)
    session = ort.InferenceSession(found.case.model.SerializeToString())
    assert np.isfinite(session.run(None, dict(found.case.feed))[0]).all()


def test_nodes_that_are_far_apart_stay_both(network):
    def both(model):
        operators = _operators(model)
        return "MaxPool" in operators and "Flatten" in operators

    assert _operators(reduce(Case(network), Checked(both)).case.model) == ["Flatten", "MaxPool"]


def test_what_it_shows_on_is_kept_as_it_is(network):
    secret = network.graph.initializer[0]

    def holds(model):
        return any(t.raw_data == secret.raw_data for t in model.graph.initializer)

    found = reduce(Case(network), Checked(holds))
    assert len(found.kept) == 1
    assert not found.is_anonymous
    assert found.kept[0] in {t.name for t in found.case.model.graph.initializer}


@pytest.mark.parametrize(
    ("end", "says", "seconds", "most_tries", "most_nodes"),
    [
        (os.abort, "ends with SIGABRT", 60.0, None, 1),
        # What does not end takes the limit, what ends with the answer False has to be within it.
        (signal.pause, "does not end", 1.0, 4, 3),
    ],
)
def test_a_crash_and_a_hang_are_findings(end, says, seconds, most_tries, most_nodes):
    def judge(model):
        if "Gemm" in _operators(model):
            end()
        return False

    limits = Limits(seconds=seconds)
    found = reduce(Case(_FEW), Checked(judge), limits=limits, most_tries=most_tries)
    assert found.shows == says
    assert found.case.nodes <= most_nodes < len(_FEW.graph.node)


@pytest.fixture
def broken():
    """Register a pass that is wrong about Conv with steps, and one that cannot take Flatten."""

    @planish.register_pass(name="broken-steps", exact=True)
    def broken_steps(graph):
        """Negate a channel of what a Conv with steps gives."""
        for node in list(graph.nodes):
            if node.op == "Conv" and node.attrs.get("strides") == [2, 2]:
                weight = node.inputs[1].values.copy()
                weight[0] *= -1
                node.inputs[1].values = weight

    @planish.register_pass(name="broken-flatten", exact=True)
    def broken_flatten(graph):
        """Fail."""
        for node in graph.nodes:
            if node.op == "Flatten":
                raise KeyError(node.name)

    yield
    for name in ("broken-steps", "broken-flatten"):
        registry.REGISTERED.pop(name)


@pytest.mark.usefixtures("broken")
def test_a_wrong_pass_is_found_by_its_numbers(network):
    found = reduce(Case(network), Wrong(pipeline="broken-steps"))
    assert _operators(found.case.model) == ["Conv"]
    assert found.is_anonymous
    assert found.shows == "outputs differ"


@pytest.mark.usefixtures("broken")
def test_a_pass_that_raises_is_found_by_what_it_raises(network):
    found = reduce(Case(network), Crash(pipeline="broken-flatten"))
    assert _operators(found.case.model) == ["Flatten"]
    assert "KeyError" in found.shows


def test_a_model_without_the_fault_is_refused(network):
    with pytest.raises(PassError, match="does not show"):
        reduce(Case(network), Wrong(pipeline="exact"))
    with pytest.raises(PassError, match=r"ZeroDivisionError"):
        reduce(Case(network), Checked(lambda model: 1 // 0))
    with pytest.raises(RefusedError, match="approximate"):
        Wrong(pipeline="int8")


def test_a_fault_that_comes_and_goes_is_refused(network):
    answers = iter((True, False))
    with pytest.raises(PassError, match=r"comes and goes.* 'the check says so', then 'no fault'"):
        reduce(Case(network), Checked(lambda model: next(answers)), limits=None)


def test_a_check_may_edit_its_model(network):
    def edits(model):
        del model.graph.node[1:]
        return True

    before = network.SerializeToString()
    assert Checked(edits)(Case(network))
    assert network.SerializeToString() == before


def test_ctrl_c_and_the_end_of_time_keep_the_best(network):
    def interrupt(case, how):
        if case.nodes < network.graph.node.__len__():
            raise KeyboardInterrupt

    found = reduce(Case(network), Checked(_residual), progress=interrupt)
    assert found.stopped
    assert _residual(found.case.model)
    assert found.case.nodes < len(network.graph.node)
    assert reduce(Case(network), Checked(_residual), seconds=0).case.model == network


def test_bodies_become_smaller():
    model = model_of(
        """
        g (float[4] x, bool c) => (float[4] y) {
            a = Relu(x)
            y = If (c) <
                then_branch = t () => (float[4] p) { q = Exp(a) r = Neg(q) p = Abs(r) },
                else_branch = e () => (float[4] s) { s = Identity(a) }
            >
        }"""
    )

    def negates(model):
        return b"Neg" in model.SerializeToString()

    found = reduce(Case(model), Checked(negates))
    assert _operators(found.case.model) == ["Neg"]


@pytest.mark.slow
def test_the_same_twice(network):
    runs = [reduce(Case(network), Checked(_residual)).case for _ in range(2)]
    assert runs[0].model == runs[1].model


@pytest.mark.usefixtures("broken")
def test_the_script_shows_the_fault_alone(network, tmp_path):
    suspect = Wrong(pipeline="broken-steps")
    found = reduce(Case(network), suspect)
    text = reproducer_of(found.case, replace(suspect, pipeline="exact"), "", tmp_path / "m.onnx")
    assert not _is_secret(text.encode())
    weight = "after.outputs[0].inputs[0].inputs[1]"
    broken = f"{weight}.values = -{weight}.values\nfound ="
    script = tmp_path / "m.py"
    script.write_text(text.replace("found =", broken, 1))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "y0: 2 of its range" in done.stdout


def test_a_script_for_a_large_model_reads_it_and_is_short(tmp_path):
    case = Case(resnet((1, 1), width=64, size=16))  # which the first of better cases may be
    text = reproducer_of(case, Wrong(pipeline="exact"), "", tmp_path / "m.onnx")
    assert "onnx.load('m.onnx')" in text
    assert len(text) < 5000


_BLOCKS = """
<ir_version: 9, opset_import: ["" : 20, "ours" : 1]>
g (float[2,3] x) => (float[2,3] y) {
    a = Abs(x)
    b, unused = ours.block <scale: float = 2.0> (a, x)
    c = Neg(b)
    y, other = ours.block <scale: float = 3.0> (c, a)
}
<domain: "ours", opset_import: ["" : 20, "ours" : 1]>
block <scale> (p, q) => (t, s) {
    secret = Constant <value = float[3] {1.25, 2.5, -3.75}> ()
    factor = Constant <value_float: float = @scale> ()
    e = Exp(p)
    m = Mul(e, factor)
    r = ours.inner(m)
    n = Add(r, secret)
    u = Sin(n)
    v = Sub(u, q)
    t = Tanh(v)
    s = Cos(v)
}
<domain: "ours", opset_import: ["" : 20]>
inner (i) => (o) { j = Ceil(i)  o = Sqrt(j) }
"""


def _inside(model, operator):
    return any(node.op_type == operator for f in model.functions for node in f.node)


def test_a_fault_inside_a_function_is_found_without_the_function():
    model = onnx.parser.parse_model(_BLOCKS)
    found = reduce(Case(model), Checked(lambda m: b"Sqrt" in m.SerializeToString()))
    assert _operators(found.case.model) == ["Sqrt"]
    assert not found.case.model.functions
    assert found.is_anonymous


@pytest.mark.parametrize("operator", ["Exp", "Mul", "Add", "Cos", "Sqrt"])
def test_a_function_whose_call_is_needed_has_what_is_needed_inside(operator):
    model = onnx.parser.parse_model(_BLOCKS)
    found = reduce(Case(model), Checked(lambda m: _inside(m, operator)))
    (function,) = found.case.model.functions
    assert [node.op_type for node in function.node] == [operator]
    assert len(found.case.model.graph.node) == 1
    onnx.checker.check_model(found.case.model)
    data = found.case.model.SerializeToString()
    assert np.array([1.25, 2.5, -3.75], np.float32).tobytes() not in data
    (result,) = ort.InferenceSession(data).run(None, dict(found.case.feed))
    assert np.isfinite(result).all()


def test_a_function_that_calls_itself_is_left_as_it_is():
    text = _BLOCKS.replace("j = Ceil(i)", "j = ours.inner(i)")
    found = reduce(Case(onnx.parser.parse_model(text)), Checked(lambda m: _inside(m, "Sqrt")))
    assert _inside(found.case.model, "Sqrt")
