"""A random network under construction, and the finished case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]
Step = Callable[["Network"], str]


@dataclass(frozen=True)
class Case:
    """A model and inputs for it."""

    model: onnx.ModelProto
    feeds: dict[str, Array]

    def __repr__(self) -> str:
        """Show the graph, so that a falsifying example can be read."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.initializer[:]
        return onnx.printer.to_text(model)


@dataclass
class Network:
    """A network under construction; `shapes` are the sizes at batch `BATCH`."""

    draw: Draw
    generator: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[TensorProto] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    integers: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    convolutions: list[tuple[tuple[int, ...], dict[str, Any], str]] = field(default_factory=list)

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def weight(self, values: Array, hint: str = "w") -> str:
        name = f"{hint}{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        return (self.generator.standard_normal(shape) * scale).astype(np.float32)

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attrs: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n{len(self.nodes)}", **attrs))
        self.shapes[name] = shape
        shape_arithmetic = op in ("Shape", "Gather", "Unsqueeze") or self.integers & set(inputs)
        if shape_arithmetic and op not in ("Expand", "Reshape"):
            self.integers.add(name)
        return name

    def add_private(self, op: str, inputs: list[str], **attrs: Any) -> str:
        """Add a node of whose result, of whatever type, only the step that adds it knows."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n{len(self.nodes)}", **attrs))
        self.private.add(name)
        return name

    def tensor(self) -> str:
        """Draw a tensor with spatial dimensions that exists already, mostly the newest."""
        spatial = [name for name, shape in self.shapes.items() if len(shape) > 2]
        return spatial[-1] if self.draw(st.integers(0, 4)) else self.draw(st.sampled_from(spatial))
