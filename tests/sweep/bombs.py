"""Small files that ask for much: each is refused or left as it is, in bounded time and memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_HUGE = 1 << 40


def _model(nodes, inputs=None, outputs=None, constants=(), functions=(), **more) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "bomb",
        inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        outputs or [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in dict(constants).items()],
    )
    imports = [helper.make_opsetid("", 17), *([helper.make_opsetid("f", 1)] if functions else [])]
    return helper.make_model(
        graph, opset_imports=imports, ir_version=8, functions=list(functions), **more
    )


def _unfolding(op: str, constants: dict[str, object], inputs: list[str], **attributes: object):
    """Return a model whose node of constants alone has 2^40 elements, of which one is added."""
    nodes = [
        helper.make_node(op, inputs, ["big"], **attributes),
        helper.make_node("ReduceMax", ["big"], ["one"], keepdims=0),
        helper.make_node("Add", ["x", "one"], ["y"]),
    ]
    return _model(nodes, constants=constants)


def _loop(trips: int, *, condition: bool = True) -> onnx.ModelProto:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["c2"]),
            helper.make_node("Add", ["v", "v"], ["w"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [1]),
        ],
    )
    given = {"n": np.array(trips), "yes": np.array(True), "one": np.ones(1, np.float32)}
    loop = helper.make_node("Loop", ["n", "yes", "one"], ["last"], body=body)
    return _model([loop, helper.make_node("Add", ["x", "last"], ["y"])], constants=given)


def _nested(depth: int) -> onnx.ModelProto:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["r0"])],
        "g0",
        [],
        [helper.make_tensor_value_info("r0", TensorProto.FLOAT, None)],
    )
    for level in range(1, depth):
        node = helper.make_node(
            "If", ["c"], [f"r{level}"], then_branch=inner, else_branch=_leaf(level)
        )
        result = helper.make_tensor_value_info(f"r{level}", TensorProto.FLOAT, None)
        inner = helper.make_graph([node], f"g{level}", [], [result])
    last = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=_leaf(depth))
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    return _model([last], inputs)


def _leaf(level: int) -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node("Identity", ["x"], [f"e{level}"])],
        f"l{level}",
        [],
        [helper.make_tensor_value_info(f"e{level}", TensorProto.FLOAT, None)],
    )


def _function(name: str, calls: list[str], twice: int = 1) -> onnx.FunctionProto:
    nodes, last = [], "a"
    for place, callee in enumerate(calls * twice):
        domain = "" if callee == "Relu" else "f"
        nodes.append(helper.make_node(callee, [last], [f"t{place}"], domain=domain))
        last = f"t{place}"
    nodes.append(helper.make_node("Identity", [last], ["b"]))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    return helper.make_function("f", name, ["a"], ["b"], nodes, imports)


def _doubling(levels: int) -> onnx.ModelProto:
    """Return a call whose body, written out, has 2^levels nodes (the billion laughs)."""
    functions = [_function("F0", ["Relu"])]
    functions += [_function(f"F{i}", [f"F{i - 1}"], twice=2) for i in range(1, levels)]
    call = helper.make_node(f"F{levels - 1}", ["x"], ["y"], domain="f")
    return _model([call], functions=functions)


def _recursive() -> onnx.ModelProto:
    call = helper.make_node("F", ["x"], ["y"], domain="f")
    return _model([call], functions=[_function("F", ["G"]), _function("G", ["F"])])


BOMBS: dict[str, Callable[[], onnx.ModelProto]] = {
    "ConstantOfShape": lambda: _unfolding(
        "ConstantOfShape", {"s": np.array([1 << 20, 1 << 20])}, ["s"]
    ),
    "Range": lambda: _unfolding(
        "Range",
        {"a": np.float32(0), "b": np.float32(1e12), "d": np.float32(1)},
        ["a", "b", "d"],
    ),
    "Tile": lambda: _unfolding(
        "Tile", {"v": np.ones((2, 2), np.float32), "r": np.array([1 << 20, 1 << 20])}, ["v", "r"]
    ),
    "Expand": lambda: _unfolding(
        "Expand", {"v": np.ones((1, 1), np.float32), "s": np.array([1 << 20, 1 << 20])}, ["v", "s"]
    ),
    "Pad": lambda: _unfolding(
        "Pad",
        {"v": np.ones((1, 1), np.float32), "p": np.array([0, 0, 1 << 20, 1 << 20])},
        ["v", "p"],
    ),
    "Resize": lambda: _unfolding(
        "Resize",
        {"v": np.ones((1, 1, 2, 2), np.float32), "s": np.array([1, 1, 1 << 20, 1 << 20])},
        ["v", "", "", "s"],
    ),
    "OneHot": lambda: _unfolding(
        "OneHot",
        {"i": np.arange(1 << 10), "d": np.array(1 << 30), "v": np.array([0, 1], np.float32)},
        ["i", "d", "v"],
    ),
    "a size that overflows": lambda: _unfolding(
        "ConstantOfShape", {"s": np.array([1 << 32, 1 << 32])}, ["s"]
    ),
    "a negative size": lambda: _unfolding("ConstantOfShape", {"s": np.array([-5])}, ["s"]),
    "a loop of 2^40": lambda: _loop(_HUGE),
    "a loop without end": lambda: _loop(np.iinfo(np.int64).max),
    "bodies 30 deep": lambda: _nested(30),  # protobuf reads no more than 100 messages deep
    "functions that double": lambda: _doubling(40),
    "functions that recur": _recursive,
}
