"""eliminate-sequences: splitting and joining through sequences, as PyTorch's exporter spells it."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, graph_of, model_of, ops, reasons, run_pass

PASS = "eliminate-sequences"
X = np.random.default_rng(7).standard_normal((2, 7, 3)).astype(np.float32)


def at(*positions):
    weights = {f"i{k}": np.array(position) for k, position in enumerate(positions)}
    text = " ".join(f"y{k} = SequenceAt (s, i{k})" for k in range(len(positions)))
    outputs = ", ".join(f"float[A{k}, B{k}, C{k}] y{k}" for k in range(len(positions)))
    return weights, text, outputs


@pytest.mark.parametrize(
    "split", [np.array(3), np.array(7), np.array([2, 4, 1]), np.array([3, 4], np.int32)]
)
@pytest.mark.parametrize("axis", [1, -2])
def test_split(split, axis):
    weights, reads, outputs = at(0, -1, 0)
    model = model_of(
        f"""g (float[N, 7, 3] x) => ({outputs}) {{
            s = SplitToSequence <axis = {axis}> (x, sizes) {reads}
        }}""",
        {"sizes": split, **weights},
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph)[0] == "Split"
    assert not {"SplitToSequence", "SequenceAt"} & set(ops(result.graph))
    assert_same_function(model, result.graph, {"x": X}, tolerance=0)


def test_join():
    model = model_of(
        """g (float[N, 7, 3] x) => (float[N, M, 3] y) {
            n = Neg (x) s = SequenceConstruct (x, n, x) y = ConcatFromSequence <axis = 1> (s)
        }"""
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Neg", "Concat"]
    assert_same_function(model, result.graph, {"x": X}, tolerance=0)


DECLINED = {
    "not static": "s = SplitToSequence <axis = 0> (x, two) y = SequenceAt (s, zero)",
    "no sizes are given": "s = SplitToSequence <axis = 1> (x) y = SequenceAt (s, zero)",
    "sizes are not constant": "s = SplitToSequence <axis = 1> (x, k) y = SequenceAt (s, zero)",
    "at a variable position": "s = SplitToSequence <axis = 1> (x, two) y = SequenceAt (s, k)",
    "read by ConcatFromSequence": (
        "s = SplitToSequence <axis = 1> (x, two) y = ConcatFromSequence <axis = 1> (s)"
    ),
    "along a new axis": (
        "s = SequenceConstruct (x, x) y = ConcatFromSequence <axis = 1, new_axis = 1> (s)"
    ),
    "has other readers": (
        "s = SequenceConstruct (x, x) l = SequenceLength (s) c = Cast <to = 1> (l) "
        "d = ConcatFromSequence <axis = 1> (s) y = Add (d, c)"
    ),
}


@pytest.mark.parametrize("reason", DECLINED)
def test_leaves_alone(reason):
    weights = {"two": np.array(2), "zero": np.array(0)}
    text = f"g (float[N, 7, 3] x, int64 k) => (float[] y) {{ {DECLINED[reason]} }}"
    result = run_pass(graph_of(text, weights), PASS, verify="off")
    assert result.edits == 0
    assert any(reason in found for found in reasons(result)), reasons(result)


def test_position_outside_stays_an_error():
    weights, reads, outputs = at(3)
    model = model_of(
        f"""g (float[N, 7, 3] x) => ({outputs}) {{
            s = SplitToSequence <axis = 1> (x, sizes) {reads}
        }}""",
        {"sizes": np.array(3), **weights},
    )
    result = run_pass(planish.load(model), PASS, verify="off")
    assert "position 3 is outside the sequence" in reasons(result)


@pytest.mark.parametrize("other", ["float[2, 0, 4, 1]", "float[N, 7, 0]"])
def test_an_empty_tensor_of_other_sizes_stays_in_the_sequence(other):
    """ONNX Runtime joins what has elements; a Concat of these is refused."""
    model = model_of(
        f"""g (float[N, 7, 3] x, {other} z) => (float[] y) {{
            s = SequenceConstruct (x, z) y = ConcatFromSequence <axis = 1> (s)
        }}"""
    )
    result = run_pass(planish.load(model), PASS, verify="off")
    assert result.edits == 0
    assert "Concat takes no tensors of such sizes" in reasons(result)
