"""Certificates of runs, and what a checker refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import planish
from planish import CertificateError
from planish.ir.proof.certificate import Certificate, seal_of
from planish.ir.proof.check import check_certificate
from planish.ir.proof.claims import OpenOutput
from planish.ir.proof.digests import Digests
from planish.ir.proof.sides import PairedSizes, Side

from tests.helpers import graph_of

RANDOM = np.random.default_rng(0)
WEIGHTS = {
    "w": RANDOM.standard_normal((8, 3, 3, 3)).astype(np.float32),
    "s": RANDOM.uniform(0.5, 2, 8).astype(np.float32),
    "b": RANDOM.standard_normal(8).astype(np.float32),
    "m": RANDOM.standard_normal(8).astype(np.float32),
    "v": RANDOM.uniform(0.5, 2, 8).astype(np.float32),
    "one": np.float32(1),
}
TEXT = """g (float[N,3,H,20] x) => (float[N,8,P,10] y) {
    c = Conv<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x, w)
    n = BatchNormalization(c, s, b, m, v)
    r = Relu(n)
    i = Identity(r)
    t = Mul(i, one)
    y = Sigmoid(t) }"""


@pytest.fixture(scope="module")
def graph():
    return graph_of(TEXT, WEIGHTS)


@pytest.fixture(scope="module")
def result(graph):
    return planish.Pipeline.parse("exact").run(graph, verify="prove")


def test_every_edit_is_proved(graph, result):
    certificate = result.certificate
    assert result.verified
    assert certificate.is_complete
    assert certificate.proved == len(certificate.edits) == result.edits
    assert certificate.verdict().startswith(f"proved {result.edits} of {result.edits} edits")
    folded = [each for each in certificate.windows if each.claim == "rounding"]
    assert all(0 < each.units < 4 for each in folded)
    check_certificate(graph, result.graph, certificate)


def test_nobody_asked(graph):
    assert planish.Pipeline.parse("exact").run(graph).certificate is None


def test_a_file_holds_of_the_portable_model_as_well(graph, result, tmp_path):
    planish.save(graph, tmp_path / "before.onnx")
    path = tmp_path / "certificate.json"
    result.certificate.save(path)
    for portable in (False, True):
        planish.save(result.graph, tmp_path / "after.onnx", portable=portable)
        found = Certificate.load(path)
        assert found == result.certificate
        check_certificate(tmp_path / "before.onnx", tmp_path / "after.onnx", found)


SCAN = """g (float[4] x, float c) => (float[] y) {
    s, y = Scan <num_scan_inputs = 1, body = b (float[] p, float[] e) => (float[] q, float[] f)
        { q = Max(p, e) g = Sigmoid(e) f = Mul(e, g) }> (c, x) }"""
SWISH = """<ir_version: 8, opset_import: ["" : 13]> g (float[4] x) => (float[4] y) {
    a = Add(x, three) b = Clip(a, zero, six) p = Mul(x, b) y = Div(p, six) }"""
NUMBERS = {"zero": np.float32(0), "three": np.float32(3), "six": np.float32(6)}


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize(
    ("text", "constants"),
    [
        ("g (float[1,3,8,8] x) => (float[] y) { c = Conv(x, w) y = Relu(c) }", WEIGHTS),
        (SCAN, {}),
        (SWISH, NUMBERS),
    ],
    ids=["a bias that is made", "names inside of a body", "an attribute of 53 bits"],
)
def test_what_a_file_says_otherwise_is_no_part_of_a_certificate(text, constants, portable):
    """A fused operator has a bias, a body names its tensors, and Python's floats have 53 bits."""
    graph = graph_of(text, constants)
    result = planish.Pipeline.parse("exact").run(graph, verify="prove")
    assert result.edits
    model = planish.to_model(result.graph, portable=portable)
    check_certificate(planish.to_model(graph), model, result.certificate)


def test_the_same_run_gives_the_same_bytes(graph, result, tmp_path):
    again = planish.Pipeline.parse("exact").run(graph, verify="prove")
    for name, each in (("a", result), ("b", again)):
        each.certificate.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_model_is_refused(graph, result):
    other = graph_of(TEXT, {**WEIGHTS, "b": WEIGHTS["b"] * np.float32(1.0000002)})
    with pytest.raises(CertificateError, match="the model before is not the one"):
        check_certificate(other, result.graph, result.certificate)
    with pytest.raises(CertificateError, match="the model after is not the one"):
        check_certificate(graph, graph, result.certificate)


def test_a_certificate_of_a_wrong_model_does_not_hold(graph, result):
    """Written for it, with all digests right."""
    wrong = _with_folded(
        result.graph, lambda w: np.where(np.arange(w.size).reshape(w.shape) == 7, -w, w)
    )
    right, forged = (Side(each, Digests()) for each in (result.graph, wrong))
    references = {
        right.reference(tensor): forged.reference(forged.tensors[name])
        for name, tensor in right.tensors.items()
    }
    windows = tuple(
        replace(each, output=(each.output[0], references[each.output[1]]))
        for each in result.certificate.windows
    )
    forged = replace(result.certificate, after=forged.digest, windows=windows)
    with pytest.raises(CertificateError, match="the sides differ"):
        check_certificate(graph, wrong, forged)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda y: setattr(y, "shape", [9, *y.shape[1:]]), "is declared as float32"),
        (lambda y: setattr(y, "shape", [*y.shape, 1]), "is declared as float32"),
        (lambda y: setattr(y, "dtype", np.dtype(np.float64)), "is declared as float64"),
    ],
)
def test_an_output_that_is_declared_otherwise_is_refused(graph, result, declare, message):
    after = planish.clone(result.graph)
    after.outputs[0].shape = [2, *after.outputs[0].shape[1:]]
    graph = planish.clone(graph)
    graph.outputs[0].shape = [2, *after.outputs[0].shape[1:]]
    declare(after.outputs[0])
    certificate = replace(result.certificate, after=Side(after, Digests()).digest)
    with pytest.raises(CertificateError, match=message):
        check_certificate(graph, after, certificate)


def test_claims_that_say_too_much_do_not_hold(graph, result):
    windows = tuple(replace(each, claim="exact") for each in result.certificate.windows)
    forged = replace(result.certificate, windows=windows, edits=())
    with pytest.raises(CertificateError, match="it is 'rounding', not 'exact'"):
        check_certificate(graph, result.graph, forged)
    with pytest.raises(CertificateError, match="is not shown to be equal"):
        check_certificate(graph, result.graph, replace(result.certificate, windows=(), edits=()))
    edits = tuple(replace(each, claim="exact") for each in result.certificate.edits)
    with pytest.raises(CertificateError, match="claims more than its windows"):
        check_certificate(graph, result.graph, replace(result.certificate, edits=edits))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found["windows"][0].update(claim="exact"), "was changed"),
        (lambda found: found.update(version=99), "of version 99"),
        (lambda found: found.update(format="other"), "is no certificate"),
    ],
)
def test_a_changed_file_is_refused(result, tmp_path, change, message):
    path = tmp_path / "certificate.json"
    result.certificate.save(path)
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(CertificateError, match=message):
        Certificate.load(path)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda found: found["windows"][0].update(claim=["exact"]), "windows[0].claim"),
        (lambda found: found["windows"][0].update(output=[["a"], {}]), "windows[0].output"),
        (lambda found: found["windows"][0].update(units=float("nan")), "windows[0].units"),
        (lambda found: found["windows"][0].update(name="\ud800"), "windows[0].name"),
        (lambda found: found["edits"][0].update(pass_name="\x1b[31m"), "edits[0].pass_name"),
        (lambda found: found["edits"][0].update(pass_name=5), "edits[0].pass_name"),
        (lambda found: found["edits"][0].update(windows=[0.5]), "edits[0].windows"),
        (lambda found: found["edits"][0].update(windows=[10**6]), "edits[0].windows"),
        (lambda found: found.update(sizes=[[["a", "b"]]]), "sizes[0]"),
        (lambda found: found.update(edits=5), "edits"),
        (lambda found: found.pop("before"), "before"),
    ],
)
def test_a_field_of_another_type_is_named(result, tmp_path, change, field):
    path = tmp_path / "certificate.json"
    result.certificate.save(path)
    found = json.loads(path.read_text())
    del found["seal"]
    change(found)
    path.write_text(json.dumps({**found, "seal": seal_of(found)}))
    with pytest.raises(CertificateError, match=re.escape(f"'{field}' is not right")):
        Certificate.load(path)


def test_a_file_says_nothing_that_the_checker_does_not_find(graph, result):
    """What windows are called and how far apart their sides are is found again."""
    windows = tuple(
        replace(each, name="other", before=99, after=99, difference=0.0, units=0.0)
        for each in result.certificate.windows
    )
    found = check_certificate(graph, result.graph, replace(result.certificate, windows=windows))
    again = [(w.name, w.before, w.after) for w in result.certificate.windows]
    assert [(w.name, w.before, w.after) for w in found.windows] == again
    assert any(w.units for w in found.windows)
    opened = (OpenOutput(name="y", reason="none"),)
    named = check_certificate(graph, result.graph, replace(result.certificate, open_outputs=opened))
    assert not named.open_outputs  # the windows show it
    twice = replace(result.certificate, windows=result.certificate.windows * 2)
    with pytest.raises(CertificateError, match="it is there twice"):
        check_certificate(graph, result.graph, twice)


def test_what_an_open_output_leaves_is_no_proof(graph, result):
    """Of a certificate without windows, in which all is said to be proved."""
    edits = tuple(replace(each, windows=(), claim="exact") for each in result.certificate.edits)
    opened = (OpenOutput(name="y", reason="none"),)
    forged = replace(result.certificate, windows=(), edits=edits, open_outputs=opened)
    found = check_certificate(graph, result.graph, forged)
    assert found.proved == 0
    assert "not shown to be equal: 'y'" in found.verdict()
    assert "not shown to be equal: 'y'" in found.shown()


def test_an_output_that_another_tensor_computes_as_well():
    graph = graph_of(
        "g (float[4] x) => (float[4] y, float[4] z) { a = Relu(x) y = Mul(a, one) z = Add(a, a) }",
        {"one": np.float32(1)},
    )
    found = planish.Pipeline.parse("exact").run(graph, verify="prove")
    assert found.edits
    assert found.certificate.is_complete
    check_certificate(graph, found.graph, found.certificate)


@pytest.mark.parametrize(
    "text",
    [
        "g (float[4] x) => (int16[] y, int16[] z) { y = Cast<to=5>(one) z = Cast<to=5>(one) }",
        "g (float[1,1,2] x) => (float[] y, float[] z) { z = Max(x) "
        "t = Transpose<perm=[0,2,1]>(z) y = Transpose<perm=[0,2,1]>(t) }",
    ],
)
def test_tensors_that_compute_the_same_are_one(text):
    graph = graph_of(text, {k: v for k, v in WEIGHTS.items() if f"({k})" in text})
    found = planish.Pipeline.parse("exact").run(graph, verify="prove")
    assert found.certificate.is_complete
    check_certificate(graph, found.graph, found.certificate)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000])
def test_what_is_no_certificate_is_refused(tmp_path, text):
    path = Path(tmp_path / "certificate.json")
    path.write_text(text)
    with pytest.raises(CertificateError, match="is no certificate"):
        Certificate.load(path)


def test_nothing_is_proved_across_an_approximate_pass(graph):
    with pytest.raises(planish.PipelineError, match="across 'prune'"):
        planish.Pipeline.parse("exact,prune{amount=0.5}").run(graph, verify="prove")


def _with_folded(graph, change):
    """Return a copy of `graph` with the weight of its convolution changed."""
    made = planish.load(planish.to_model(graph, portable=True))
    (conv,) = (node for node in made.nodes if node.op == "Conv")
    conv.inputs[1].values = change(conv.inputs[1].values).astype(np.float32)
    return made


@pytest.mark.parametrize(
    ("node", "size"),
    [
        ("y = Pad(b, p)", np.zeros(4, np.int64)),
        ("y = Tile(b, p)", np.ones(2, np.int64)),
        ("one = Constant<value_int=1>() y = Range(k, p, one)", np.array(4, np.int64)),
    ],
)
def test_what_unfolds_by_sizes_that_a_feed_may_give_is_not_evaluated(node, size):
    """Random points of integers are as large as memory is not."""
    text = f"""g (float[N] x, int64 p) => (int64[] y, float[] z) {{
        a = Constant<value_ints=[1, 2]>() k = Constant<value_int=0>() u = Constant<value_ints=[0]>()
        b = Unsqueeze(a, u) z = Relu(x) {node} }}"""
    graph = graph_of(
        text.replace("int64 p", f"int64[{', '.join(map(str, size.shape))}] p"), {"p": size}
    )
    result = planish.Pipeline.parse("exact").run(graph, verify="prove", strict=True)
    assert result.certificate is not None


def test_equal_nodes_of_two_branches_are_told_apart():
    branch = "[n] t = Clip(b, lowest)"
    text = f"""g (bool c, int64[2] x) => (int64[] y, int64[] z, int64[] d) {{
        a = BitwiseNot(x) b = BitwiseNot(x) lowest = Constant<value_int=-3>() d = Identity(b)
        y = If(c) <then_branch=f () => (int64[] s) {{ s = Identity(a) }},
                   else_branch=g () => (int64[] t) {{ {branch} }}>
        z = If(c) <then_branch=f () => (int64[] s) {{ s = Neg(a) }},
                   else_branch=g () => (int64[] t) {{ {branch} }}> }}"""
    result = planish.Pipeline.parse("exact").run(graph_of(text), verify="prove", strict=True)
    assert result.certificate is not None


@pytest.mark.parametrize(("channels", "sizes"), [("C", (2, 8, 12, 16)), ("3", (2, 64, 96))])
def test_sizes_of_many_open_axes_are_small(channels, sizes):
    """Three axes of 64 and more are a million elements, which takes minutes."""
    graph = graph_of(
        f"g (float[N,{channels},H,W] x) => (float[] y) {{ a = Mul(x, k) y = Mul(a, k) }}",
        {"k": np.float32(3)},
    )
    side = Side(graph, Digests())
    assert sorted(PairedSizes(side, side).tried[0].values()) == sorted(sizes)


def test_where_small_sizes_do_not_fit_usual_ones_are_taken():
    graph = graph_of(
        "g (float[N,C,H,W] x) => (float[] y) { y = Add(x, w) }", {"w": np.zeros((128, 96, 64), "f")}
    )
    side = Side(graph, Digests())
    assert sorted(PairedSizes(side, side).tried[0].values()) == [2, 64, 96, 128]
