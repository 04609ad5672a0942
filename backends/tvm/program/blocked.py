"""A Relax program whose tensors lie in blocks of channels: what holds them, and repacking.

Every tensor may be held in several layouts; one that is asked for and not there yet is repacked,
once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ..graph.concat import ConcatPlan
from ..graph.halos import Halos
from ..graph.quantized import IntegerConstant
from ..kernels.depth_to_space import depth_to_space, depth_to_space_of
from ..kernels.images import for_images
from ..kernels.lane_shuffle import LaneShuffle, can_shuffle, lane_shuffle
from ..kernels.repack import Repack, repack, table, table_of
from ..kernels.settings import Settings
from ..spec.calls import SizedKernel
from ..spec.depth_to_space import BlocksOfChannels
from ..spec.layout import Array, BufferSpec, Halo, Layout, no_halo, plain_spec
from ..spec.machine import CpuMachine
from ..spec.open_sizes import images_each
from .kernel_program import KernelMaker, KernelProgram
from .program import Enclosing
from .prologue import DeferredPrologue
from .value import Value, batch_of, dtype_of, shape_of

Accept = Callable[[Layout], bool]


@dataclass(frozen=True)
class ChannelPick:
    """Some `channels` of a blocked `value`, in that order, which nobody has copied yet."""

    value: Value
    channels: tuple[int, ...]

    @property
    def places(self) -> Array:
        """Block and lane of each, [C, 2]."""
        assert self.value.layout is not None
        return self.value.layout.positions()[list(self.channels)]


@dataclass(frozen=True)
class SpacePick:
    """What DepthToSpace by `blocks` makes of a blocked `value`, which nobody has moved yet."""

    value: Value
    blocks: BlocksOfChannels


class BlockedProgram(KernelProgram):
    """A program that holds every tensor in the layouts that were asked for."""

    has_host_kernels: ClassVar[bool] = True

    def __init__(
        self,
        view: View,
        machine: CpuMachine,
        settings: Settings,
        *,
        halos: Halos,
        concats: ConcatPlan,
        integers: dict[int, IntegerConstant],
        elsewhere: frozenset[str] = frozenset(),
        enclosing: Enclosing | None = None,
    ) -> None:
        super().__init__(view, elsewhere, enclosing)
        self.machine = machine
        self.settings = settings
        self.integers = integers
        self.concats = concats
        self.prologues: dict[int, DeferredPrologue] = {}  # by id of the tensor, read once
        self.picks: dict[int, ChannelPick] = {}  # by id of the tensor
        self.spaces: dict[int, SpacePick] = {}  # by id of the tensor
        self._halos = halos
        self._held: dict[int, list[Value]] = {}

    def _made(self, kernel: KernelMaker) -> Any:
        import tvm

        with tvm.target.Target(self.machine.llvm(self.settings.threads)):
            return super()._made(kernel)

    def _note_sized(self, kernel: KernelMaker, name: str, images: Any) -> None:
        count = None if isinstance(images, int) else images_each(images)
        if count is None or (name, count) in self.sized:
            return
        op = for_images(kernel.op, count)
        made = None if op is None else SizedKernel(op, self._made(replace(kernel, op=op)))
        self.sized[name, count] = made

    def define(self, tensor: gs.Tensor, value: Value) -> None:
        """Record that `value` holds `tensor`."""
        self._held.setdefault(id(tensor), []).append(value)
        self._alive.append(tensor)

    def define_plain(self, tensor: gs.Tensor, expr: Any) -> None:
        """Record that `expr`, in ONNX's own layout, holds `tensor`."""
        shape = shape_of(expr)
        assert shape is not None
        self.define(tensor, Value(expr=expr, layout=None, shape=shape, dtype=dtype_of(expr)))

    def values(self, tensor: gs.Tensor) -> list[Value]:
        """Return what holds `tensor`, in any layout; what was left to its reader is stored now."""
        deferred = self.prologues.pop(id(tensor), None)
        if deferred is not None:
            deferred.store()
        pick = self.picks.pop(id(tensor), None)
        if pick is not None:
            halo = self.halo(tensor, len(pick.value.spatial))
            self.define(tensor, self.gathered(pick.value, pick.channels, halo))
        space = self.spaces.pop(id(tensor), None)
        if space is not None:
            self.define(tensor, self._in_space(space, self.halo(tensor, 2)))
        return self._held.get(id(tensor), [])

    def shape(self, tensor: gs.Tensor) -> tuple[Any, ...]:
        """Return the sizes of `tensor`: numbers, and expressions where they are not known yet."""
        values = self.values(tensor)
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
        for value in self.values(tensor):
            if value.is_plain:
                return value.expr
        if isinstance(tensor, gs.Constant):
            values = np.asarray(tensor.values)
            found = self.constant(values)
            kind = str(values.dtype)
            self.define(
                tensor, Value(expr=found, layout=None, shape=tuple(values.shape), dtype=kind)
            )
            return found
        value = self.values(tensor)[0]
        dtype = value.dtype if value.scale is None else "float32"
        if value.layout is None:
            expr = self._dequantized(value)
        else:
            expr = self._unblocked(value, value.spec(), dtype)
        self.define(tensor, Value(expr=expr, layout=None, shape=value.shape, dtype=dtype))
        return expr

    def plain_value(self, tensor: gs.Tensor) -> Value:
        """Return `tensor` in ONNX's own layout."""
        self.plain(tensor)
        return next(value for value in self.values(tensor) if value.is_plain)

    def plain_bytes(self, tensor: gs.Tensor) -> Value | None:
        """Return the bytes that stand for `tensor`, in ONNX's own order, if it is held in bytes."""
        quantized = [value for value in self.values(tensor) if value.scale is not None]
        for value in quantized:
            if value.layout is None:
                return value
        if not quantized:
            return None
        value = quantized[0]
        expr = self._unblocked(value, value.spec(raw=True), value.dtype)
        found = replace(value, expr=expr, layout=None, spatial=())
        self.define(tensor, found)
        return found

    def _unblocked(self, value: Value, x: BufferSpec, dtype: str) -> Any:
        """Return what is seen through `x` as ONNX has it, elements of `dtype`."""
        from tvm import relax

        layout = value.layout
        assert layout is not None
        y = plain_spec(x.channels, x.spatial[3 - x.rank :], dtype)
        places = self.parameter(table(layout, None, x.channels), ("table", layout, None))
        op = Repack(x, y, batch_of(value.shape[0]))
        expr = self.call(
            KernelMaker("repack", op, repack, True), [value.expr, places], y, value.shape[0]
        )
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
        for value in self.values(tensor):
            if value.layout is not None and (accept is None or accept(value.layout)):
                return value
        shape = self.shape(tensor)
        spatial = self._spatial(tensor)
        halo = self.halo(tensor, len(spatial))
        return self.repacked(tensor, Layout.plain(int(shape[1]), self.machine.lanes, halo))

    def repacked(self, tensor: gs.Tensor, layout: Layout) -> Value:
        """Return `tensor` in exactly the channel order and halo of `layout`."""
        for value in self.values(tensor):
            if value.layout is not None and value.layout.same_channels(layout):
                return value
        held = self.values(tensor)
        if not held:
            self.plain(tensor)
            held = self.values(tensor)
        value = held[0]
        # What was flattened is held with its positions, of which there is one.
        spatial = self._spatial(tensor)
        spatial = spatial[max(0, len(spatial) - len(layout.halo)) :]
        y = replace(layout.spec(spatial, dtype=value.dtype), zero=value.zero)
        entries = table(value.layout, layout, layout.channels)
        expr = self._moved(value, y, entries, ("table", value.layout, layout))
        found = replace(value, expr=expr, layout=layout, spatial=y.spatial[3 - y.rank :])
        self.define(tensor, found)
        return found

    def gathered(self, value: Value, channels: Sequence[int], halo: Halo) -> Value:
        """Return a blocked tensor of some `channels` of a blocked `value`, in that order."""
        assert value.layout is not None
        layout = Layout.plain(len(channels), self.machine.lanes, halo)
        y = replace(layout.spec(value.spatial, dtype=value.dtype), zero=value.zero)
        places = value.layout.positions()[list(channels)]
        key = ("gathered", value.layout, tuple(channels))
        expr = self._moved(value, y, table_of(places, layout), key)
        shape = (value.shape[0], len(channels), *value.shape[2:])
        return replace(value, expr=expr, layout=layout, shape=shape)

    def _in_space(self, space: SpacePick, halo: Halo) -> Value:
        """Return what DepthToSpace makes of a blocked value, in blocks of its own."""
        value, blocks = space.value, space.blocks
        assert value.layout is not None
        batch = batch_of(value.shape[0])
        op, layout = depth_to_space_of(value.spec(raw=True), value.layout, blocks, halo, batch)
        kernel = KernelMaker("depth_to_space", op, depth_to_space)
        expr = self.call(kernel, [value.expr], op.y, value.shape[0])
        spatial = op.y.spatial[1:]
        shape = (value.shape[0], layout.channels, *spatial)
        return replace(value, expr=expr, layout=layout, shape=shape, spatial=spatial)

    def _moved(self, value: Value, y: BufferSpec, entries: Array, key: Hashable) -> Any:
        """Emit the copy of what is stored of `value` to the places of a table, those of `y`."""
        x, batch = value.spec(raw=True), batch_of(value.shape[0])
        places = tuple((0, int(block), int(lane)) for block, lane in entries)
        shuffle = LaneShuffle((x,), y, places, batch)
        if can_shuffle(shuffle):
            kernel = KernelMaker("shuffle", shuffle, lane_shuffle, True)
            return self.call(kernel, [value.expr], y, value.shape[0])
        kernel = KernelMaker("repack", Repack(x, y, batch), repack, True)
        return self.call(kernel, [value.expr, self.parameter(entries, key)], y, value.shape[0])

    def _spatial(self, tensor: gs.Tensor) -> tuple[int, ...]:
        for value in self.values(tensor):
            if value.layout is not None:
                return value.spatial
        return tuple(int(size) for size in self.shape(tensor)[2:])
