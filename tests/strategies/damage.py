"""What can be wrong with a model's file: one field emptied, renamed, repeated or out of range."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import onnx
from onnx import AttributeProto, GraphProto, helper

Damage = Callable[[onnx.ModelProto, Random], None]


def _node(model: onnx.ModelProto, rng: Random) -> onnx.NodeProto:
    return rng.choice(model.graph.node)


def _no_graph(model: onnx.ModelProto, rng: Random) -> None:
    model.ClearField("graph")


def _ir_version(model: onnx.ModelProto, rng: Random) -> None:
    model.ir_version = rng.choice([0, 1, 2, 99])


def _no_opset(model: onnx.ModelProto, rng: Random) -> None:
    del model.opset_import[:]


def _opset(model: onnx.ModelProto, rng: Random) -> None:
    model.opset_import[0].version = rng.choice([0, 1, 6, 7, 30, 999])


def _operator(model: onnx.ModelProto, rng: Random) -> None:
    known = ["Conv", "If", "Loop", "Split", "Transpose", "Reshape", "Gather", "Gemm", "Pad"]
    _node(model, rng).op_type = rng.choice(["", "Foo", *known, "BatchNormalization", "Resize"])


def _domain(model: onnx.ModelProto, rng: Random) -> None:
    _node(model, rng).domain = rng.choice(["custom", "ai.onnx", "planish", "com.microsoft"])


def _input_gone(model: onnx.ModelProto, rng: Random) -> None:
    node = _node(model, rng)
    del node.input[rng.randint(0, len(node.input)) :]


def _input_renamed(model: onnx.ModelProto, rng: Random) -> None:
    node = _node(model, rng)
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(["", "ghost"])


def _input_more(model: onnx.ModelProto, rng: Random) -> None:
    _node(model, rng).input.append(rng.choice(["", model.graph.input[0].name]))


def _output_renamed(model: onnx.ModelProto, rng: Random) -> None:
    node = _node(model, rng)
    if node.output:
        node.output[0] = rng.choice(["", model.graph.input[0].name, model.graph.output[0].name])


def _output_gone(model: onnx.ModelProto, rng: Random) -> None:
    del _node(model, rng).output[:]


def _cycle(model: onnx.ModelProto, rng: Random) -> None:
    node = _node(model, rng)
    if node.input and node.output:
        node.input[0] = node.output[0]


def _node_twice(model: onnx.ModelProto, rng: Random) -> None:
    model.graph.node.append(_node(model, rng))


def _attributes(model: onnx.ModelProto, rng: Random) -> list[AttributeProto]:
    found = [a for node in model.graph.node for a in node.attribute]
    return [rng.choice(found)] if found else []


def _attribute_gone(model: onnx.ModelProto, rng: Random) -> None:
    found = [node for node in model.graph.node if node.attribute]
    if found:
        node = rng.choice(found)
        del node.attribute[rng.randrange(len(node.attribute))]


def _attribute_other(model: onnx.ModelProto, rng: Random) -> None:
    for attribute in _attributes(model, rng):
        made = rng.choice(
            [
                helper.make_attribute(attribute.name, float("nan")),
                helper.make_attribute(attribute.name, b"\xff\xfe"),
                helper.make_attribute(attribute.name, -(2**63)),
                helper.make_attribute(attribute.name, [5, -9, 10**12]),
                AttributeProto(name=attribute.name, type=AttributeProto.INTS),
                AttributeProto(name=attribute.name),
                AttributeProto(name=attribute.name, ref_attr_name="nope"),
            ]
        )
        attribute.CopyFrom(made)


def _weight_renamed(model: onnx.ModelProto, rng: Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    tensor.name = rng.choice(["", model.graph.node[0].output[0], model.graph.input[0].name])


def _weight_sizes(model: onnx.ModelProto, rng: Random) -> None:
    tensor = rng.choice([t for t in model.graph.initializer if t.dims])
    tensor.dims[0] = rng.choice([-1, 0, 7, 2**40])


def _weight_type(model: onnx.ModelProto, rng: Random) -> None:
    rng.choice(model.graph.initializer).data_type = rng.choice([0, 99, 8, 14, 16, 17, 22])


def _weight_twice(model: onnx.ModelProto, rng: Random) -> None:
    model.graph.initializer.append(rng.choice(model.graph.initializer))


def _weight_outside(model: onnx.ModelProto, rng: Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value=rng.choice(["gone", "", "/etc/passwd", "../x"]))
    tensor.external_data.add(key="offset", value=rng.choice(["-1", "abc", "99999"]))


def _weight_bytes(model: onnx.ModelProto, rng: Random) -> None:
    rng.choice(model.graph.initializer).raw_data = b"abc"


def _end(model: onnx.ModelProto, rng: Random) -> onnx.ValueInfoProto:
    return rng.choice([*model.graph.input, *model.graph.output])


def _end_renamed(model: onnx.ModelProto, rng: Random) -> None:
    _end(model, rng).name = rng.choice(["", "ghost"])


def _end_untyped(model: onnx.ModelProto, rng: Random) -> None:
    _end(model, rng).ClearField("type")


def _end_type(model: onnx.ModelProto, rng: Random) -> None:
    _end(model, rng).type.tensor_type.elem_type = rng.choice([0, 8, 9, 16, 14, 77, 7, 1])


def _end_size(model: onnx.ModelProto, rng: Random) -> None:
    shape = _end(model, rng).type.tensor_type.shape
    size = rng.choice([-1, 0, 2**31, 2**40, 2**62])
    (shape.dim[0] if shape.dim else shape.dim.add()).dim_value = size


def _end_sequence(model: onnx.ModelProto, rng: Random) -> None:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [2]))
    _end(model, rng).type.CopyFrom(kind)


def _end_twice(model: onnx.ModelProto, rng: Random) -> None:
    ends = rng.choice([model.graph.input, model.graph.output])
    ends.append(ends[0])


def _no_outputs(model: onnx.ModelProto, rng: Random) -> None:
    del model.graph.output[:]


def _bodies(model: onnx.ModelProto) -> list[GraphProto]:
    attributes = (a for node in model.graph.node for a in node.attribute)
    return [a.g for a in attributes if a.type == AttributeProto.GRAPH]


def _body(model: onnx.ModelProto, rng: Random) -> None:
    for body in _bodies(model)[:1]:
        match rng.randrange(6):
            case 0:
                del body.output[:]
            case 1:
                body.output[0].name = rng.choice(["", "ghost"])
            case 2:
                del body.node[:]
            case 3:
                body.input.append(helper.make_tensor_value_info("extra", 1, None))
            case 4:
                body.output.append(body.output[0])
            case _:
                body.Clear()


def _function(model: onnx.ModelProto, rng: Random) -> None:
    for function in model.functions[:1]:
        match rng.randrange(6):
            case 0:
                function.node.append(
                    helper.make_node(function.name, ["X"], ["again"], domain=function.domain)
                )
            case 1:
                del function.opset_import[:]
            case 2:
                model.functions.append(function)
            case 3:
                function.output[0] = "ghost"
            case 4:
                function.input.append("more")
            case _:
                del model.functions[:]


# Each by a name to read in a failure.
DAMAGES: dict[str, Damage] = {
    name[1:].replace("_", " "): made
    for name, made in list(globals().items())
    if name.startswith("_") and getattr(made, "__annotations__", {}).get("return") == "None"
}
