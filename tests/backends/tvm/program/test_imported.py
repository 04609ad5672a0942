"""Which nodes TVM's own converters are trusted with, where that hangs on the opset."""

from __future__ import annotations

import onnx
import pytest

from planish.backends.tvm.program.imported import is_right

from tests.helpers import graph_of, view_of


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(
    ("opset", "attributes", "shape", "expected"),
    [
        (12, "", "2, n, 6", False),  # all axes from the second on are one
        (13, "", "2, n, 6", True),  # the last
        (12, "<axis = 1>", "2, 5, n", False),
        (13, "<axis = 1>", "2, 5, n", True),
        (12, "<axis = -1>", "2, n, 6", True),
        (12, "", "n, 5, 6", True),
        (13, "", "2, 5, n", False),
    ],
)
def test_all_axes_of_a_softmax_are_known(op, opset, attributes, shape, expected) -> None:
    assert _is_right(f"{op} {attributes} (x)", opset, shape) is expected


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("opset", [11, 13])
def test_the_axis_of_a_search_is_the_first_by_default(op, opset) -> None:
    assert _is_right(f"{op} (x)", opset, "2, n")
    assert not _is_right(f"{op} (x)", opset, "n, 2")
    assert _is_right(f"{op} <axis = -1> (x)", opset, "n, 2")


@pytest.mark.parametrize(
    ("to", "expected"),
    [("BOOL", True), ("INT64", True), ("FLOAT16", True), ("BFLOAT16", True),
     ("FLOAT8E4M3FN", False), ("FLOAT8E5M2", False)],
)  # fmt: skip
def test_what_is_rounded_to_eight_bits_is_no_cast_of_tvm(to, expected) -> None:
    graph = graph_of(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[2] x) => (float[2] y) '
        f"{{ k = Cast <to = {getattr(onnx.TensorProto, to)}> (x) y = Cast <to = 1> (k) }}"
    )
    assert [is_right(node, view_of(graph)) for node in graph.nodes] == [expected] * 2


def _is_right(call: str, opset: int, shape: str) -> bool:
    graph = graph_of(
        f'<ir_version: 7, opset_import: ["" : {opset}]> '
        f"g (float[{shape}] x) => ({'int64' if 'Arg' in call else 'float'}[] y) {{ y = {call} }}"
    )
    return is_right(graph.nodes[0], view_of(graph))
