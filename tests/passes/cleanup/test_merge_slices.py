"""A slice of a slice is taken at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planish

from tests.effort import examples
from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass

PASS = "merge-slices"
SIZE = 5
FAR = (1 << 63) - 1


def sliced(cuts, kind="float[5, 5]", opset=17, extra=""):
    """Slice x once for each of `cuts`: starts, ends, axes and steps."""
    names, body, values = "x", "", {}
    for number, cut in enumerate(cuts):
        for part, given_ in zip("seat", cut, strict=True):
            values[f"{part}{number}"] = np.array(given_, np.int64)
        result = "y" if number == len(cuts) - 1 else f"v{number}"
        inputs = ", ".join([names, *(f"{part}{number}" for part in "seat"[: len(cut)])])
        body += f"{result} = Slice({inputs}) "
        names = result
    header = f'<ir_version: 8, opset_import: ["" : {opset}]>\n'
    return model_of(f"{header}g ({kind} x) => (float[] y{extra}) {{ {body} }}", values)


X = np.arange(SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
BOUND = st.one_of(st.integers(-SIZE - 3, SIZE + 3), st.sampled_from([FAR, -FAR]))
STEP = st.sampled_from([1, 1, 2, 3, -1, -2])


@st.composite
def cut(draw):
    axes = draw(st.permutations([0, 1]))[: draw(st.integers(1, 2))]
    columns = [[draw(kind) for _ in axes] for kind in (BOUND, BOUND, STEP)]
    return columns[0], columns[1], axes, columns[2]


@given(cuts=st.lists(cut(), min_size=2, max_size=4), dynamic=st.booleans())
@settings(max_examples=examples(200))
def test_the_same_elements(cuts, dynamic):
    before = sliced(cuts, "float[N, 5]" if dynamic else "float[5, 5]")
    result = run_pass(planish.load(before), PASS, verify="off")
    assert_same_function(before, result.graph, {"x": X}, 0)
    assert run_pass(result.graph, PASS, verify="off").edits == 0


@pytest.mark.parametrize("kind", ["float[5, 5]", "float[N, M]"])
@pytest.mark.parametrize(
    ("cuts", "expected"),
    [
        ([([1], [4], [0], [1]), ([0], [2], [1], [1])], X[1:4, 0:2]),
        ([([1], [4], [0], [1]), ([1], [2], [0], [1])], X[2:3]),
        ([([1], [FAR], [0], [1]), ([1], [FAR], [0], [1])], X[2:]),
        ([([1], [FAR], [0], [1]), ([0], [2], [0], [1])], X[1:3]),
        ([([1], [FAR], [0], [1]), ([FAR], [FAR], [0], [1])], X[:0]),
        ([([FAR], [FAR], [0], [1]), ([FAR], [2], [0], [1])], X[:0]),
        ([([0], [2], [0], [1]), ([1], [9], [0], [1])], X[1:2]),
        ([([4], [-9], [1], [-1]), ([1], [3], [0], [1])], X[1:3, ::-1]),
    ],
)
def test_merges(kind, cuts, expected):
    if kind == "float[N, M]" and cuts[0][3] == [-1]:
        cuts = [([FAR], [-FAR], [1], [-1]), cuts[1]]
    before = sliced(cuts, kind)
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["Slice"]
    assert_same_function(before, result.graph, {"x": X}, 0)
    found = run_pass(planish.load(before), PASS, verify="off").graph
    assert np.array_equal(planish.lower(found, backend="onnxruntime")({"x": X})["y"], expected)


@pytest.mark.parametrize("opset", [9, 12])
def test_old_opsets(opset):
    spelled = "<starts = [{}], ends = [{}], axes = [{}]> ({})"
    if opset == 9:
        first, second = spelled.format(1, 4, 0, "x"), spelled.format(1, 2, 0, "v")
        values = {}
    else:
        first, second = "(x, one, four, none)", "(v, one, two, none)"
        values = {"none": [0], "one": [1], "two": [2], "four": [4]}
    before = model_of(
        f'<ir_version: 7, opset_import: ["" : {opset}]>\n'
        f"g (float[N, 5] x) => (float[] y) {{ v = Slice {first} y = Slice {second} }}",
        {name: np.array(value, np.int64) for name, value in values.items()},
    )
    result = run_pass(planish.load(before), PASS)
    assert ops(result.graph) == ["Slice"]
    assert_same_function(before, result.graph, {"x": X}, 0)


TWICE = [([1], [4], [0], [1]), ([1], [2], [0], [1])]


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (sliced(TWICE, extra=", float[] v0"), "the Slice before it has other readers"),
        (sliced([([-3], [4], [0], [1]), TWICE[1]], "float[N, 5]"),
         "the size of an axis that both cut is unknown"),
        (sliced([([0], [9], [0], [2]), TWICE[1]], "float[N, 5]"),
         "the size of an axis that both cut is unknown"),
        (model_of("g (float[5, 5] x, int64[1] s) => (float[] y) "
                  "{ v = Slice(x, s, e, a) y = Slice(v, a, e, a) }",
                  {"e": np.array([3]), "a": np.array([0])}),
         "bounds or sizes are not known"),
    ],
)  # fmt: skip
def test_leaves_alone(before, reason):
    result = run_pass(planish.load(before), PASS, verify="off")
    assert result.edits == 0
    assert reasons(result) == {reason}
