"""A Keras EfficientNet, as tf2onnx writes it, ends with its images transposed once at the input."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, run_pass


class _Channels:
    """Nodes in the order of tf2onnx: channels last, with two Transposes around each layer."""

    def __init__(self) -> None:
        self.body: list[str] = []
        self.weights = {"hw": np.array([1, 2]), "flat": np.array([-1, 1, 1, 8])}
        self._generator = np.random.default_rng(0)

    def add(self, text: str) -> str:
        name = f"t{len(self.body)}"
        self.body.append(f"{name} = {text}")
        return name

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        scale = np.prod(shape[1:]) ** -0.5
        self.weights[name] = (self._generator.standard_normal(shape) * scale).astype(np.float32)
        return name

    def swish(self, x: str) -> str:
        return self.add(f"Mul({x}, {self.add(f'Sigmoid({x})')})")

    def conv(self, x: str, weight: str, bias: str = "", attrs: str = "") -> str:
        image = self.add(f"Transpose <perm = [0, 3, 1, 2]> ({x})")
        inputs = f"{image}, {weight}, {bias}" if bias else f"{image}, {weight}"
        result = self.add(f"Conv {attrs} ({inputs})")
        return self.add(f"Transpose <perm = [0, 2, 3, 1]> ({result})")

    def normed(self, x: str, channels: int) -> str:
        return self.add(f"Add({self.add(f'Mul({x}, {self.weight(channels)})')}, "
                        f"{self.weight(channels)})")  # fmt: skip

    def block(self, x: str) -> str:
        """Expand 4 to 8, depthwise, squeeze and excite, project, and the shortcut."""
        wide = self.swish(self.normed(self.conv(x, self.weight(8, 4, 1, 1)), 8))
        same = '<auto_pad = "SAME_UPPER", group = 8>'
        deep = self.normed(self.conv(wide, self.weight(8, 1, 3, 3), attrs=same), 8)
        deep = self.swish(deep)
        mean = self.add(f"ReduceMean <keepdims = 0, axes = [1, 2]> ({deep})")
        squeezed = self.add(f"Reshape({mean}, flat)")
        small = self.swish(self.conv(squeezed, self.weight(2, 8, 1, 1), self.weight(2)))
        gate = self.add(f"Sigmoid({self.conv(small, self.weight(8, 2, 1, 1), self.weight(8))})")
        deep = self.add(f"Mul({deep}, {gate})")
        narrow = self.normed(self.conv(deep, self.weight(4, 8, 1, 1)), 4)
        return self.add(f"Add({narrow}, {x})")


def efficientnet(batch: str):
    net = _Channels()
    stem = net.conv(
        "x", net.weight(4, 3, 3, 3), attrs='<auto_pad = "SAME_UPPER", strides = [2, 2]>'
    )
    value = net.swish(net.normed(stem, 4))
    for _ in range(2):
        value = net.block(value)
    pooled = net.add(f"ReduceMean <keepdims = 0, axes = [1, 2]> ({value})")
    product = net.add(f"MatMul({pooled}, {net.weight(4, 5)})")
    head = net.add(f"Add({product}, {net.weight(5)})")
    net.body.append(f"y = Softmax <axis = -1> ({head})")
    return model_of(
        '<ir_version: 8, opset_import: ["" : 17]>\n'
        f"g (float[{batch}, 16, 16, 3] x) => (float[] y) {{ {' '.join(net.body)} }}",
        net.weights,
    )


@pytest.mark.parametrize("batch", ["unk__1", "2"])
def test_one_transpose_is_left_at_the_input(batch):
    model = efficientnet(batch)
    result = run_pass(planish.load(model), "exact")
    left = [node for node in result.graph.nodes if node.op == "Transpose"]
    assert [node.inputs[0].name for node in left] == ["x"]
    assert ops(planish.load(planish.to_model(result.graph, portable=True))).count("Mul") == 9
    x = np.random.default_rng(1).standard_normal((2, 16, 16, 3)).astype(np.float32)
    assert_same_function(model, result.graph, {"x": x})
    assert planish.Pipeline.parse("exact").run(result.graph, verify="off").edits == 0
