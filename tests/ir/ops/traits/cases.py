"""A node of every operator in the table of traits, in every form that its versions have."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator

import planish
from planish.ir.core.variables import FUSED_DOMAIN
from planish.ir.ops.fused.bodies import activation_function
from planish.ir.ops.traits import Traits, traits_of
from planish.ir.ops.traits.schemas import opsets_of, schema_of

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng()  # its state is set for each version of an operator
F, I64 = np.float32, np.int64


def floats(*shape: int) -> Array:
    """Return moderate numbers of either sign, all different."""
    count = int(np.prod(shape))
    return (
        ((RNG.permutation(count) - (count - 1) / 2.3) * (3.0 / max(count, 1)))
        .astype(F)
        .reshape(shape)
    )


def ints(*values: int) -> Array:
    return np.array(values, I64)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A node; `inputs` are its inputs in a typical form, None for one that is left out."""

    op: str
    opset: int
    inputs: tuple[Array | None, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    domain: str = ""
    reference: bool = False

    def __str__(self) -> str:
        return f"{self.domain}{self.op}-{self.opset} {self.attrs}"

    @property
    def node(self) -> gs.Node:
        return gs.Node(self.op, attrs=self.attrs, domain=self.domain)

    @functools.cached_property
    def traits(self) -> Traits:
        return traits_of(self.node, self.opset)

    @functools.cached_property
    def data(self) -> tuple[int, ...]:
        return self.traits.data_of(len(self.inputs))

    def with_data(self, *arrays: Array) -> tuple[Array | None, ...]:
        """Return the inputs with others that carry data."""
        made = list(self.inputs)
        for position, array in zip(self.data, arrays, strict=True):
            made[position] = array
        return tuple(made)

    @functools.cached_property
    def alike(self) -> set[int]:
        """The inputs that have the type of the data."""
        if self.domain:
            return {0}
        ports = schema_of(self.op, self.opset).inputs
        kinds = [ports[min(i, len(ports) - 1)].type_str for i in range(len(self.inputs))]
        shared = {kinds[i] for i in self.data}
        return {i for i, kind in enumerate(kinds) if kind in shared and self.inputs[i] is not None}

    def typed(self, dtype: Any) -> Case:
        """Return the case with its data, and whatever has the type of the data, of another type."""
        kept = [x.astype(dtype) if i in self.alike else x for i, x in enumerate(self.inputs)]
        return replace(self, inputs=tuple(kept))

    def run(self, inputs: tuple[Array | None, ...] | None = None) -> Array:
        """Return the first output for `inputs`, by default the typical ones."""
        return self.run_all(inputs)[0]

    def run_all(self, inputs: tuple[Array | None, ...] | None = None) -> list[Array]:
        given = self.inputs if inputs is None else inputs
        runner = runner_of(self, tuple(None if x is None else (x.dtype, x.ndim) for x in given))
        return [np.asarray(y) for y in runner(given)]

    def runtime(self) -> str:
        """Return what runs it."""
        kinds = tuple(None if x is None else (x.dtype, x.ndim) for x in self.inputs)
        return runner_of(self, kinds).name

    def on_reference(self) -> Case:
        """Return the case for the reference evaluator only."""
        return replace(self, reference=True)

    def of(self, *arrays: Array) -> Array:
        """Return the first output for that data."""
        return self.run(self.with_data(*arrays))


class NoRuntimeError(Exception):
    """Neither ONNX Runtime nor the reference evaluator runs it."""


_RUNNERS: dict[Any, Any] = {}


def runner_of(case: Case, kinds: tuple[Any, ...]) -> Any:
    key = (str(case), case.outputs, case.reference, kinds)
    if key not in _RUNNERS:
        _RUNNERS[key] = _Runner(case, kinds)
    return _RUNNERS[key]


class _Runner:
    """Runs a case on ONNX Runtime, optimizations off, or else on the reference evaluator."""

    def __init__(self, case: Case, kinds: tuple[Any, ...]) -> None:
        self._model = model_of(case, kinds)
        self._session: Any = None
        self._reference: Any = None
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._old = case.opset < 7  # the reference takes later versions for these
        crashes = case.op in ("Div", "Mod") and any(k and k[0].kind in "iu" for k in kinds)
        try:
            if crashes or case.reference:
                raise NoRuntimeError  # the smallest integer over -1 ends the process
            self._session = ort.InferenceSession(
                self._model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as refused:
            if self._old:
                raise NoRuntimeError(str(refused)) from refused
            try:
                self._reference = ReferenceEvaluator(self._model)
            except Exception as error:
                raise NoRuntimeError(f"{case}: {error}") from error

    @property
    def name(self) -> str:
        return "reference" if self._session is None else "onnxruntime"

    def __call__(self, inputs: tuple[Array | None, ...]) -> list[Array]:
        feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
        if self._session is not None:
            try:
                return list(self._session.run(None, feeds))
            except Exception as error:
                self._session = None
                if self._old:
                    raise NoRuntimeError(str(error)) from error
        if self._reference is None:
            self._reference = ReferenceEvaluator(self._model)
        try:
            with np.errstate(all="ignore"):
                return list(self._reference.run(None, feeds))
        except Exception as error:
            raise NoRuntimeError(str(error)) from error


def model_of(case: Case, kinds: tuple[Any, ...]) -> onnx.ModelProto:
    """Return a model of one node whose inputs have those types and ranks."""
    if case.domain:
        return _model_of_function(case, kinds)
    helper = onnx.helper
    names = ["" if kind is None else f"x{i}" for i, kind in enumerate(kinds)]
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(kind[0]), [None] * kind[1]
        )
        for name, kind in zip(names, kinds, strict=True)
        if kind is not None
    ]
    results = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op, names, results, **case.attrs)
    graph = helper.make_graph(
        [node], "g", inputs, [onnx.ValueInfoProto(name=name) for name in results]
    )
    ir_version = 10 if case.opset <= 23 else 13
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=ir_version
    )
    inferred = onnx.shape_inference.infer_shapes(model)
    for value in model.graph.output:
        found = [v for v in inferred.graph.output if v.name == value.name]
        if found and found[0].type.WhichOneof("value"):
            value.CopyFrom(found[0])
    return model


def _model_of_function(case: Case, kinds: tuple[Any, ...]) -> onnx.ModelProto:
    """Return a model of a function of the domain `planish`, opened up."""
    ((dtype, rank),) = kinds
    x = gs.Variable("x0", dtype, [f"d{i}" for i in range(rank)])
    y = gs.Variable("y0", dtype, list(x.shape))
    node = gs.Node(case.op, inputs=[x], outputs=[y], domain=case.domain)
    function = activation_function(case.op, case.opset)
    graph = gs.Graph([node], [x], [y], opset=case.opset, ir_version=8, functions=[function])
    return planish.to_model(graph, portable=True)


# The forms of operators: attributes and inputs; `opset` is that which brought the version.
Form = tuple[dict[str, Any], tuple[Array | None, ...]]
IMAGE = (2, 4, 5, 6)


def _alphas(name: str, *values: float) -> list[dict[str, Any]]:
    return [{}, *({name: value} for value in values)]


_ATTRIBUTES: dict[str, list[dict[str, Any]]] = {
    "Celu": _alphas("alpha", 0.5, 2.0),
    "Elu": _alphas("alpha", 0.5, 0.0, -1.0),
    "Gelu": [{}, {"approximate": "tanh"}],
    "HardSigmoid": [{}, {"alpha": 0.5, "beta": -0.25}, {"alpha": -0.5}, {"beta": 1.5}],
    "LeakyRelu": _alphas("alpha", 0.5, 0.0, -1.0, 1.5),
    "Selu": [{}, {"alpha": 0.5, "gamma": 2.0}, {"alpha": -1.0}, {"gamma": -1.0}],
    "Shrink": [{}, {"lambd": 1.0, "bias": 0.5}, {"lambd": 0.5, "bias": 1.0}, {"lambd": -0.5}],
    "Swish": _alphas("alpha", 0.5, 2.0, -1.0),
    "ThresholdedRelu": _alphas("alpha", 0.0, 0.5, -1.0),
    "Cast": [{"to": 11}, {"to": 6}, {"to": 1}, {"to": 9}],
    "BitCast": [{"to": 6}],
    "Mod": [{"fmod": 1}],
    "BitShift": [{"direction": "LEFT"}, {"direction": "RIGHT"}],
}
_CONSUMED = {"consumed_inputs"}


def cases_of(op: str) -> Iterator[Case]:
    """Yield a case for every version of an operator and every form that it has there."""
    for opset in opsets_of(op):
        yield from _cases_at(op, opset)


def cases_of_function(name: str) -> Iterator[Case]:
    """Yield cases of a function of the domain `planish`, at an early opset and a late one."""
    for opset in (9, 17):
        yield Case(op=name, opset=opset, inputs=(floats(2, 3, 4),), domain=FUSED_DOMAIN)


@functools.cache
def _cases_at(op: str, opset: int) -> tuple[Case, ...]:
    schema = schema_of(op, opset)
    RNG.bit_generator.state = np.random.default_rng(7).bit_generator.state
    found = []
    for attrs, inputs, *outputs in _forms(op, opset, schema):
        known = {name: value for name, value in attrs.items() if name in schema.attributes}
        if "consumed_inputs" in schema.attributes and schema.attributes["consumed_inputs"].required:
            known["consumed_inputs"] = [0] * len(inputs)
        found.append(
            Case(
                op=op,
                opset=opset,
                attrs=known,
                inputs=inputs,
                outputs=outputs[0] if outputs else 1,
            )
        )
    return tuple(found)


def _forms(op: str, opset: int, schema: Any) -> Iterator[Any]:
    if op in _FORMS:
        yield from _FORMS[op](opset, schema)
        return
    traits = traits_of(op, opset)
    if traits.pooling:
        yield from _pool(opset, schema)
    elif traits.reduction:
        yield from _reduce(opset, schema)
    elif traits.elementwise or traits.commutative:
        kind = schema.inputs[0].types
        dtype = F if "tensor(float)" in kind else np.bool_ if "tensor(bool)" in kind else np.uint8
        count = len(schema.inputs) if traits.operands != 1 else 1
        count = 3 if traits.operands is None else count
        for attrs in _ATTRIBUTES.get(op, [{}]):
            if not set(attrs) <= set(schema.attributes):
                continue
            yield attrs, tuple(_of_type(dtype, 2, 3, 4) for _ in range(count))
    else:
        for attrs in _ATTRIBUTES.get(op, [{}]):
            yield attrs, (floats(2, 3, 4),)


def _of_type(dtype: Any, *shape: int) -> Array:
    if dtype == F:
        return floats(*shape)
    return RNG.integers(0, 2 if dtype == np.bool_ else 7, shape).astype(dtype)


def _axes_form(schema: Any, axes: list[int], attrs: dict[str, Any], *data: Array) -> Form:
    """Give axes as the version takes them."""
    if "axes" in schema.attributes:
        return {**attrs, "axes": axes}, data
    return attrs, (*data, ints(*axes))


def _pool(opset: int, schema: Any) -> Iterator[Any]:
    x = floats(*IMAGE)
    if "kernel_shape" not in schema.attributes:
        yield {}, (x,)
        return
    yield {"kernel_shape": [2, 2]}, (x,)
    yield {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}, (x,)
    if "count_include_pad" in schema.attributes:
        yield {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, (x,)
    if "ceil_mode" in schema.attributes:
        yield {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, (x,)


def _reduce(opset: int, schema: Any) -> Iterator[Any]:
    x = floats(2, 3, 4)
    yield _axes_form(schema, [1], {}, x)
    yield _axes_form(schema, [1, 2], {"keepdims": 0}, x)
    yield {}, (x,)


def _one(attrs: dict[str, Any], *inputs: Array | None) -> Any:
    def forms(opset: int, schema: Any) -> Iterator[Any]:
        yield attrs, inputs

    return forms


def _dropout(opset: int, schema: Any) -> Iterator[Any]:
    yield {"is_test": 1}, (floats(2, 3, 4),)


def _clip(opset: int, schema: Any) -> Iterator[Any]:
    x = floats(2, 3, 4)
    yield {}, (x,)
    if "min" in schema.attributes:
        yield {"min": -0.5, "max": 0.75}, (x,)
    else:
        yield {}, (x, np.array(-0.5, F), np.array(0.75, F))


def _reshape(opset: int, schema: Any) -> Iterator[Any]:
    x = floats(2, 3, 4)
    if "shape" in schema.attributes:
        yield {"shape": [4, -1]}, (x,)
    else:
        yield {}, (x, ints(4, -1))


def _flatten(opset: int, schema: Any) -> Iterator[Any]:
    yield {}, (floats(2, 3, 4),)
    yield {"axis": 0}, (floats(2, 3, 4),)


def _squeeze(opset: int, schema: Any) -> Iterator[Any]:
    yield {}, (floats(2, 1, 4),)
    yield _axes_form(schema, [1], {}, floats(2, 1, 4, 1))


def _unsqueeze(opset: int, schema: Any) -> Iterator[Any]:
    yield _axes_form(schema, [0, 2], {}, floats(2, 3))


def _concat(opset: int, schema: Any) -> Iterator[Any]:
    yield {"axis": 1}, (floats(2, 1, 4), floats(2, 2, 4))


def _split(opset: int, schema: Any) -> Iterator[Any]:
    if len(schema.inputs) == 1:
        yield {"axis": 1, "split": [1, 3]}, (floats(2, 4),), 2
    else:
        yield {"axis": 1}, (floats(2, 4), ints(1, 3)), 2


def _slice(opset: int, schema: Any) -> Iterator[Any]:
    if "starts" in schema.attributes:
        yield {"starts": [1], "ends": [3], "axes": [1]}, (floats(2, 4, 3),)
    else:
        yield {}, (floats(2, 4, 3), ints(3, 0), ints(0, 2), ints(1, 2), ints(-2, 1))


def _pad(opset: int, schema: Any) -> Iterator[Any]:
    pads = [0, 1, 0, 0, 0, 2]
    for mode in ("constant", "reflect", "edge", "wrap"):
        if mode == "wrap" and opset < 19:
            continue
        attrs = {} if mode == "constant" else {"mode": mode}
        if len(schema.inputs) == 1:
            name = "pads" if "pads" in schema.attributes else "paddings"
            yield {**attrs, name: pads}, (floats(2, 3, 4),)
        else:
            yield attrs, (floats(2, 3, 4), ints(*pads))
    if len(schema.inputs) > 1:
        yield {}, (floats(2, 3, 4), ints(*pads), np.array(-2.5, F))


def _tile(opset: int, schema: Any) -> Iterator[Any]:
    if opset < 6:
        yield {}, (floats(2, 3), ints(2).reshape(()), ints(1).reshape(()))
    else:
        yield {}, (floats(2, 3), ints(1, 2))


def _topk(opset: int, schema: Any) -> Iterator[Any]:
    if "k" in schema.attributes:
        yield {"k": 2}, (floats(2, 5),), 2
    else:
        yield {}, (floats(2, 5), ints(2)), 2


def _resample(opset: int, schema: Any) -> Iterator[Any]:
    x = floats(1, 2, 4, 4)
    for mode in ("nearest", "linear", "cubic"):
        if mode == "cubic" and opset < 11:
            continue
        attrs = {"mode": mode}
        scales = [1.0, 1.0, 1.5, 2.0]
        if "height_scale" in schema.attributes:
            yield (
                {
                    "mode": "bilinear" if mode == "linear" else mode,
                    "height_scale": 1.5,
                    "width_scale": 2.0,
                },
                (x,),
            )
        elif "scales" in schema.attributes:
            yield {**attrs, "scales": scales}, (x,)
        elif opset < 11:
            yield attrs, (x, np.array(scales, F))
        else:
            yield attrs, (x, np.array([], F), np.array(scales, F))
    if opset >= 11:
        crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 5.0}
        roi = np.array([0, 0, -0.4, -0.4, 1, 1, 1.4, 1.4], F)
        yield {"mode": "nearest", **crop}, (x, roi, np.array(scales, F))


def _scatter(opset: int, schema: Any) -> Iterator[Any]:
    indices = np.array([[0, 2], [1, 0]], I64)
    for reduction in (None, "add", "mul", "max", "min"):
        if reduction and "reduction" not in schema.attributes:
            continue
        if reduction in ("max", "min") and opset < 18:
            continue
        attrs = {"axis": 1} | ({"reduction": reduction} if reduction else {})
        yield attrs, (floats(2, 3), indices, floats(2, 2))


def _scatter_nd(opset: int, schema: Any) -> Iterator[Any]:
    for reduction in (None, "add", "mul"):
        if reduction and "reduction" not in schema.attributes:
            continue
        attrs = {"reduction": reduction} if reduction else {}
        yield attrs, (floats(3, 2), np.array([[2], [0]], I64), floats(2, 2))


def _gather_nd(opset: int, schema: Any) -> Iterator[Any]:
    yield {}, (floats(2, 3, 2), np.array([[0, 1], [1, 2]], I64))


def _batchnorm(opset: int, schema: Any) -> Iterator[Any]:
    parts = [floats(4) for _ in range(3)]
    yield {"is_test": 1}, (floats(*IMAGE), *parts, np.array([0.5, 1, 2, 0.25], F))


def _affine_norm(attrs: dict[str, Any], *sizes: tuple[int, ...]) -> Any:
    def forms(opset: int, schema: Any) -> Iterator[Any]:
        yield attrs, (floats(*IMAGE), *(floats(*size) + F(2) for size in sizes))

    return forms


def _group_norm(opset: int, schema: Any) -> Iterator[Any]:
    size = 2 if opset < 21 else 4
    yield {"num_groups": 2}, (floats(*IMAGE), floats(size) + F(2), floats(size))


def _conv(opset: int, schema: Any) -> Iterator[Any]:
    x = floats(2, 4, 5, 5)
    for group in (1, 2):
        w = floats(6, 4 // group, 3, 3)
        yield {"group": group, "pads": [1, 1, 1, 1]}, (x, w, floats(6))
    yield {}, (x, floats(6, 4, 2, 2))


def _conv_transpose(opset: int, schema: Any) -> Iterator[Any]:
    x = floats(2, 4, 3, 3)
    for group in (1, 2):
        yield {"group": group, "strides": [2, 2]}, (x, floats(4, 6 // group, 3, 3), floats(6))


def _causal(opset: int, schema: Any) -> Iterator[Any]:
    yield {}, (floats(2, 4, 5), floats(4, 1, 3), floats(4)), 2


def _deform(opset: int, schema: Any) -> Iterator[Any]:
    offset = np.tile(floats(1, 18, 3, 3) * F(0.1), (2, 1, 1, 1))
    yield {}, (floats(2, 4, 5, 5), floats(6, 4, 3, 3), offset, floats(6))


def _gemm(opset: int, schema: Any) -> Iterator[Any]:
    bias = floats(4)
    extra = {"broadcast": 1} if opset < 7 else {}
    yield {**extra}, (floats(2, 3), floats(3, 4), bias)
    yield {**extra, "transB": 1, "alpha": 0.5}, (floats(2, 3), floats(4, 3), bias)


def _matmul(opset: int, schema: Any) -> Iterator[Any]:
    yield {}, (floats(2, 3), floats(3, 4))
    yield {}, (floats(5, 2, 3), floats(3, 4))


def _bytes(*shape: int) -> Array:
    return RNG.integers(0, 20, shape).astype(np.uint8)


def _conv_integer(opset: int, schema: Any) -> Iterator[Any]:
    yield {}, (_bytes(2, 3, 4, 4), _bytes(4, 3, 2, 2))


def _qconv(opset: int, schema: Any) -> Iterator[Any]:
    s, z = np.array(0.1, F), np.array(3, np.uint8)
    bias = np.arange(4, dtype=np.int32)
    yield {}, (_bytes(2, 3, 4, 4), s, z, _bytes(4, 3, 2, 2), s, z, np.array(0.5, F), z, bias)


def _qmatmul(opset: int, schema: Any) -> Iterator[Any]:
    s, z = np.array(0.1, F), np.array(3, np.uint8)
    yield {}, (_bytes(2, 3), s, z, _bytes(3, 4), s, z, np.array(0.5, F), z)


def _cumulative(opset: int, schema: Any) -> Iterator[Any]:
    for more in ({}, {"exclusive": 1}, {"reverse": 1}):
        yield more, (floats(2, 5), np.array(1, np.int32))


def _recurrent(gates: int) -> Any:
    def forms(opset: int, schema: Any) -> Iterator[Any]:
        yield (
            {"hidden_size": 3},
            (floats(4, 2, 2), floats(1, gates * 3, 2), floats(1, gates * 3, 3)),
        )

    return forms


def _quantize(opset: int, schema: Any) -> Iterator[Any]:
    yield {}, (floats(2, 3, 4), np.array(0.05, F), np.array(7, np.uint8))


def _dequantize(opset: int, schema: Any) -> Iterator[Any]:
    yield {}, (_bytes(2, 3, 4), np.array(0.05, F), np.array(7, np.uint8))


def _words(letter: str) -> Array:
    return np.array([f"{letter}{i}" for i in range(24)], object).reshape(2, 3, 4)


def _sized(**attrs: Any) -> Any:
    return _one({"shape": [3, 5], **attrs})


_FORMS: dict[str, Any] = {
    "BatchNormalization": _batchnorm,
    "Bernoulli": _one({}, np.full((3, 50), 0.5, F)),
    "CastLike": _one({}, floats(2, 3, 4), np.zeros(1, np.float64)),
    "CausalConvWithState": _causal,
    "CenterCropPad": _one({}, floats(2, 5, 2), ints(2, 3, 4)),
    "Clip": _clip,
    "Compress": _one({"axis": 1}, floats(2, 4), np.array([True, False, True])),
    "Concat": _concat,
    "Constant": _one({"value": onnx.numpy_helper.from_array(floats(2, 2))}),
    "ConstantOfShape": _one({}, ints(2, 3)),
    "Conv": _conv,
    "ConvInteger": _conv_integer,
    "ConvTranspose": _conv_transpose,
    "CumProd": _cumulative,
    "CumSum": _cumulative,
    "DeformConv": _deform,
    "DepthToSpace": _one({"blocksize": 2}, floats(2, 8, 2, 3)),
    "DequantizeLinear": _dequantize,
    "Dropout": _dropout,
    "DynamicQuantizeLinear": lambda opset, schema: iter([({}, (floats(2, 3, 4),), 3)]),
    "Expand": _one({}, floats(2, 1, 4), ints(3, 1, 2, 1)[[1, 0, 1]]),
    "EyeLike": _one({}, floats(3, 4)),
    "Flatten": _flatten,
    "GRU": _recurrent(3),
    "Gather": _one({"axis": 1}, floats(2, 4), ints(2, 0, 2)),
    "GatherElements": _one({"axis": 1}, floats(2, 3), np.array([[0, 2], [1, 1]], I64)),
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _affine_norm({}, (4,), (4,)),
    "LRN": _one({"size": 3, "alpha": 0.5}, floats(*IMAGE)),
    "LSTM": _recurrent(4),
    "LayerNormalization": _affine_norm({"axis": -1}, (6,), (6,)),
    "MatMul": _matmul,
    "MatMulInteger": _one({}, _bytes(2, 3), _bytes(3, 4)),
    "MaxUnpool": _one(
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        floats(1, 1, 2, 2),
        np.array([[[[5, 7], [13, 15]]]], I64),
    ),
    "Multinomial": _one({"sample_size": 40}, floats(2, 5)),
    "Pad": _pad,
    "QLinearConv": _qconv,
    "QLinearMatMul": _qmatmul,
    "QuantizeLinear": _quantize,
    "RMSNormalization": _affine_norm({"axis": -1}, (6,)),
    "RNN": _recurrent(1),
    "RandomNormal": _sized(),
    "RandomNormalLike": _one({}, floats(3, 5)),
    "RandomUniform": _sized(),
    "RandomUniformLike": _one({}, floats(3, 5)),
    "RegexFullMatch": _one({"pattern": "a.*"}, np.array(["ab", "b", "a", ""], object)),
    "Reshape": _reshape,
    "Resize": _resample,
    "ReverseSequence": _one({}, floats(4, 2, 3), ints(3, 2)),
    "Scatter": _scatter,
    "ScatterElements": _scatter,
    "ScatterND": _scatter_nd,
    "Shape": _one({}, floats(2, 3)),
    "Size": _one({}, floats(2, 3)),
    "Slice": _slice,
    "SpaceToDepth": _one({"blocksize": 2}, floats(2, 2, 4, 6)),
    "Split": _split,
    "Squeeze": _squeeze,
    "StringConcat": _one({}, _words("a"), _words("b")),
    "TensorScatter": _one({}, floats(1, 4, 2), floats(1, 2, 2), ints(1)),
    "Tile": _tile,
    "TopK": _topk,
    "Transpose": lambda opset, schema: iter(
        [({}, (floats(2, 3, 4),)), ({"perm": [1, 0, 2]}, (floats(2, 3, 4),))]
    ),
    "Trilu": _one({}, floats(3, 4)),
    "Unique": _one({}, np.array([3, 1, 1, 2, -1], F)),
    "Unsqueeze": _unsqueeze,
    "Upsample": _resample,
    "Where": _one({}, RNG.integers(0, 2, (2, 3, 4)).astype(bool), floats(2, 3, 4), floats(2, 3, 4)),
    "OneHot": _one({}, ints(2, 0, -1, 2), ints(3), floats(2)),
    "PRelu": _one({}, floats(2, 3, 4), floats(3, 1)),
}
