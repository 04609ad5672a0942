"""Random networks of products in If and Loop bodies, nested, which read what any scope around has.

Sibling bodies may call theirs alike, and a node may be called like a tensor of another body.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.helpers import Array

WIDTH = 6
_PLAIN = ["MatMul", "MatMul", "Relu", "Add", "Reshape"]


def nested_model(seed: int, depth: int = 2) -> onnx.ModelProto:
    """Return a network of inputs x, z [N, 6], conditions c1, c2 and a number n of steps."""
    drawing = _Drawing(seed)
    nodes, made = drawing.block(["x", "z"], depth, "")
    rows = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", WIDTH])
            for name in ("x", "z", made[-1])]  # fmt: skip
    flags = [helper.make_tensor_value_info(c, onnx.TensorProto.BOOL, []) for c in ("c1", "c2")]
    steps = helper.make_tensor_value_info("n", onnx.TensorProto.INT64, [])
    drawing.weights |= {"shape": np.array([-1, WIDTH]), "yes": np.array(True)}
    drawing.weights["half"] = np.array(0.5, np.float32)
    held = [numpy_helper.from_array(values, name) for name, values in drawing.weights.items()]
    graph = helper.make_graph(nodes, "g", [*rows[:2], *flags, steps], rows[2:], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def nested_feeds(seed: int) -> list[dict[str, Array]]:
    """Return feeds that take all branches of the top, and 0 to 3 steps."""
    generator = np.random.default_rng(seed)
    return [
        {
            "x": generator.standard_normal((3, WIDTH)).astype(np.float32),
            "z": generator.standard_normal((3, WIDTH)).astype(np.float32),
            "c1": np.array(bool(index & 1)),
            "c2": np.array(bool(index & 2)),
            "n": np.array(steps),
        }
        for index, steps in enumerate((2, 0, 1, 3))
    ]


class _Drawing:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.weights: dict[str, Array] = {}
        self._count = 0

    def block(
        self, around: list[str], depth: int, prefix: str
    ) -> tuple[list[onnx.NodeProto], list[str]]:
        """Return nodes that read each other and what is `around`, and what they give."""
        nodes: list[onnx.NodeProto] = []
        made: list[str] = []
        for index in range(int(self.random.integers(2, 5))):
            op = str(self.random.choice([*_PLAIN, *(["If", "Loop"] if depth else [])]))
            result = f"{prefix}{index}" if prefix else self._fresh("t")
            nodes.append(getattr(self, f"_{op.lower()}")([*around, *made], result, depth))
            made.append(result)
        return nodes, made

    def _fresh(self, name: str) -> str:
        self._count += 1
        return f"{name}{self._count}"

    def _one(self, names: list[str]) -> str:
        return str(self.random.choice(names))

    def _matmul(self, known: list[str], result: str, depth: int) -> onnx.NodeProto:
        weight = self._fresh("w")
        values = self.random.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)
        self.weights[weight] = values.astype(np.float32)
        name = result if self.random.random() < 0.5 else ""
        return helper.make_node("MatMul", [self._one(known), weight], [result], name=name)

    def _relu(self, known: list[str], result: str, depth: int) -> onnx.NodeProto:
        return helper.make_node("Relu", [self._one(known)], [result])

    def _add(self, known: list[str], result: str, depth: int) -> onnx.NodeProto:
        return helper.make_node("Add", [self._one(known), self._one(known)], [result])

    def _reshape(self, known: list[str], result: str, depth: int) -> onnx.NodeProto:
        return helper.make_node("Reshape", [self._one(known), "shape"], [result])

    def _if(self, known: list[str], result: str, depth: int) -> onnx.NodeProto:
        bodies = {}
        for branch in ("then_branch", "else_branch"):
            alike = self.random.random() < 0.5
            prefix = f"{result}b" if alike else self._fresh("p") + "_"
            nodes, made = self.block(known, depth - 1, prefix)
            shown = helper.make_tensor_value_info(self._one(made), onnx.TensorProto.FLOAT, None)
            bodies[branch] = helper.make_graph(nodes, branch, [], [shown])
        return helper.make_node("If", [self._one(["c1", "c2"])], [result], **bodies)

    def _loop(self, known: list[str], result: str, depth: int) -> onnx.NodeProto:
        own = f"{result}l"
        state, rows = f"{own}s", ["N", WIDTH]
        nodes, made = self.block([*known, state], depth - 1, f"{own}x")
        nodes += [
            helper.make_node("Identity", [f"{own}c"], [f"{own}d"]),
            helper.make_node("Identity", [self._one(made)], [f"{own}o"]),
            helper.make_node("Mul", [made[-1], "half"], [f"{own}r"]),
        ]
        kinds = (onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT)
        given = zip((f"{own}i", f"{own}c", state), kinds, ([], [], rows), strict=True)
        shown = zip((f"{own}d", f"{own}r", f"{own}o"), kinds[1:2] + kinds[2:] * 2,
                    ([], rows, rows), strict=True)  # fmt: skip
        body = helper.make_graph(
            nodes,
            "body",
            [helper.make_tensor_value_info(*each) for each in given],
            [helper.make_tensor_value_info(*each) for each in shown],
        )
        inputs = ["n", self._one(["yes", ""]), self._one(known)]
        return helper.make_node("Loop", inputs, [result, f"{result}_o"], body=body)
