"""Models as text, in the syntax of ONNX that `onnx.parser` reads.

    g (float[N, 2] x) => (float[N, 2] y)
    <
       float[2] s = {2, 0.5}
    >
    {
       y = Mul (x, s)
    }

Weights are written out, so this is for small models: examples, tests, what a pass did. Sources:
onnx/docs/Syntax.md; two things it cannot say are written all the same, as values that people read:
weights of 16-bit floats, for which it takes bit patterns, and of 4-bit integers, which it cannot
hold.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ..core.errors import GraphError, LoadError

_INDENT = "   "
_WIDTH = 100
_IR_VERSION, _OPSET = 10, 21
_HEADER = f'<ir_version: {_IR_VERSION}, opset_import: ["" : {_OPSET}]>'
# The elements of a weight beyond which it is no example.
_MOST = 4096
_Attribute = onnx.AttributeProto


def model_from_text(text: str) -> onnx.ModelProto:
    """Return the model of `text`; without a `<...>` header, one of IR version 10 and opset 21.

    Raises LoadError with the parser's own message where the text is wrong.
    """
    whole = text if text.lstrip().startswith("<") else f"{_HEADER}\n{text}"
    try:
        return onnx.parser.parse_model(whole)
    except onnx.parser.ParseError as error:
        raise LoadError(f"the text is no model; correct it: {error}") from error


def model_to_text(model: onnx.ModelProto, digits: int | None = None) -> str:
    """Write a model as text; the header is left out where it is what `model_from_text` adds.

    `digits`: significant digits of floating-point numbers; None: as many as tell them apart.
    Documentation strings, metadata and types of inner values are not written. Raises GraphError
    where a weight has over 4096 elements.
    """
    writer = _Writer(digits)
    header = _header(model)
    parts = [] if header == _HEADER else [header]
    parts.append("\n".join(writer.graph(model.graph)))
    parts.extend("\n".join(writer.function(function)) for function in model.functions)
    return "\n".join(parts) + "\n"


class _Writer:
    def __init__(self, digits: int | None) -> None:
        self._digits = digits

    def graph(self, graph: onnx.GraphProto) -> Iterator[str]:
        inputs, outputs = (
            ", ".join(map(_show_value, values)) for values in (graph.input, graph.output)
        )
        yield f"{_name(graph.name)} ({inputs}) => ({outputs})"
        if graph.initializer:
            yield "<"
            yield from self._weights(graph.initializer)
            yield ">"
        yield from self._body(graph.node)

    def function(self, function: onnx.FunctionProto) -> Iterator[str]:
        opsets = _opsets(function.opset_import)
        yield f'<domain: "{function.domain}", opset_import: {opsets}>'
        attributes = f" <{', '.join(function.attribute)}>" if function.attribute else ""
        ports = [", ".join(map(_name, names)) for names in (function.input, function.output)]
        yield f"{_name(function.name)}{attributes} ({ports[0]}) => ({ports[1]})"
        yield from self._body(function.node)

    def _weights(self, weights: Sequence[onnx.TensorProto]) -> Iterator[str]:
        for index, weight in enumerate(weights):
            comma = "," if index < len(weights) - 1 else ""
            text = f"{_show_type(weight)} {_name(weight.name)} = {self._values(weight)}{comma}"
            yield from _folded(text)

    def _body(self, nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
        yield "{"
        for node in nodes:
            for line in self._node(node).splitlines():
                yield from _folded(line)
        yield "}"

    def _node(self, node: onnx.NodeProto) -> str:
        name = f"[{_name(node.name)}] " if node.name else ""
        outputs = ", ".join(map(_name, node.output))
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        attributes = ", ".join(map(self._attribute, node.attribute))
        between = f" <{attributes}>" if attributes else ""
        return f"{name}{outputs} = {operator}{between} ({', '.join(map(_name, node.input))})"

    def _attribute(self, attribute: onnx.AttributeProto) -> str:
        if attribute.ref_attr_name:
            kind = _Attribute.AttributeType.Name(attribute.type).lower()
            return f"{attribute.name}: {kind} = @{attribute.ref_attr_name}"
        if attribute.type == _Attribute.GRAPH:
            return f"{attribute.name} = " + "\n".join(self.graph(attribute.g))
        if attribute.type == _Attribute.TENSOR:
            return f"{attribute.name} = {_show_type(attribute.t)} {self._values(attribute.t)}"
        value = onnx.helper.get_attribute_value(attribute)
        kind = ": ints" if attribute.type == _Attribute.INTS and not value else ""
        return f"{attribute.name}{kind} = {self._show(value)}"

    def _show(self, value: Any) -> str:
        if isinstance(value, bytes):
            return json.dumps(value.decode())
        if isinstance(value, float):
            number = self._number(np.float32(value))
            return number if set(number) & set(".enf") else f"{number}.0"  # else it reads as an int
        if isinstance(value, int):
            return str(value)
        return f"[{', '.join(map(self._show, value))}]"

    def _values(self, tensor: onnx.TensorProto) -> str:
        values = numpy_helper.to_array(tensor).reshape(-1)
        if len(values) > _MOST:
            raise GraphError(f"'{tensor.name}' has {len(values)} elements; text takes {_MOST}")
        return "{" + ", ".join(map(self._number, values)) + "}"

    def _number(self, value: Any) -> str:
        if isinstance(value, str | bytes):
            return json.dumps(value if isinstance(value, str) else value.decode())
        if isinstance(value, bool | np.bool_):
            return str(int(value))
        if isinstance(value, np.integer) or value.dtype.kind not in "fV":
            return str(int(value))
        exact = np.float64(value)
        if self._digits is not None:
            return f"{exact:.{self._digits}g}"
        return f"{exact:g}" if float(f"{exact:g}") == exact else str(value)


def _folded(line: str) -> list[str]:
    """Indent a line, and break it where it is long; one with quotes stays whole."""
    if '"' in line:
        return [_INDENT + line]
    return textwrap.wrap(
        line,
        _WIDTH,
        initial_indent=_INDENT,
        subsequent_indent=3 * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _header(model: onnx.ModelProto) -> str:
    return f"<ir_version: {model.ir_version}, opset_import: {_opsets(model.opset_import)}>"


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> str:
    return "[" + ", ".join(f'"{each.domain}" : {each.version}' for each in imports) + "]"


def _show_value(value: onnx.ValueInfoProto) -> str:
    return f"{_show_declared(value.type)} {_name(value.name)}"


def _show_declared(declared: onnx.TypeProto) -> str:
    kind = declared.WhichOneof("value")
    if kind == "sequence_type":
        return f"seq({_show_declared(declared.sequence_type.elem_type)})"
    if kind == "optional_type":
        return f"optional({_show_declared(declared.optional_type.elem_type)})"
    tensor = declared.tensor_type
    name = _type_name(tensor.elem_type)
    if not tensor.HasField("shape"):
        return f"{name}[]"
    sizes = [
        d.dim_param or (str(d.dim_value) if d.HasField("dim_value") else "?")
        for d in tensor.shape.dim
    ]
    return f"{name}[{', '.join(sizes)}]" if sizes else name


def _show_type(tensor: onnx.TensorProto) -> str:
    sizes = ", ".join(map(str, tensor.dims))
    return f"{_type_name(tensor.data_type)}[{sizes}]" if sizes else _type_name(tensor.data_type)


def _type_name(kind: int) -> str:
    name: str = onnx.TensorProto.DataType.Name(kind)
    return name.lower()


def _name(name: str) -> str:
    """Write a name: those that are no identifiers in quotes, a missing one as an empty string."""
    return name if name.isidentifier() else json.dumps(name)
