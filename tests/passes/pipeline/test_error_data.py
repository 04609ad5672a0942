"""Errors carry what a program wants of them, beside the message."""

import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import planish
from planish.ir.core.errors import PassError, RefusedError, VerificationError
from planish.passes.pipeline import registry

from tests.helpers import graph_of


@pytest.fixture(autouse=True)
def registered():
    """Forget what a test registers."""
    before = dict(registry.REGISTERED)
    yield
    registry.REGISTERED.clear()
    registry.REGISTERED.update(before)


def network():
    return graph_of("g (float[4] x) => (float[4] y) { y = Mul(x, w) }", {"w": np.ones(4, "f")})


def scale(graph):
    graph.nodes[0].inputs[1].values = graph.nodes[0].inputs[1].values * np.float32(1.5)


@pytest.mark.parametrize("verify", ["each", "end"])
def test_of_verification(tmp_path, verify):
    planish.register_pass(scale, name="scale", exact=True)
    with pytest.raises(VerificationError) as caught:
        planish.Pipeline.parse("scale").run(
            network(), verify=verify, strict=True, reproducer=tmp_path / "r"
        )
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert error.output == "y"
        assert error.error == pytest.approx(0.5)
        assert error.allowed == 1e-5
        assert error.reproducer == tmp_path / "r"
        assert error.pass_name == ("scale" if verify == "each" else None)
        assert str(error) == str(caught.value)


class _Raises(planish.Rewrite):
    ops = ("Mul",)

    def match(self, node, view):
        return node

    def rewrite(self, site, edit):
        raise KeyError("lost")


def test_of_a_pass(tmp_path):
    @planish.register_pass
    @dataclass(frozen=True)
    class Raising(planish.RewritePass):
        """Raise."""

        name: ClassVar[str] = "raising"

        def rewrites(self):
            return (_Raises(),)

    with pytest.raises(PassError, match="KeyError") as caught:
        planish.Pipeline.parse("raising").run(network(), verify="each", strict=True)
    assert caught.value.pass_name == "raising"
    assert caught.value.node == "Mul -> 'y'"
    assert (caught.value.reproducer / "before.onnx").is_file()
    assert caught.value.output is None


@pytest.mark.parametrize("strict", [True, False])
def test_a_missing_package_is_no_failure_of_the_pass(strict):
    @planish.register_pass
    def needs(graph):
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    with pytest.raises(RefusedError, match=r"'torch'.* pip install planish\[torch\]$"):
        planish.Pipeline.parse("needs").run(network(), strict=strict)


def test_bisect_names_the_nodes():
    planish.register_pass(scale, name="scale", exact=True)
    found = planish.bisect(planish.Pipeline.parse("scale"), network())
    assert found.nodes == ("Mul -> 'y'",)
