"""Verification around a pass that changes the outputs by intent: before it, and after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import planish
from planish import Pass, Pipeline
from planish.cli.show.records import verification_line
from planish.ir.core.errors import VerificationError
from planish.passes.pipeline.repeat import Repeat
from planish.passes.transfer.replace_head import ReplaceHead

from tests.helpers import graph_of

generator = np.random.default_rng(0)
TEXT = """g (float[N, 6] x) => (float[N, 7] y) {
    a = Gemm <transB = 1> (x, u) r = Relu (a) h = Gemm <transB = 1> (r, w, b) y = Softmax (h)
}"""
SHAPES = {"u": (6, 6), "w": (7, 6), "b": (7,)}


@dataclass(frozen=True)
class Scaled(Pass):
    """Scale the weight `u` once, which is no exact thing to do."""

    name: ClassVar[str] = "scaled"
    by: float = 1.0

    def run(self, graph, context):
        """Replace the weight."""
        with context.editing() as edit:
            for node in graph.nodes:
                for place, tensor in enumerate(node.inputs):
                    if tensor.name == "u" and edit.begin():
                        values = (tensor.values * np.float64(self.by)).astype(np.float32)
                        edit.set_input(node, place, edit.constant(values, "scaled"))


class Honest(Scaled):
    """The same, not claimed to be exact."""

    name: ClassVar[str] = "honest"
    exact: ClassVar[bool] = False


def graph():
    weights = {k: generator.standard_normal(s).astype(np.float32) for k, s in SHAPES.items()}
    return graph_of(TEXT, weights)


HEAD = ReplaceHead(classes=4)


@pytest.mark.parametrize("verify", ["each", "end"])
@pytest.mark.parametrize(
    ("passes", "classes"),
    [
        ((Scaled(1.1), HEAD), 7),
        ((HEAD, Scaled(1.1)), 4),
        ((Repeat((HEAD, Scaled(1.1))),), 4),
    ],
)
def test_a_wrong_pass_on_either_side_is_found(passes, classes, verify, tmp_path):
    with pytest.raises(VerificationError, match=r"after .*scaled.* differs by") as failure:
        Pipeline(passes).run(graph(), verify=verify, reproducer=tmp_path)
    assert "replace-head" not in str(failure.value).partition("differs")[0]
    before = planish.load(tmp_path / "before.onnx")
    assert before.outputs[0].shape[1:] == [classes]  # the reproducer starts on the same side


@pytest.mark.parametrize("verify", ["each", "end"])
@pytest.mark.parametrize("passes", [(Scaled(), HEAD), (HEAD, Scaled())])
def test_right_passes_on_either_side_are_held_to_the_tolerance(passes, verify):
    result = Pipeline(passes).run(graph(), verify=verify)
    assert result.verified
    assert result.tolerance is not None
    errors = {record.name: record.error for record in result.records}
    assert errors == {"scaled": 0.0, "replace-head": None}
    place = 1 + passes.index(HEAD)
    note = f"the outputs have changed by intent in pass {place} of 2, 'replace-head'"
    assert result.note.startswith(note)
    assert note in verification_line(result)
    assert verification_line(result).startswith("verified: largest error 0")


def test_the_error_of_an_approximate_pass_is_measured_on_its_own_side():
    for passes in ((Honest(1.1), HEAD), (HEAD, Honest(1.1))):
        result = Pipeline(passes).run(graph())
        assert result.tolerance is None
        error = next(record.error for record in result.records if record.name == "honest")
        assert 1e-4 < error < 0.5
        line = verification_line(result)
        assert line.startswith(f"measured: largest error {error:.1e} of the output's range; the")


def test_nothing_is_said_to_be_verified_where_nothing_was():
    result = Pipeline((HEAD,)).run(graph())
    assert not result.verified
    assert verification_line(result).startswith("NOT verified: the outputs have changed by intent")
    assert Pipeline((HEAD,)).run(graph(), verify="off").note == ""
