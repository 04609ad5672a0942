"""What a group's kernel writes: its layout, what follows before the store, and where it is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..graph.groups import FusionGroup
from ..graph.quantized import grid_of
from ..graph.spatial import spatial_sizes
from ..kernels.elementwise import Elementwise, elementwise
from ..spec.layout import BufferSpec, Layout
from .blocked import BlockedProgram
from .emit_chain import EpilogueBuilder
from .emit_lead import DeferredPrologue, can_wait
from .value import Value, batch_of


class KernelResult:
    """The last value of `group`, its channels in the order of `layout`, for `images` images.

    `end` is the chain that the kernel applies; `follow` appends the group's followers to it.
    """

    def __init__(
        self, program: BlockedProgram, group: FusionGroup, layout: Layout, images: Any
    ) -> None:
        self._program = program
        self._group = group
        self._images = images
        self._shape = program.inferred_shape(group.result)
        self.spatial = spatial_sizes(self._shape)
        place = program.joins.places.get(id(group.result))
        if place is not None and place.join.counts[place.index] != len(layout.blocks):
            place = None
        self.place = place
        if place is None:
            self.layout = layout.with_halo(program.halo(group.result, len(self.spatial)))
        else:
            join = place.join
            self.layout = replace(layout, halo=join.halo, first=place.first, total=join.total)
        last = group.followers[-1] if group.followers else group.anchor
        grid = grid_of(last, program.view) if last.op == "QuantizeLinear" else None
        self._grid = grid
        self._stored = (str(program.view.dtype(group.result)), 0 if grid is None else grid.zero)
        self.end = EpilogueBuilder(program, self.layout, images)

    @property
    def form(self) -> BufferSpec:
        """What kernels see of it: kernels are told at run time which range of a join they write."""
        form = self._value(None).form()
        return form if self.place is None else replace(form, first=None)

    @property
    def batch(self) -> int | None:
        """The number of images, where it is known."""
        return batch_of(self._images)

    def follow(self) -> None:
        """Append what the group's followers do; the chain so far gives the anchor's output."""
        self.end.follow(self._group, self._group.anchor.outputs[0])

    def keeps(self, *values: Value) -> bool:
        """Say whether the followers put elements of `values` on the grid that they come from.

        Then bytes are moved or compared as they are, and `follow` is not called.
        """
        alone = self._grid is not None and len(self._group.followers) == 1
        return alone and all(value.grid == self._grid for value in values)

    def emit_elementwise(self, x: Value) -> None:
        """Leave the chain over `x` to the one convolution that reads its result, or call it."""
        program, chain, tensor = self._program, self.end.chain, self._group.result
        if can_wait(tensor, x, chain, program.view):
            program.leads[id(tensor)] = DeferredPrologue(x, chain, tuple(self.end.args))
            return
        op = Elementwise((x.form(),), ((1, 1, 1),), self.form, chain, self.batch)
        self.emit("elementwise", op, elementwise, [x.expr])

    def emit(self, name: str, op: Any, make: Callable[[Any], Any], args: Sequence[Any]) -> None:
        """Call the kernel `make(op)` on `args` and the chain's operands; it writes the result."""
        program, form = self._program, self.form
        given = [*args, *self.end.args]
        expr = program.call(name, op, make, given, form, self._images, self.place)
        program.define(self._group.result, self._value(expr))

    def _value(self, expr: Any) -> Value:
        shape = (self._images, *self._shape[1:])
        return Value(expr, self.layout, shape, self.spatial, *self._stored)
