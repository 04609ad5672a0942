"""A Pad in every opset's spelling, against what ONNX Runtime makes of it."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.core.decline import DeclinedError
from planish.ir.ops.windows.pad import read_padding

from tests.helpers import graph_of, run_ort, view_of

X = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
WEIGHTS = {
    "pads": np.array([0, 1, 2, 0, 0, 0, 3, 4]),
    "crop": np.array([0, 0, -1, 0, 0, 0, 0, 2]),
    "some": np.array([1, 2, 3, -1]),
    "axes": np.array([3, -2]),
    "value": np.float32(2.5),
    "outside": np.array([4]),
    "pair": np.array([1, 1]),
}


def opened(body, opset, inputs="float[2, 3, 4, 5] x"):
    names = body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return graph_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => (float[] y) {{ {body} }}',
        {name: values for name, values in WEIGHTS.items() if name in names},
    )


def read(graph, **kwargs):
    return read_padding(graph.nodes[-1], view_of(graph), **kwargs)


SPELLINGS = [
    ("y = Pad <pads = [0, 1, 2, 0, 0, 0, 3, 4], value = 2.5> (x)", 2),
    ("y = Pad <pads = [0, 1, 2, 0, 0, 0, 3, 4]> (x)", 10),
    ("y = Pad (x, pads, value)", 11),
    ('y = Pad <mode = "constant"> (x, pads)', 13),
    ("y = Pad (x, crop)", 13),
    ("y = Pad (x, some, value, axes)", 18),
    ("y = Pad (x, some, , axes)", 21),
]


@pytest.mark.parametrize(("body", "opset"), SPELLINGS)
def test_begins_ends_and_value_are_those_of_the_runtime(body, opset):
    graph = opened(body, opset)
    found = read(graph)
    pads = list(zip(found.begins, found.ends, strict=True))
    added = np.pad(X, [(max(b, 0), max(e, 0)) for b, e in pads], constant_values=found.value)
    kept = tuple(
        slice(max(-b, 0), size - max(-e, 0)) for size, (b, e) in zip(added.shape, pads, strict=True)
    )
    assert np.array_equal(added[kept], run_ort(planish.to_model(graph), {"x": X})["y"])
    assert found.node is graph.nodes[0]
    assert found.crops == any(b < 0 or e < 0 for b, e in pads)
    assert found.is_spatial == (pads[:2] == [(0, 0), (0, 0)])
    assert found.spatial == (pads[2][0], pads[3][0], pads[2][1], pads[3][1])


def test_pads_before_batch_and_channels_alone():
    for place in (0, 1, 4, 5):
        pads = [0] * 8
        pads[place] = 1
        assert not read(opened(f"y = Pad <pads = {pads}> (x)", 10)).is_spatial
    assert read(opened("y = Pad <pads = [0, 0, 0, 0, 0, 0, 0, 0]> (x)", 10)).is_spatial
    assert not read(opened("y = Pad <pads = [0, 0]> (x)", 10, "float[0] x")).crops


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('y = Pad <mode = "reflect"> (x, pads)', "its mode is reflect"),
        ("n = Neg(pads) y = Pad (x, n)", "its pads are not constant"),
        ("n = Neg(value) y = Pad (x, pads, n)", "its value is not constant"),
        ("n = Neg(axes) y = Pad (x, some, , n)", "its axes are not constant"),
        ("y = Pad (x, pair, , outside)", "its axes lie outside"),
    ],
)
def test_what_is_not_read(body, reason):
    with pytest.raises(DeclinedError) as declined:
        read(opened(body, 18))
    assert str(declined.value) == reason


def test_axes_of_an_unknown_rank_are_not_read():
    graph = opened("y = Pad (x, some, , axes)", 18)
    graph.inputs[0].shape = None
    with pytest.raises(DeclinedError, match=r"^the rank of its input is unknown$"):
        read(graph)


def test_more_may_be_known_than_the_constants():
    graph = opened("n = Neg(pads) y = Pad (x, n)", 18)
    found = read(graph, values_of=lambda tensor: np.arange(8))
    assert (found.begins, found.ends, found.value) == ((0, 1, 2, 3), (4, 5, 6, 7), 0.0)


def test_text_is_no_value_to_pad_with():
    graph = graph_of(
        "g (string[2] x) => (string[] y) "
        '{ v = Constant <value_string = "a"> () y = Pad (x, pair, v) }',
        {"pair": WEIGHTS["pair"]},
    )
    with pytest.raises(DeclinedError, match=r"^its value is no number$"):
        read(graph, values_of=lambda tensor: getattr(tensor, "values", np.array("a", object)))
