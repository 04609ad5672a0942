"""What a pass fails with is printed at the end, and the model is written."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar

import onnx
import pytest

from planish import Pass, RewritePass, register_pass
from planish.passes.engine.rewrite import Rewrite
from planish.passes.pipeline import registry

from tests.cli.common import assert_refused
from tests.helpers import model_of


class _Raise(Rewrite):
    ops: ClassVar[frozenset[str]] = frozenset({"Conv"})

    def match(self, node, view):
        return node

    def rewrite(self, site, edit):
        edit.remove(site)
        raise KeyError("table")


@dataclass(frozen=True)
class RaisesAtConv(RewritePass):
    """Fail at every convolution."""

    name: ClassVar[str] = "raises-at-conv"

    def rewrites(self):
        return (_Raise(),)


@dataclass(frozen=True)
class Doubles(Pass):
    """Double what a convolution gives, by mistake."""

    name: ClassVar[str] = "doubles"

    def run(self, graph, context):
        with context.editing() as edit:
            node = next(node for node in graph.nodes if node.op == "Conv")
            if edit.begin():
                values = edit.constant(2 * node.inputs[1].values, "doubled")
                edit.set_input(node, 1, values)


# One cannot be run, the other gives what it should not.
CODES = {"raises-at-conv": 2, "doubles": 3}


@pytest.fixture(autouse=True)
def _passes(monkeypatch):
    monkeypatch.delenv("PLANISH_STRICT", raising=False)
    registry.all_passes()
    before = dict(registry.REGISTERED)
    for item in (RaisesAtConv, Doubles):
        register_pass(item)
    yield
    registry.REGISTERED.clear()
    registry.REGISTERED.update(before)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("raises-at-conv", "left Conv -> 'c' as it was: KeyError: 'table'"),
        ("doubles", "was rolled back: output 'y' differs by"),
    ],
)
def test_the_run_goes_on(call, model, out, tmp_path, name, says):
    code, shown, err = call(
        "optimize", model, "-o", out, "-p", f"{name},fold-batchnorm", "--reproducer", tmp_path / "r"
    )
    assert code == 0
    assert "Traceback" not in shown + err
    assert [node.op_type for node in onnx.load(out).graph.node] == ["Conv"]
    assert "\nverified: " in shown
    assert f"warning: pass 1 of 2, '{name}', " in shown
    assert says in shown
    assert "report at https://github.com/" in shown
    (line,) = (line for line in shown.splitlines() if "reproduce with: " in line)
    words = shlex.split(line.partition("reproduce with: ")[2])
    assert_refused(call(*words[1:]), f"'{name}'", as_=CODES[name])


@pytest.mark.parametrize("name", ["raises-at-conv", "doubles"])
def test_strict(call, model, out, name, tmp_path):
    words = ("optimize", model, "-o", out, "-p", name, "--reproducer", tmp_path / "r")
    assert_refused(call(*words, "--strict"), name, as_=CODES[name])
    assert not out.exists()


def test_compile_says_it_too(call, model, tmp_path):
    code, shown, _ = call("compile", model, "-o", tmp_path / "c.onnx", "-p", "raises-at-conv")
    assert code == 0
    assert "KeyError: 'table'" in shown


UNKNOWN = {
    "an operator of no runtime": (
        """<ir_version: 8, opset_import: ["" : 17, "odd" : 1]>
        g (float[2, 3] x) => (float[2, 3] y) { a = Identity(x) b = odd.Own(a) y = Neg(b) }""",
        "the original graph cannot be run",
    ),
    "an output that is the same for all inputs": (
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2, 3] x) => (float[2, 3] y) <float z = {0.0}> {
            a = Identity(x) b = Mul(a, z) y = Neg(b) }""",
        "nothing was shown",
    ),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_verified_is_written_and_said(call, out, tmp_path, case):
    text, says = UNKNOWN[case]
    path = tmp_path / "in.onnx"
    onnx.save(model_of(text), path)
    code, shown, _ = call("optimize", path, "-o", out)
    assert code == 0
    assert f"NOT verified: {says}" in shown
    assert out.exists()


@pytest.mark.parametrize("case", UNKNOWN)
def test_strict_writes_nothing_that_is_not_verified(call, out, tmp_path, case):
    text, says = UNKNOWN[case]
    path = tmp_path / "in.onnx"
    onnx.save(model_of(text), path)
    assert_refused(call("optimize", path, "-o", out, "--strict"), f"not verified: {says}", as_=3)
    assert not out.exists()
    code, shown, _ = call("optimize", path, "-o", out, "--strict", "--verify", "off")
    assert (code, out.exists()) == (0, True)
    assert "not verified (--verify off)" in shown


def test_strict_minds_no_graph_that_stayed_as_it_was(call, out, tmp_path):
    path = tmp_path / "in.onnx"
    text, _ = UNKNOWN["an operator of no runtime"]
    onnx.save(model_of(text.replace("a = Identity(x)", "").replace("(a)", "(x)")), path)
    code, shown, _ = call("optimize", path, "-o", out, "--strict")
    assert code == 0
    assert "not verified, and no pass edited: the original graph cannot" in shown
