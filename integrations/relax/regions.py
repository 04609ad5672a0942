"""What of a Relax block is planish's: which bindings, in which order, and as which ONNX graph.

A binding is written in ONNX, or left. All that is written is cut into levels so that none waits for
what waits for it:

    level(left) = max(level(left read), level(written read) + 1)
    level(written) = max(level of all that it reads)

and each level's left bindings stand before the written ones, which are one graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import DeclinedError, need
from ...ir.ops.shapes.infer import infer_types
from .loop_nests import operator_name
from .operators import OPSET, WRITERS, Writer, constant_of

# What kernels and passes know; others' conversions would be guesses.
_TYPES = ("float32", "float16", "bfloat16", "int8", "uint8", "int32", "int64", "bool")


@dataclass(frozen=True)
class Region:
    """A graph, and the variables that its inputs, outputs and nodes stand for."""

    graph: gs.Graph
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    sizes: Mapping[str, Any]
    names: Mapping[str, Any]

    def variable(self, node: gs.Node) -> Any | None:
        """Return what `node` was written for; a pass may have made one that is for none."""
        for name in (node.name, *(tensor.name for tensor in node.outputs)):
            found = self.names.get(str(name).split("_")[0])
            if found is not None:
                return found
        return None


@dataclass
class Level:
    """Bindings that stay as they are, and the region that follows."""

    left: list[Any] = field(default_factory=list)
    written: list[Any] = field(default_factory=list)


class Sorter:
    """Sorts the bindings of a block; `left` has variables that stay, and why."""

    def __init__(self, bindings: Sequence[Any], left: Mapping[Any, str], module: Any) -> None:
        self.left = dict(left)
        self._module = module
        self._operators: dict[Any, str] = {}
        self._bindings = bindings
        self._values = {binding.var: binding.value for binding in bindings}
        self._arrays: dict[Any, np.ndarray[Any, Any]] = {}
        for binding in bindings:
            reason = self._refusal(binding)
            if reason is not None:
                self.left.setdefault(binding.var, reason)
        for binding in reversed(bindings):  # a part, where the whole is left
            whole = _whole(binding)
            if whole in self._values and binding.var in self.left:
                self.left.setdefault(whole, f"{self.left[binding.var]}")
        for binding in bindings:
            whole = _whole(binding)
            if whole is not None and (whole in self.left or whole not in self._values):
                self.left.setdefault(binding.var, "")

    def levels(self) -> list[Level]:
        """Return the bindings level by level."""
        from tvm import relax

        found: list[Level] = []
        height: dict[Any, int] = {}
        for binding in self._bindings:
            stays = binding.var in self.left
            level = 0
            for var in relax.analysis.free_vars(binding.value):
                if var in height:
                    waits = stays and var not in self.left
                    level = max(level, height[var] + waits)
            height[binding.var] = level
            while len(found) <= level:
                found.append(Level())
            (found[level].left if stays else found[level].written).append(binding)
        return found

    def _refusal(self, binding: Any) -> str | None:
        """Return why a binding stays; "" where it is no operator."""
        from tvm import relax

        value = binding.value
        if isinstance(value, relax.TupleGetItem):
            return None
        if not isinstance(binding, relax.VarBinding) or not isinstance(value, relax.Call):
            return ""
        name = self._operators[binding.var] = operator_name(value, self._module)
        if name not in WRITERS:
            return f"planish does not know {name or 'the call'}"
        if isinstance(value.ty, relax.TupleType):
            used = {int(b.value.index) for b in self._bindings if _whole(b) == binding.var}
            if name == "relax.nn.batch_norm" and used - {0}:
                return "its statistics are read"
        try:
            writer = Writer(value, "v", _Throwaway().tensor, self._array)
            WRITERS[name](writer)
        except DeclinedError as declined:
            return str(declined)
        return None

    def _array(self, expr: Any) -> np.ndarray[Any, Any] | None:
        if expr not in self._arrays:
            values = constant_of(expr)
            if values is None:
                return None
            self._arrays[expr] = values
        return self._arrays[expr]

    def region(self, written: Sequence[Any], read_later: set[Any]) -> Region:
        """Return the graph of `written`; `read_later`: variables that others read.

        What ONNX would give other sizes or elements is noted in `left`, and DeclinedError raised.
        """
        graph = _RegionGraph(self._array)
        for index, binding in enumerate(written):
            graph.add(f"v{index}", binding, self._operators.get(binding.var, ""))
        region = graph.finish([b.var for b in written if b.var in read_later])
        wrong = graph.contradictions(region.graph)
        if wrong:
            self.left.update(wrong)
            raise DeclinedError("; ".join(wrong.values()))
        return region


def _whole(binding: Any) -> Any | None:
    """Return the variable of which `binding` takes a part."""
    from tvm import relax

    value = binding.value
    if isinstance(value, relax.TupleGetItem) and isinstance(value.tuple_value, relax.Var):
        return value.tuple_value
    return None


class _Throwaway:
    """Tensors to try a writer on."""

    def tensor(self, expr: Any) -> gs.Tensor:
        _typed(expr)
        return gs.Variable("x")


def _typed(expr: Any) -> Any:
    """Return the type of a tensor that planish knows; declines others."""
    from tvm import relax

    kind = expr.ty
    need(isinstance(kind, relax.TensorType), "an argument is no tensor")
    need(isinstance(kind.shape, relax.ShapeExpr), "the sizes of what it reads are not known")
    need(str(kind.dtype) in _TYPES, f"it reads {kind.dtype}")
    return kind


class _RegionGraph:
    """A graph under construction."""

    def __init__(self, arrays: Any) -> None:
        self._arrays = arrays
        self._nodes: list[gs.Node] = []
        self._tensors: dict[Any, list[gs.Tensor]] = {}
        self._inputs: dict[Any, gs.Variable] = {}
        self._constants: dict[Any, gs.Constant] = {}
        self._sizes: dict[str, Any] = {}
        self._names: dict[str, Any] = {}

    def add(self, name: str, binding: Any, operator: str) -> None:
        """Append the nodes of a binding."""
        from tvm import relax

        value = binding.value
        self._names[name] = binding.var
        if isinstance(value, relax.TupleGetItem):
            self._tensors[binding.var] = [self._tensors[value.tuple_value][int(value.index)]]
            return
        writer = Writer(value, name, self._tensor, self._arrays)
        WRITERS[operator](writer)
        outputs = writer.nodes[-1].outputs
        for index, tensor in enumerate(outputs):
            tensor.name = f"{name}_y{index}"
        self._nodes += writer.nodes
        self._tensors[binding.var] = list(outputs)

    def _tensor(self, expr: Any) -> gs.Tensor:
        if expr in self._tensors:
            return self._tensors[expr][0]
        kind = _typed(expr)
        values = self._arrays(expr)
        if values is not None:
            if expr not in self._constants:
                self._constants[expr] = gs.Constant(f"c{len(self._constants)}", values)
            return self._constants[expr]
        if expr not in self._inputs:
            shape = [self._size(size) for size in kind.shape]
            name = f"x{len(self._inputs)}"
            self._inputs[expr] = gs.Variable(name, np.dtype(str(kind.dtype)), shape)
        return self._inputs[expr]

    def _size(self, size: Any) -> int | str:
        import tvm_ffi
        from tvm import tirx

        if isinstance(size, tirx.IntImm):
            return int(size)
        for name, known in self._sizes.items():
            if tvm_ffi.structural_equal(known, size):
                return name
        name = f"s{len(self._sizes)}"
        self._sizes[name] = size
        return name

    def finish(self, read: Sequence[Any]) -> Region:
        """Return the region whose outputs are the tensors of the variables in `read`."""
        outputs = {var: self._tensors[var][0] for var in read if _is_tensor(var)}
        # Two variables of one tensor are one output.
        unique = {id(tensor): tensor for tensor in outputs.values()}
        graph = gs.Graph(
            self._nodes, list(self._inputs.values()), list(unique.values()), opset=OPSET
        )
        for tensor in unique.values():
            var = next(var for var, each in outputs.items() if each is tensor)
            tensor.dtype = np.dtype(str(var.ty.dtype))
        return Region(graph, tuple(self._inputs), tuple(outputs), self._sizes, self._names)

    def contradictions(self, graph: gs.Graph) -> dict[Any, str]:
        """Return what ONNX infers otherwise than Relax has it."""
        types = infer_types(graph)
        found = {}
        for var, tensors in self._tensors.items():
            if not _is_tensor(var):
                continue
            kind = types.of(tensors[0])
            if kind is None or kind.shape is None:
                found[var] = "ONNX does not tell its sizes"
                continue
            sizes = list(var.ty.shape)
            agree = len(sizes) == len(kind.shape) and all(
                not isinstance(b, int) or getattr(a, "value", None) in (None, b)
                for a, b in zip(sizes, kind.shape, strict=True)
            )
            if not agree or str(kind.dtype) != str(var.ty.dtype):
                found[var] = f"ONNX has {kind.dtype} {list(kind.shape)} for {var.ty}"
        return found


def _is_tensor(var: Any) -> bool:
    from tvm import relax

    return isinstance(var.ty, relax.TensorType)
