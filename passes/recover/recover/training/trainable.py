"""A graph as a module that trains in float32, at any batch size where it allows that."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core import dtypes
from .....ir.core.build import make_constant
from .....ir.core.errors import ConversionError
from .....ir.core.variables import dense_values
from .....ir.graph.clone import clone
from .....ir.ops.shapes.infer import infer_types
from .....ir.torch.from_fx import from_fx
from .....ir.torch.source import SourceGraph, source_of
from .....ir.torch.to_fx import to_fx
from ..weights import Array, Values, constants, same_bits

if TYPE_CHECKING:
    import torch

Tensors = dict[str, Any]


class Trainable:
    """The module of a graph whose inputs are `samples`: name -> tensor in and out.

    Weights of other floats train in float32. Parameters called like `frozen` constants and those of
    graph inputs with a default do not train. `unit`: the batch size that the graph is fixed to,
    None where it is free; afterwards the size that the module needs, None for any.
    """

    def __init__(
        self, graph: gs.Graph, samples: Mapping[str, Array], frozen: Set[str], unit: int | None
    ) -> None:
        import torch

        self.inputs = [t.name for t in graph.inputs if not isinstance(t, gs.Constant)]
        self.outputs = [t.name for t in graph.outputs]
        self.unit = unit
        made = None
        if unit is not None:
            free = _free_reshapes(graph, unit)
            made = _working(free, lambda m: self._takes_any_batch(m, samples, unit))
            if made is not None:
                self.unit = None
        self.module = _float32(to_fx(graph)) if made is None else made
        fixed = frozen | {t.name for t in graph.inputs if isinstance(t, gs.Constant)}
        # Depthwise convolutions train 1.7 times as fast so on CPUs.
        self.module.to(memory_format=torch.channels_last)
        self._first = {n: t.detach().clone() for n, t in self.module.state_dict().items()}
        parameters = dict(self.module.named_parameters())
        for binding in self._source().bindings:
            if binding.constant.name in fixed and binding.path in parameters:
                parameters[binding.path].requires_grad_(False)

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Return what trains as groups for an optimizer of the learning rate `rate`."""
        return [{"params": [p for p in self.module.parameters() if p.requires_grad]}]

    @property
    def trains(self) -> bool:
        """Say whether there is a parameter to train."""
        return any(parameter.requires_grad for parameter in self.module.parameters())

    def __call__(self, arrays: Mapping[str, Any], module: Any = None) -> Tensors:
        """Return the outputs for inputs, tensors by name; `module` takes the place of its own."""
        found = (module or self.module)(*(_channels_last(arrays[name]) for name in self.inputs))
        results = found if isinstance(found, tuple) else (found,)
        return dict(zip(self.outputs, results, strict=True))

    def values(self) -> Values:
        """Return the constants that training has changed, by name, in their own type."""
        new = constants(from_fx(self.module))
        state = self.module.state_dict()
        found = {}
        for binding in self._source().bindings:
            path = binding.path
            if path in self._first and path in state and self._first[path].equal(state[path].cpu()):
                continue  # float64 would come back rounded
            before = dense_values(binding.constant)
            after = dense_values(new[binding.constant.name])
            assert before is not None
            assert after is not None
            if not same_bits(before, after):
                found[binding.constant.name] = after
        return found

    def free_unused(self, loss: Callable[[], torch.Tensor]) -> None:
        """Stop training parameters that `loss` does not depend on: they stay as they are."""
        for parameter in self.module.parameters():
            parameter.grad = None
        loss().backward()
        for parameter in self.module.parameters():
            if parameter.grad is None:
                parameter.requires_grad_(False)
            parameter.grad = None

    def _source(self) -> SourceGraph:
        return source_of(self.module)

    def _takes_any_batch(self, module: Any, samples: Mapping[str, Array], unit: int) -> bool:
        """Say whether `module` gives for two batches together what it gives for each."""
        import torch

        once = to_tensors(samples)
        twice = {name: torch.cat([x, x.flip(0)]) for name, x in once.items()}
        with torch.no_grad():
            a, both = self(once, module), self(twice, module)
        return all(
            both[name].shape == (2 * unit, *a[name].shape[1:])
            and torch.allclose(both[name][:unit], a[name], rtol=1e-3, atol=1e-5)
            for name in self.outputs
        )


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    if tensor.ndim != 4:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


def to_tensors(arrays: Mapping[str, Array], device: Any = None) -> Tensors:
    """Return arrays as tensors, floats as float32."""
    import torch

    made = {}
    for name, array in arrays.items():
        plain = array.astype(np.float32) if dtypes.is_float(array.dtype) else np.array(array)
        made[name] = torch.from_numpy(plain).to(device)
    return made


def _working(graph: gs.Graph, works: Callable[[Any], bool]) -> Any:
    """Return the module of `graph` where it `works`, else None."""
    try:
        module = _float32(to_fx(graph))
        with contextlib.redirect_stderr(io.StringIO()):  # torch prints where it fails
            return module if works(module) else None
    except ConversionError:
        return None
    except (RuntimeError, ValueError, IndexError):  # what torch raises for sizes that do not fit
        return None


def _float32(module: Any) -> Any:
    """Return `module` with all floats as float32, in parameters, buffers and casts."""
    import torch

    others = (torch.float16, torch.bfloat16, torch.float64)
    held = any(t.dtype in others for t in (*module.parameters(), *module.buffers()))
    casts = [
        node
        for node in module.graph.nodes
        if any(_is(value, others) for value in (*node.args, *node.kwargs.values()))
    ]
    if not held and not casts:
        return module
    module.float()
    for node in casts:
        node.args = tuple(torch.float32 if _is(a, others) else a for a in node.args)
        node.kwargs = {k: torch.float32 if _is(a, others) else a for k, a in node.kwargs.items()}
    module.recompile()
    return module


def _is(value: Any, among: tuple[Any, ...]) -> bool:
    import torch

    return isinstance(value, torch.dtype) and value in among


def _free_reshapes(graph: gs.Graph, unit: int) -> gs.Graph:
    """Return a copy in which reshapes to `unit` samples keep the first axis, whatever its size."""
    copy = clone(graph)
    free = [tensor.shape for tensor in copy.inputs]
    for tensor in copy.inputs:
        if isinstance(tensor, gs.Variable) and tensor.shape:
            tensor.shape = [unit, *tensor.shape[1:]]
    types = infer_types(copy)
    for tensor, shape in zip(copy.inputs, free, strict=True):
        if isinstance(tensor, gs.Variable):
            tensor.shape = shape
    for node in copy.nodes:
        if node.op != "Reshape" or len(node.inputs) != 2 or node.attrs.get("allowzero", 0):
            continue
        source, result = types.of(node.inputs[0]), types.of(node.outputs[0])
        if source is None or result is None or not source.shape or not result.shape:
            continue
        sizes = list(result.shape)
        if source.shape[0] == sizes[0] == unit and all(isinstance(d, int) for d in sizes):
            shape = np.array([0, *sizes[1:]], np.int64)
            node.inputs[1] = make_constant(f"{node.outputs[0].name}_of_any_batch", shape)
    return copy
