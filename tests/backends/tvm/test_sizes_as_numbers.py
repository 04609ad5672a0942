"""Sizes of open inputs that a network computes with, as detectors do for their grids."""

import os

import numpy as np
import pytest

import planish
from planish.backends.tvm.program.suggest import sizes_suggested
from planish.backends.tvm.runtime.quiet import quietly
from planish.ir.core.errors import BackendError

from tests.helpers import graph_of, run_ort

pytest.importorskip("tvm")

CONSTANTS = {
    "two": np.array(2),
    "zero": np.array(0, np.float32),
    "one": np.array(1, np.float32),
}
CASES = {
    "a number": ("float y", "c = Cast <to = 1> (n)\n y = Add(c, one)"),
    "an output": ("int64 y", "y = Identity(n)"),
    "a range": ("float[K] y", "c = Cast <to = 1> (n)\n y = Range(zero, c, one)"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_single_size_is_a_number(name, tmp_path, capfd):
    output, body = CASES[name]
    used = {key: value for key, value in CONSTANTS.items() if key == "two" or key in body}
    graph = graph_of(
        f"g (float[N, 3, H, W] x) => ({output}) {{ s = Shape(x)\n n = Gather(s, two)\n {body} }}",
        used,
    )
    planish.lower(graph, "tvm").save(tmp_path / "m.planish")
    compiled = planish.load_compiled(tmp_path / "m.planish")
    for shape in ((1, 3, 5, 7), (2, 3, 4, 6)):
        feed = {"x": np.zeros(shape, np.float32)}
        wanted, found = run_ort(planish.to_model(graph), feed)["y"], compiled(feed)["y"]
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == wanted.dtype
    assert capfd.readouterr().err == ""


def test_a_refusal_says_which_sizes_to_give():
    text = "g (float[N, 3, H, 8] x, float[2] w) => (float[N, 3, H, 8] y) { y = Relu(x) }"
    with (
        pytest.raises(BackendError, match=r"--input-shape x=2,3,64,8$"),
        sizes_suggested(graph_of(text)),
    ):
        raise BackendError("no")
    with (
        pytest.raises(BackendError) as caught,
        sizes_suggested(graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")),
    ):
        raise BackendError("no")
    assert str(caught.value) == "no"


def test_elements_that_are_picked_are_no_warning(capfd):
    graph = graph_of(
        "g (float[2, 5] x) => (float[2, 3] y, float[2] z) "
        "{ y = Gather <axis = -1> (x, some)\n z = Gather <axis = 1> (x, one) }",
        {"some": np.array([4, 0, -2]), "one": np.array(-1)},
    )
    compiled = planish.lower(graph, "tvm", check_kernels=True)
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    found = compiled({"x": x})
    np.testing.assert_array_equal(found["y"], x[:, [4, 0, 3]])
    np.testing.assert_array_equal(found["z"], x[:, 4])
    assert capfd.readouterr().err == ""


def test_other_lines_are_not_lost(capfd):
    with quietly():
        os.write(2, b"[05:45] executable.cc:340: Warning: Scope Loaded:\nan error\n")
    assert capfd.readouterr().err == "an error\n"


def test_without_a_rank_it_is_said_how_to_give_one():
    graph = graph_of("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    graph.inputs[0].shape = graph.outputs[0].shape = None
    with pytest.raises(BackendError, match=r"rank of input 'x'.*--input-shape x="):
        planish.lower(graph, "tvm")
