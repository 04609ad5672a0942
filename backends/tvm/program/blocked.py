"""A Relax program whose tensors lie in blocks of channels: layouts, repacking, calls of kernels.

Every tensor may be held in several layouts; one that is asked for and not there yet is repacked,
once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ..graph.halos import Halos
from ..graph.joins import ConcatPlacement, ConcatPlan
from ..graph.quantized import IntegerConstant
from ..kernels.repack import Repack, repack, table, table_of
from ..kernels.settings import Settings
from ..spec.calls import KernelCall
from ..spec.layout import BufferSpec, Halo, Layout, no_halo, plain_form
from ..spec.machine import CpuMachine
from .emit_lead import DeferredPrologue
from .program import Program
from .value import Value, batch_of, shape_of

Accept = Callable[[Layout], bool]


class BlockedProgram(Program):
    """The main function, its constants, and the kernels it calls."""

    def __init__(
        self,
        view: View,
        machine: CpuMachine,
        settings: Settings,
        *,
        halos: Halos,
        joins: ConcatPlan,
        integers: dict[int, IntegerConstant],
    ) -> None:
        super().__init__(view)
        self.machine = machine
        self.settings = settings
        self.integers = integers
        self.joins = joins
        self.leads: dict[
            int, DeferredPrologue
        ] = {}  # tensors that their only reader makes for itself
        self.nodes: tuple[str, ...] = ()  # those that are being emitted, by name
        self._halos = halos
        self._values: dict[int, list[Value]] = {}
        self._kernels: dict[Any, Any] = {}

    def define(self, tensor: gs.Tensor, value: Value) -> None:
        """Record that `value` holds `tensor`."""
        self._values.setdefault(id(tensor), []).append(value)
        self._alive.append(tensor)

    def define_plain(self, tensor: gs.Tensor, expr: Any) -> None:
        """Record that `expr`, in ONNX's own layout, holds `tensor`."""
        self.define(tensor, Value(expr, None, shape_of(expr), dtype=str(expr.ty.dtype)))

    def held(self, tensor: gs.Tensor) -> list[Value]:
        """Return the forms in which `tensor` is held."""
        return self._values.get(id(tensor), [])

    def shape(self, tensor: gs.Tensor) -> tuple[Any, ...]:
        """Return the sizes of `tensor`: numbers, and expressions where they are not known yet."""
        values = self.held(tensor)
        return values[0].shape if values else tuple(tensor.shape)

    def inferred_shape(self, tensor: gs.Tensor) -> Shape:
        """Return the sizes that inference knows of `tensor`, whose rank is known."""
        found = self.view.shape(tensor)
        assert found is not None
        return found

    def halo(self, tensor: gs.Tensor, rank: int) -> Halo:
        """Return the border that readers of `tensor` want around it."""
        found = self._halos.get(id(tensor))
        return found if found is not None and len(found) == rank else no_halo(rank)

    def plain(self, tensor: gs.Tensor) -> Any:
        """Return the expression of `tensor` in ONNX's own layout."""
        for value in self.held(tensor):
            if value.is_plain:
                return value.expr
        if isinstance(tensor, gs.Constant):
            values = np.asarray(tensor.values)
            found = self.constant(values)
            kind = str(values.dtype)
            self.define(tensor, Value(found, None, tuple(values.shape), dtype=kind))
            return found
        value = self.held(tensor)[0]
        dtype = value.dtype if value.scale is None else "float32"
        if value.layout is None:
            expr = self._dequantized(value)
        else:
            expr = self._unblocked(value, value.form(), dtype)
        self.define(tensor, Value(expr, None, value.shape, dtype=dtype))
        return expr

    def plain_value(self, tensor: gs.Tensor) -> Value:
        """Return `tensor` in ONNX's own layout."""
        self.plain(tensor)
        return next(value for value in self.held(tensor) if value.is_plain)

    def plain_bytes(self, tensor: gs.Tensor) -> Value | None:
        """Return the bytes that stand for `tensor`, in ONNX's own order, if it is held in bytes."""
        quantized = [value for value in self.held(tensor) if value.scale is not None]
        for value in quantized:
            if value.layout is None:
                return value
        if not quantized:
            return None
        value = quantized[0]
        expr = self._unblocked(value, value.form(raw=True), value.dtype)
        found = replace(value, expr=expr, layout=None, spatial=())
        self.define(tensor, found)
        return found

    def _unblocked(self, value: Value, x: BufferSpec, dtype: str) -> Any:
        """Return what is seen through `x` as ONNX has it, elements of `dtype`."""
        from tvm import relax

        layout = value.layout
        assert layout is not None
        y = plain_form(x.channels, x.spatial[3 - x.rank :], dtype)
        places = self.parameter(table(layout, None, x.channels), ("table", layout, None))
        op = Repack(x, y, batch_of(value.shape[0]))
        expr = self.call("repack", op, repack, [value.expr, places], y, value.shape[0])
        if y.rank == len(value.shape) - 2:
            return expr
        return self.builder.emit(relax.op.reshape(expr, list(value.shape)))

    def _dequantized(self, value: Value) -> Any:
        """Return the float32 numbers that bytes in ONNX's own order stand for, of any rank."""
        from tvm import relax

        op = relax.op
        whole = op.subtract(op.astype(value.expr, "int32"), relax.const(value.zero, "int32"))
        scaled = op.multiply(op.astype(whole, "float32"), relax.const(value.scale, "float32"))
        return self.builder.emit(scaled)

    def blocked(self, tensor: gs.Tensor, accept: Accept | None = None) -> Value:
        """Return `tensor` in a blocked layout that `accept` takes, or in the ordinary one."""
        for value in self.held(tensor):
            if value.layout is not None and (accept is None or accept(value.layout)):
                return value
        shape = self.shape(tensor)
        spatial = self._spatial(tensor)
        halo = self.halo(tensor, len(spatial))
        return self.repacked(tensor, Layout.plain(int(shape[1]), self.machine.lanes, halo))

    def repacked(self, tensor: gs.Tensor, layout: Layout) -> Value:
        """Return `tensor` in exactly the channel order and halo of `layout`."""
        for value in self.held(tensor):
            if value.layout is not None and value.layout.same_channels(layout):
                return value
        held = self.held(tensor)
        if not held:
            self.plain(tensor)
            held = self.held(tensor)
        value = held[0]
        y = replace(layout.form(self._spatial(tensor), dtype=value.dtype), zero=value.zero)
        op = Repack(value.form(raw=True), y, batch_of(value.shape[0]))
        entries = table(value.layout, layout, layout.channels)
        places = self.parameter(entries, ("table", value.layout, layout))
        expr = self.call("repack", op, repack, [value.expr, places], y, value.shape[0])
        found = replace(value, expr=expr, layout=layout, spatial=y.spatial[3 - y.rank :])
        self.define(tensor, found)
        return found

    def taken(self, value: Value, channels: Sequence[int], halo: Halo) -> Value:
        """Return a blocked tensor of some `channels` of a blocked `value`, in that order."""
        assert value.layout is not None
        layout = Layout.plain(len(channels), self.machine.lanes, halo)
        y = replace(layout.form(value.spatial, dtype=value.dtype), zero=value.zero)
        places = value.layout.positions()[list(channels)]
        entries = table_of(places, layout)
        op = Repack(value.form(raw=True), y, batch_of(value.shape[0]))
        held = self.parameter(entries, ("taken", value.layout, tuple(channels)))
        expr = self.call("repack", op, repack, [value.expr, held], y, value.shape[0])
        shape = (value.shape[0], len(channels), *value.shape[2:])
        return replace(value, expr=expr, layout=layout, shape=shape)

    def _spatial(self, tensor: gs.Tensor) -> tuple[int, ...]:
        for value in self.held(tensor):
            if value.layout is not None:
                return value.spatial
        return tuple(int(size) for size in self.shape(tensor)[2:])

    def call(
        self,
        name: str,
        op: Any,
        make: Callable[[Any], Any],
        args: Sequence[Any],
        y: BufferSpec,
        batch: Any,
        place: ConcatPlacement | None = None,
    ) -> Any:
        """Emit a call of the kernel `make(op)`, made once for equal `op`, and return its result.

        With a `place` it writes its range of a join's buffer, which the first part makes.
        """
        from tvm import relax, tirx

        if op not in self._kernels:
            unique = f"{name}_{len(self._kernels)}"
            function = make(op).with_attr("global_symbol", unique)
            self._kernels[op] = self.builder.add_func(function, unique)
        nodes = () if isinstance(op, Repack) else self.nodes
        self.calls.append(KernelCall(str(self._kernels[op].name_hint), nodes, op))
        kind = relax.TensorType(list(y.shape(batch)), y.dtype)
        if place is None:
            return self.builder.emit(relax.call_tir(self._kernels[op], list(args), kind))
        join = place.join
        given = [*args, tirx.IntImm("int64", place.first)]
        if join.expr is None:
            call = relax.call_tir(self._kernels[op], given, kind)
        else:
            call = relax.call_tir_inplace(self._kernels[op], [*given, join.expr], len(given), kind)
        join.expr = self.builder.emit(call)
        join.filled.add(place.index)
        return join.expr

    @property
    def kernels(self) -> dict[Any, str]:
        """The kernels made so far: what each computes, and its name."""
        return {op: str(found.name_hint) for op, found in self._kernels.items()}
