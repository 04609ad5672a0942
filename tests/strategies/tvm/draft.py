"""A graph under construction, whose nodes ONNX Runtime runs as they are added."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from tests.strategies.network import Array

_MOST_ELEMENTS = 1 << 16


@dataclass
class Draft:
    """A graph under construction. `values`: what every tensor holds, by name.

    `exact` are the tensors that any order of additions gives the same: only these go through what
    is not continuous.
    """

    rng: random.Random
    numbers: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, Array] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)
    exact: set[str] = field(default_factory=set)

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.randrange(len(choices))]

    def flip(self, chance: float = 0.5) -> bool:
        return self.rng.random() < chance

    def between(self, low: int, high: int) -> int:
        return self.rng.randint(low, high)

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        return (self.numbers.standard_normal(shape) * scale).astype(np.float32)

    def constant(self, values: Any, dtype: Any = None) -> str:
        array = np.asarray(values, dtype)
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        self.values[name] = array
        self.exact.add(name)
        return name

    def feed(self, name: str, values: Array) -> str:
        """Add an input of the graph."""
        self.inputs[name] = self.values[name] = values
        self.exact.add(name)
        return name

    def tensor(
        self, keep: Callable[[Array], bool] = lambda values: True, exact: bool = False
    ) -> Any:
        """Return the name of a tensor that is no constant, mostly a late one; None without any."""
        names = [
            name
            for name, values in self.values.items()
            if name not in self.constants and keep(values) and (not exact or name in self.exact)
        ]
        if not names:
            return None
        return names[-1] if self.flip(0.6) else self.rng.choice(names)

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: int = 1,
        exact: bool = False,
        domain: str = "",
        **attrs: Any,
    ) -> list[str] | None:
        """Add a node; None where ONNX Runtime refuses it or its result is large."""
        names = [f"t{len(self.nodes)}_{index}" for index in range(outputs)]
        attrs = {key: value for key, value in attrs.items() if value not in (None, [])}
        node = helper.make_node(op, list(inputs), names, name=f"n{len(self.nodes)}", **attrs)
        if domain:
            node.domain = domain
        found = self._run(node)
        if found is None or any(values.size > _MOST_ELEMENTS for values in found):
            return None
        self.nodes.append(node)
        self.values.update(zip(names, found, strict=True))
        if exact and all(name in self.exact for name in inputs if name):
            self.exact.update(names)
        return names

    def _run(self, node: onnx.NodeProto) -> list[Array] | None:
        given = [name for name in dict.fromkeys(node.input) if name]
        infos = [info_of(name, self.values[name]) for name in given if name not in self.constants]
        held = [numpy_helper.from_array(self.constants[n], n) for n in given if n in self.constants]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([node], "node", infos, outputs, held)
        model = model_of(graph, self.opset)
        feeds = {name: self.values[name] for name in given if name not in self.constants}
        try:
            return reference(model, feeds)
        except Exception:
            return None


def model_of(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def reference(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    """Return what ONNX Runtime computes with its optimizations off."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(values) for values in session.run(None, feeds)]


def info_of(name: str, values: Array, batch: bool = False) -> onnx.ValueInfoProto:
    shape: list[Any] = list(values.shape)
    if batch and shape:
        shape[0] = "N"
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    return helper.make_tensor_value_info(name, kind, shape)


def is_float(values: Array) -> bool:
    return values.dtype == np.float32


def is_spatial(values: Array) -> bool:
    return is_float(values) and 3 <= values.ndim <= 5 and values.size > 0
