"""What is known of the tensors of a case: their values in one run, and their types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from ...ir.core import dtypes
from ...ir.core.errors import PlanishError
from ...ir.files.load import load
from ...ir.run.feeds import random_feeds
from ...ir.run.open_session import open_session
from ...ir.run.session import output_types, run_session
from .apart import Limits, run_apart
from .case import Array, Case

# Bytes of inner tensors that are kept; beyond them types alone are.
_MOST_BYTES = 2 << 30
_MOST_ALONE = 100


@dataclass(frozen=True)
class KnownTensors:
    """Values and types by the names of tensors; of some neither is known.

    `runs`: whether the reference runtime runs the model as it is.
    """

    arrays: Mapping[str, Array] = field(default_factory=dict)
    types: Mapping[str, onnx.TypeProto] = field(default_factory=dict)
    runs: bool = False

    def info(
        self, name: str, *, sized: bool = True, open_sizes: bool = True
    ) -> onnx.ValueInfoProto | None:
        """Return `name` as an input or output; None where its type is not known.

        `sized`: with its shape, `open_sizes`: in which names of sizes stay.
        """
        found, array = onnx.ValueInfoProto(name=name), self.arrays.get(name)
        if name in self.types and (open_sizes or array is None):
            found.type.CopyFrom(self.types[name])
        elif array is not None:
            found.type.tensor_type.elem_type = dtypes.elem_type(array.dtype)
            shape = found.type.tensor_type.shape
            shape.SetInParent()
            for size in array.shape:
                shape.dim.add(dim_value=size)
        else:
            return None
        return found if sized else open_type(found)

    def renamed(self, names: Mapping[str, str]) -> KnownTensors:
        """Return the same of tensors that have other names."""
        arrays = {names.get(name, name): array for name, array in self.arrays.items()}
        return KnownTensors(
            arrays, {names.get(n, n): kind for n, kind in self.types.items()}, self.runs
        )

    def is_alike(self, a: str, b: str) -> bool:
        """Say whether two tensors are known to have one type and shape."""
        x, y = self.arrays.get(a), self.arrays.get(b)
        if x is not None and y is not None:
            return (x.dtype, x.shape) == (y.dtype, y.shape)
        return a in self.types and b in self.types and self.types[a] == self.types[b]


def learn(case: Case, limits: Limits | None, seed: int = 0) -> tuple[Case, KnownTensors]:
    """Return the case with a feed, drawn where it has none, and what is known of its tensors.

    On the reference runtime, in a process of its own.
    """
    found = run_apart(lambda: _learned(case, seed), limits).value
    if found is None:  # what reads it ends the process
        found = case.feed, KnownTensors()
    feed, known = found
    weights = {t.name: numpy_helper.to_array(t) for t in case.model.graph.initializer}
    types = run_apart(lambda: _types(case.model), limits).value or {}
    return Case(case.model, feed), KnownTensors(
        {**weights, **feed, **known.arrays}, types, known.runs
    )


def open_type(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """Leave the rank of `value`, and none of its sizes."""
    for dim in value.type.tensor_type.shape.dim:
        dim.Clear()
    return value


def _learned(case: Case, seed: int) -> tuple[Mapping[str, Array], KnownTensors]:
    try:
        case = Case(case.model, _drawn(case, seed))
    except PlanishError:  # inputs of which nobody knows what they may be
        return case.feed, KnownTensors()
    names = [name for node in case.model.graph.node for name in node.output if name]
    try:
        return case.feed, KnownTensors(_kept(run_reference(case, names)), runs=True)
    except Exception:  # the binding raises one class per status code
        return case.feed, _known_apart(case, names)


def _known_apart(case: Case, names: list[str]) -> KnownTensors:
    """Return the tensors that can be outputs, each for itself."""
    try:
        run_reference(case)
    except Exception:
        return KnownTensors()
    found: dict[str, Array] = {}
    for name in names[:_MOST_ALONE]:
        try:
            found |= run_reference(case, [name])
        except Exception:  # as of what is no tensor
            continue
    return KnownTensors(_kept(found), runs=True)


def _kept(found: Mapping[str, Array]) -> dict[str, Array]:
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    sizes = np.cumsum([array.nbytes for array in arrays.values()])
    pairs = zip(arrays.items(), sizes, strict=True)
    return {name: array for (name, array), size in pairs if size < _MOST_BYTES}


def run_reference(case: Case, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Return outputs, or the tensors of these names, from ONNX Runtime without its optimizations.

    Raises ExecutionError, and what the runtime raises as it reads the model.
    """
    model = case.model
    if names is not None:
        model = onnx.ModelProto.FromString(model.SerializeToString())
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = open_session(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return run_session(session, output_types(session), case.feed)


def _drawn(case: Case, seed: int) -> dict[str, Array]:
    given = {v.name for v in case.model.graph.input}
    held = {t.name for t in case.model.graph.initializer}
    if given - held <= case.feed.keys():
        return dict(case.feed)
    return {**next(iter(random_feeds(load(case.model), seed=seed))), **case.feed}


def _types(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    found = onnx.shape_inference.infer_shapes(_light(model))
    values = [*found.graph.value_info, *found.graph.input, *found.graph.output]
    return {
        v.name: v.type
        for v in values
        if v.type.HasField("tensor_type")
        and v.type.tensor_type.HasField("shape")
        and all(d.WhichOneof("value") for d in v.type.tensor_type.shape.dim)
    }


def _light(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with large weights as inputs: of them the shapes alone are asked."""
    large = [t for t in model.graph.initializer if len(t.raw_data) > 1 << 12]
    if not large:
        return model
    inputs = [onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in large]
    names = {t.name for t in large}
    given = [v for v in inputs if v.name not in {i.name for i in model.graph.input}]
    light = Case(model).with_graph(model.graph.node, model.graph.output, given).model
    kept = [t for t in light.graph.initializer if t.name not in names]
    del light.graph.initializer[:]
    light.graph.initializer.extend(kept)
    return light
