"""Lowering that is compared with the graph: a verdict where it is right, else an error."""

from __future__ import annotations

import shlex

import numpy as np
import pytest

import planish
from planish.backends.contract.registry import REGISTERED
from planish.ir.core.errors import BackendError, VerificationError
from planish.ir.run.reference import Reference

from tests.helpers import model_of

TEXT = """g (float[N, 4] x) => (float[N, 4] y, int64[2] z) {
    a = Relu(x)
    b = Sigmoid(a)
    c = Mul(b, x)
    y = Add(c, a)
    z = Shape(y)
}"""


class Wrong(planish.Backend):
    """Runs a graph, and moves the results of one operator."""

    name = "wrong"
    summary = "a backend with a fault"
    fault = ""
    change = staticmethod(lambda array: array)

    def lower(self, graph, target, threads, **options):
        reference = Reference(graph)
        faulty = any(node.op == self.fault for node in graph.nodes)

        class Network(planish.Compiled):
            def __call__(self, feeds):
                found = reference(feeds)
                if not faulty:
                    return found
                return {name: Wrong.change(array) for name, array in found.items()}

            def save(self, path):
                raise NotImplementedError

        return Network()

    def load(self, path, target, threads):
        raise NotImplementedError

    def targets(self):
        return ["cpu"]


@pytest.fixture
def wrong(monkeypatch):
    monkeypatch.setitem(REGISTERED, "wrong", Wrong)
    return monkeypatch


def graph():
    return planish.load(model_of(TEXT))


def test_a_network_that_is_right_carries_its_verdict(wrong) -> None:
    assert planish.lower(graph(), "wrong").verdict == ""
    found = planish.lower(graph(), "wrong", verify=True).verdict
    assert found == "verified: largest error 0.0e+00 of the output's range, 1.0e-05 allowed"


@pytest.mark.parametrize("name", ["Sigmoid", "Mul", "Add", "Shape"])
def test_the_first_node_that_is_wrong_is_named(wrong, tmp_path, name) -> None:
    wrong.setattr(Wrong, "fault", name)
    wrong.setattr(Wrong, "change", staticmethod(lambda array: array + array.dtype.type(1)))
    with pytest.raises(VerificationError, match=f"first node.* is {name} ") as caught:
        planish.lower(graph(), "wrong", verify=True, reproducer=tmp_path)
    assert "after lowering to wrong output" in str(caught.value)
    words = shlex.split(str(caught.value).partition("reproduce with: ")[2])
    assert words[:3] == ["planish", "compile", str(tmp_path / "before.onnx")]
    part = planish.load(tmp_path / "before.onnx")
    assert part.nodes[-1].op == name
    assert (tmp_path / "feeds.npz").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: array.astype(np.int32), "is int32.*should be float32|int64"),
        (lambda array: array[:1], r"\[1.*and it should be"),
        (lambda array: array * array.dtype.type(0), "differs"),
        (lambda a: np.full_like(a, np.nan) if a.dtype.kind == "f" else a, "nan|inf"),
    ],
)
def test_every_difference_is_noticed(wrong, tmp_path, change, message) -> None:
    wrong.setattr(Wrong, "fault", "Relu")
    wrong.setattr(Wrong, "change", staticmethod(change))
    with pytest.raises(VerificationError, match=message):
        planish.lower(graph(), "wrong", verify=True, reproducer=tmp_path)


def test_feeds_of_a_person_are_used(wrong, tmp_path) -> None:
    """Half of what is below 0 is lost: only feeds that have some can show it."""
    wrong.setattr(Wrong, "fault", "Relu")
    wrong.setattr(Wrong, "change", staticmethod(lambda a: np.maximum(a, a.dtype.type(-1e-3))))
    above = [{"x": np.full((1, 4), 0.5, np.float32)}]
    assert "error 0.0e+00" in planish.lower(graph(), "wrong", verify=True, feeds=above).verdict
    below = [{"x": np.full((1, 4), -0.5, np.float32)}]
    with pytest.raises(VerificationError, match="output 'y'"):
        planish.lower(graph(), "wrong", verify=True, feeds=below, reproducer=tmp_path)


def test_code_for_another_machine_is_not_verified(wrong) -> None:
    def elsewhere(array):
        raise BackendError("this is code for isa 'neon', which this machine does not have")

    wrong.setattr(Wrong, "fault", "Relu")
    wrong.setattr(Wrong, "change", staticmethod(elsewhere))
    found = planish.lower(graph(), "wrong", verify=True).verdict
    assert found.startswith("NOT verified: this is code for isa 'neon'")


def test_outputs_that_show_nothing_are_not_verified(wrong) -> None:
    text = "g (float[2] x) => (float[2] y) { z = Sub(x, x) y = Relu(z) }"
    found = planish.lower(planish.load(model_of(text)), "wrong", verify=True).verdict
    assert found.startswith("NOT verified: nothing was shown")
