"""What the clean-up passes look for: casts, quantize pairs, no-ops, branches, loops, leftovers."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper

from .network import Network, Step

_FLOAT = TensorProto.FLOAT


def _casts(net: Network) -> str:
    """Cast to a type that holds every float32, to one that does not, or through both."""
    x = net.tensor()
    y = x
    for _ in range(net.draw(st.integers(1, 3))):
        to = net.pick(TensorProto.DOUBLE, TensorProto.DOUBLE, TensorProto.FLOAT16)
        y = net.add_private("Cast", [y], to=to)
    return net.add("Cast", [y], net.shapes[x], to=_FLOAT)


def _quantize_pairs(net: Network) -> str:
    """Quantize and dequantize once or twice in a row, with the same parameters or other ones."""
    x = net.tensor()
    shape = net.shapes[x]
    per_axis = net.draw(st.booleans())
    size = (shape[1],) if per_axis else ()
    attrs = {"axis": 1} if per_axis else {}
    kind = net.pick(np.uint8, np.int8)
    for turn in range(net.draw(st.integers(1, 3))):
        if turn == 0 or net.draw(st.integers(0, 3)) == 0:
            scale = net.generator.uniform(0.01, 0.1, size).astype(np.float32)
            zero = net.generator.integers(0, 100, size).astype(kind)
        parameters = [net.weight(np.asarray(v)) for v in (scale, zero)]
        if turn == 0 or net.draw(st.booleans()):
            last = parameters
        q = net.add_private("QuantizeLinear", [x, *last], **attrs)
        x = net.add("DequantizeLinear", [q, *last], shape, **attrs)
    return x


def _no_op(net: Network) -> str:
    x = net.tensor()
    shape = net.shapes[x]
    rank = len(shape)
    near = net.draw(st.integers(0, 4)) == 0
    match net.pick("Resize", "Slice", "Tile", "Pool", "Range", "Reduce", "Where", "Neg", "Gather"):
        case "Resize":
            scales = net.weight(np.ones(rank, np.float32))
            return net.add("Resize", [x, "", scales], shape, mode=net.pick("nearest", "linear"))
        case "Slice":
            starts, ends = np.zeros(rank, np.int64), np.full(rank, 2**63 - 1)
            if near:
                starts[-1], shape = -1, (*shape[:-1], 1)
            inputs = [
                net.weight(v) for v in (starts, ends, np.arange(rank), np.ones(rank, np.int64))
            ]
            return net.add("Slice", [x, *inputs], shape)
        case "Tile":
            return net.add("Tile", [x, net.weight(np.ones(rank, np.int64))], shape)
        case "Pool":
            op = net.pick("AveragePool", "MaxPool")
            return net.add(op, [x], shape, kernel_shape=[1] * (rank - 2))
        case "Range":
            first = net.add(net.pick("Relu", "Sigmoid", "Tanh" if near else "Relu"), [x], shape)
            if net.draw(st.booleans()):
                return net.add("Relu", [first], shape)
            bounds = [net.weight(np.float32(v)) for v in (0, net.pick(1, np.inf, 6))]
            return net.add("Clip", [first, *bounds], shape)
        case "Reduce":
            shape = (shape[0], 1, *shape[2:])
            channel = net.weight(np.array([1]))
            mean = net.add("ReduceMean", [x, channel], shape)
            return net.add(net.pick("ReduceMax", "ReduceSum"), [mean, channel], shape)
        case "Where":
            condition = np.full((1, shape[1], *[1] * (rank - 2)), net.draw(st.booleans()))
            if near:
                condition.flat[0] = not condition.flat[0]
            operands = [x, net.weight(np.float32(0.5))]
            if not condition.flat[-1]:
                operands.reverse()
            return net.add("Where", [net.weight(condition), *operands], shape)
        case "Neg":
            return net.add("Neg", [net.add("Neg", [x], shape)], shape)
        case _:
            picked = np.arange(shape[1])
            if near:
                picked = picked[::-1].copy()
            name = net.add("Gather", [x, net.weight(picked)], shape, axis=1)
            net.integers.discard(name)
            return name


def _same_constant(net: Network) -> str:
    """Use a constant that other nodes may use too, as an initializer of its own."""
    x = net.tensor()
    channels, rank = net.shapes[x][1], len(net.shapes[x])
    values = np.linspace(0.5, 1.5, channels, dtype=np.float32).reshape(channels, *[1] * (rank - 2))
    return net.add(net.pick("Add", "Mul"), [x, net.weight(values)], net.shapes[x])


def _condition(net: Network, x: str) -> str:
    """Return a condition: constant, from a static size, or from the values of the input."""
    match net.pick("constant", "constant", "size", "values"):
        case "constant":
            return net.weight(np.array(net.draw(st.booleans())))
        case "size":
            shape = net.add_private("Shape", [x])
            size = net.add_private("Gather", [shape, net.weight(np.array(1))])
            return net.add_private("Greater", [size, net.weight(np.array(2))])
        case _:
            most = net.add_private("ReduceMax", [x], keepdims=0)
            return net.add_private("Greater", [most, net.weight(np.float32(0.5))])


def _body(nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[str],
          weights: list[TensorProto]) -> onnx.GraphProto:  # fmt: skip
    kinds = {"on": TensorProto.BOOL}
    infos = [helper.make_tensor_value_info(o, kinds.get(o, _FLOAT), None) for o in outputs]
    return helper.make_graph(nodes, "body", inputs, infos, weights)


def _branch(net: Network, x: str) -> str:
    """Run one of two branches with equal inner names, a constant each, sometimes nested."""
    shape = net.shapes[x]
    branches = {}
    for name, op in (("then_branch", "Sigmoid"), ("else_branch", "Tanh")):
        weight = onnx.numpy_helper.from_array(net.normal(1, shape[1], *[1] * (len(shape) - 2)), "k")
        nodes = [
            helper.make_node("Mul", [x, "k"], ["m"]),
            helper.make_node(op, ["m"], ["out"]),
        ]
        branches[name] = _body(nodes, [], ["out"], [weight])
    if net.draw(st.booleans()):
        inner = helper.make_node("If", [_condition(net, x)], ["nested"], **branches)
        outer = _body([inner, helper.make_node("Neg", ["nested"], ["out2"])], [], ["out2"], [])
        branches["then_branch"] = outer
    return net.add("If", [_condition(net, x)], shape, **branches)


def _if(net: Network) -> str:
    return _branch(net, net.tensor())


def _loop(net: Network) -> str:
    """Iterate a few times, a fixed number or as often as the batch is large."""
    x = net.tensor()
    shape = net.shapes[x]
    if net.draw(st.integers(0, 3)):
        count = net.weight(np.array(net.draw(st.integers(0, 3))))
    else:
        size = net.add_private("Shape", [x])
        count = net.add_private("Gather", [size, net.weight(np.array(0))])
    inputs = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("s", _FLOAT, None),
    ]
    nodes = [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("CastLike", ["i", "s"], ["f"]),
        helper.make_node("Sub", ["s", "f"], ["d"]),
        helper.make_node("Add", ["d", x], ["a"]),
        helper.make_node("Tanh", ["a"], ["r"]),
    ]
    condition = net.weight(np.array(True)) if net.draw(st.booleans()) else ""
    return net.add("Loop", [count, condition, x], shape, body=_body(nodes, inputs, ["on", "r"], []))


def _unused_inputs(net: Network) -> str:
    x = net.tensor()
    shape = net.shapes[x]
    match net.pick("Clip", "Pad", "Dropout"):
        case "Clip":
            largest = float(np.finfo(np.float32).max)
            low = net.pick(-largest, -np.inf, -0.5)
            bounds = [net.weight(np.float32(v)) for v in (low, largest)]
            return net.add("Clip", [x, *bounds], shape)
        case "Pad":
            pads = np.zeros(2 * len(shape), np.int64)
            pads[-1] = 1
            inputs = [net.weight(pads), net.weight(np.float32(net.pick(0, 0, 1)))]
            return net.add("Pad", [x, *inputs], (*shape[:-1], shape[-1] + 1))
        case _:
            inputs = [net.weight(np.float32(0.3)), net.weight(np.array(False))]
            return net.add("Dropout", [x, *inputs], shape)


STEPS: tuple[Step, ...] = (
    _casts,
    _quantize_pairs,
    _no_op,
    _no_op,
    _same_constant,
    _same_constant,
    _if,
    _loop,
    _unused_inputs,
)
