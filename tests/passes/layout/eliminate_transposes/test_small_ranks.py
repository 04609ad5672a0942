"""Tensors of no axis, one and two at the border of a layout region, however `perm` is spelled."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

import planish

from tests.helpers import assert_same_function, run_ort

SIZES = {0: (), 1: (3,), 2: (2, 3)}
PERMS = ("absent", "empty", "stated")
# What stands between two Transposes: nodes from a to b, and whether they need an axis.
BETWEEN = {
    "nothing": ([], 0),
    "Relu": ([("Relu", ["a"], {})], 0),
    "Add of a number": ([("Add", ["a", "number"], {})], 0),
    "Add of one element": ([("Add", ["one", "a"], {})], 0),
    "Add of a tensor": ([("Mul", ["a", "a"], {})], 0),
    "Where": ([("Greater", ["a", "number"], {}), ("Where", ["t0", "a", "number"], {})], 0),
    "Sum": ([("Sum", ["a", "number", "a"], {})], 0),
    "Clip": ([("Clip", ["a", "number"], {})], 0),
    "Cast": ([("Cast", ["a"], {"to": 11}), ("Cast", ["t0"], {"to": 1})], 0),
    "ReduceMax": ([("ReduceMax", ["a"], {})], 0),
    "ReduceMean without axes": ([("ReduceMean", ["a"], {"keepdims": 0})], 0),
    "ReduceSum of no axes": ([("ReduceSum", ["a", "none"], {"noop_with_empty_axes": 1})], 0),
    "Expand": ([("Expand", ["a", "none"], {})], 0),
    "Expand by one": ([("Expand", ["a", "ones"], {})], 0),
    "Reshape to a list": ([("Reshape", ["a", "minus"], {})], 0),
    "Unsqueeze and Squeeze": (
        [("Unsqueeze", ["a", "zero"], {}), ("Squeeze", ["t0", "zero"], {})], 0),
    "Squeeze": ([("Unsqueeze", ["a", "zero"], {}), ("Squeeze", ["t0"], {})], 0),
    "Shape": ([("Shape", ["a"], {}), ("Cast", ["t0"], {"to": 1})], 0),
    "Concat": ([("Concat", ["a", "a"], {"axis": -1})], 1),
    "Softmax": ([("Softmax", ["a"], {})], 1),
    "Gather": ([("Gather", ["a", "zero"], {"axis": 0})], 1),
    "Gather of a number": ([("Gather", ["a", "index"], {"axis": -1})], 1),
    "Slice": ([("Slice", ["a", "zero", "ones", "zero"], {})], 1),
    "Flatten": ([("Flatten", ["a"], {})], 1),
    "Split": ([("Split", ["a"], {"axis": -1, "num_outputs": 1})], 1),
    "ArgMax": ([("ArgMax", ["a"], {"keepdims": 0}), ("Cast", ["t0"], {"to": 1})], 1),
    "TopK": ([("TopK", ["a", "ones"], {})], 1),
    "CumSum": ([("CumSum", ["a", "index"], {})], 1),
    "MatMul": ([("MatMul", ["a", "a"], {})], 1),
    "Pad": ([("Pad", ["a", "pads"], {})], 1),
    "Tile": ([("Tile", ["a", "tiles"], {})], 1),
    "Trilu": ([("Trilu", ["a"], {})], 2),
    "Gemm": ([("Gemm", ["a", "a"], {"transB": 1})], 2),
    "Transpose": ([("Transpose", ["a"], {})], 0),
}  # fmt: skip


def transpose(source: str, result: str, rank: int, perm: str) -> onnx.NodeProto:
    node = helper.make_node("Transpose", [source], [result])
    if perm == "empty" or (perm == "stated" and rank == 0):
        node.attribute.add(name="perm", type=AttributeProto.INTS)
    elif perm == "stated":
        node.attribute.append(helper.make_attribute("perm", list(range(rank))[::-1]))
    return node


def model(rank: int, name: str, perms: tuple[str, str], size: tuple[int, ...]) -> onnx.ModelProto:
    steps, _ = BETWEEN[name]
    nodes = [helper.make_node("Neg", ["x"], ["n"]), transpose("n", "a", rank, perms[0])]
    last = "a"
    for number, (op, inputs, attrs) in enumerate(steps):
        last = f"t{number}"
        outputs = [last, "rest"] if op == "TopK" else [last]
        nodes.append(helper.make_node(op, inputs, outputs, **attrs))
    nodes += [
        helper.make_node("Identity", [last], ["i"]),
        # Of the rank behind nothing is known here: only a perm that is left out suits all.
        transpose("i", "b", rank, perms[1]) if not steps else transpose("i", "b", rank, "absent"),
        helper.make_node("Tanh", ["b"], ["y"]),
    ]
    held = {
        "number": np.float32(-0.25), "one": np.full(1, 0.5, np.float32),
        "none": np.zeros(0, np.int64), "ones": np.ones(1, np.int64), "zero": np.zeros(1, np.int64),
        "minus": np.array([-1]), "index": np.array(0), "pads": np.array([1] * 2 * rank),
        "tiles": np.array([2] * rank, np.int64),
    }  # fmt: skip
    used = {tensor for node in nodes for tensor in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in held.items() if k in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _cases():
    """Sizes that differ; squares, single elements and none as well where nothing is between."""
    for name, (_, least) in BETWEEN.items():
        for rank in range(least, 3):
            usual = {(2,) * rank if name == "MatMul" else SIZES[rank]}
            others = {SIZES[rank], (2,) * rank, (1,) * rank, (0,) * rank} - usual
            yield pytest.param(rank, name, usual, id=f"{name}-{rank}")
            if others:
                marks = () if name == "nothing" else pytest.mark.slow
                yield pytest.param(rank, name, others, id=f"{name}-{rank}-others", marks=marks)


@pytest.mark.parametrize(("rank", "name", "sizes"), _cases())
def test_small_ranks(rank, name, sizes):
    ran = 0
    for size, *perms in itertools.product(sorted(sizes), PERMS, PERMS):
        usual = size == SIZES[rank] or perms[0] == "absent"
        if not usual or (name != "nothing" and perms[1] != "absent"):
            continue
        before = model(rank, name, tuple(perms), size)
        feeds = {"x": np.random.default_rng(1).standard_normal(size).astype(np.float32)}
        try:
            run_ort(before, feeds)
        except Exception:
            continue  # the runtime refuses it
        ran += 1
        exact = planish.Pipeline.parse("exact")
        result = exact.run(planish.load(before), verify="off")
        assert_same_function(before, result.graph, feeds, 1e-6)
        again = exact.run(result.graph, verify="off")
        assert again.edits == 0
    assert ran
