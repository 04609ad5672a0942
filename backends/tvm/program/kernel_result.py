"""What a group's kernel writes: its layout, what follows before the store, and where it is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ....ir.ops.quantization.nodes import is_quantizer
from ..graph.groups import FusionGroup
from ..graph.quantized import quantization_of
from ..graph.spatial import spatial_sizes
from ..kernels.elementwise import Elementwise, elementwise
from ..spec.layout import BufferSpec, Layout
from .blocked import BlockedProgram
from .epilogue import EpilogueBuilder
from .kernel_program import KernelMaker
from .prologue import DeferredPrologue, can_defer
from .value import Value, batch_of


class KernelResult:
    """The last value of `group`, its channels in the order of `layout`, for `images` images.

    `epilogue` is what the kernel applies last; `follow` appends the group's followers to it.
    """

    def __init__(
        self, program: BlockedProgram, group: FusionGroup, layout: Layout, images: Any
    ) -> None:
        self._program = program
        self._group = group
        self._images = images
        self._shape = program.inferred_shape(group.result)
        self.spatial = spatial_sizes(self._shape)
        placement = program.concats.placements.get(id(group.result))
        fits = layout.lanes == program.machine.lanes
        if placement is not None and not (fits and placement.count == len(layout.blocks)):
            placement = None
        self.placement = placement
        if placement is None:
            self.layout = layout.with_halo(program.halo(group.result, len(self.spatial)))
        else:
            whole = placement.buffer
            self.layout = replace(layout, halo=whole.halo, first=placement.first, total=whole.total)
        last = group.followers[-1] if group.followers else group.anchor
        quantization = quantization_of(last, program.view) if is_quantizer(last) else None
        self._quantization = quantization
        self._stored = (
            str(program.view.dtype(group.result)),
            0 if quantization is None else quantization.zero,
        )
        self.epilogue = EpilogueBuilder(program, self.layout, images)

    @property
    def spec(self) -> BufferSpec:
        """What kernels see of it; which range of a buffer they write they are told at run time."""
        spec = self._value(None).spec()
        return spec if self.placement is None else replace(spec, first=None)

    @property
    def batch(self) -> int | None:
        """The number of images, where it is known."""
        return batch_of(self._images)

    def follow(self) -> None:
        """Append what the group's followers do; the chain so far gives the anchor's output."""
        self.epilogue.follow(self._group, self._group.anchor.outputs[0])

    def read(self, x: Value) -> BufferSpec:
        """Return how the kernel is to see `x`: bytes as they are stored.

        The chain begins with what they stand for; a kernel's results are to be linear in them.
        """
        if x.quantization is not None:
            self.epilogue.dequantize(x.quantization)
        return x.spec(raw=True)

    def keeps(self, *values: Value) -> bool:
        """Say whether the followers quantize elements of `values` by the parameters they come with.

        Then bytes are moved or compared as they are, and `follow` is not called.
        """
        alone = self._quantization is not None and len(self._group.followers) == 1
        return alone and all(value.quantization == self._quantization for value in values)

    def emit_elementwise(self, x: Value, spec: BufferSpec) -> None:
        """Leave the chain over `x` to the one convolution that reads its result, or call it.

        `spec`: how the chain sees `x`.
        """
        program, chain, tensor = self._program, self.epilogue.chain, self._group.result
        op = Elementwise((spec,), ((1, 1, 1),), self.spec, chain, self.batch)

        def store() -> None:
            self.emit("elementwise", op, elementwise, [x.expr])

        if can_defer(tensor, x, chain, program.view):
            args = tuple(self.epilogue.args)
            program.prologues[id(tensor)] = DeferredPrologue(x, chain, args, store)
            return
        store()

    def emit(self, name: str, op: Any, make: Callable[[Any], Any], args: Sequence[Any]) -> None:
        """Call the kernel `make(op)` on `args` and the chain's operands; it writes the result."""
        program, spec = self._program, self.spec
        given = [*args, *self.epilogue.args]
        expr = program.call(KernelMaker(name, op, make), given, spec, self._images, self.placement)
        program.define(self._group.result, self._value(expr))

    def _value(self, expr: Any) -> Value:
        shape = (self._images, *self._shape[1:])
        dtype, zero = self._stored
        return Value(
            expr=expr,
            layout=self.layout,
            shape=shape,
            spatial=self.spatial,
            dtype=dtype,
            zero=zero,
        )
