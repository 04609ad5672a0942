"""Random graphs of five kinds, each valid for ONNX Runtime, from a plain seed or under hypothesis.

`layout`: Transposes around everything that works in some layout. `arithmetic`: sizes computed,
joined, compared and used. `convnet`: the pieces of convolutional networks. `plain`: element-wise
operators, reductions and moves on all types, with extreme values. `mixed`: narrow types, text,
sequences, optional values, subgraphs within subgraphs and functions. A model is drawn node by node,
and every node is run as it is added (see `builder`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy as np
from hypothesis import strategies as st

from . import (
    chains,
    control,
    elementwise,
    idioms,
    movement,
    narrow,
    reductions,
    sequences,
    shapes,
    strings,
    values,
    windows,
)
from .builder import Builder, Step
from .finish import Drawn, finish

__all__ = ["KINDS", "Drawn", "drawn", "graph"]

Inputs = Callable[[Builder], None]

_OPSETS = (9, 10, 11, 12, 13, 13, 14, 15, 16, 17, 17, 18, 18, 19, 20, 20, 21, 22, 23)
_LATE_OPSETS = (11, 13, 14, 15, 16, 17, 18, 19, 20, 20, 21, 21, 21, 22, 23)
_CONTROL: tuple[Step, ...] = (control.if_, control.loop, control.function)


def _sizes(b: Builder, rank: int, *, void: float = 0.04) -> tuple[int, ...]:
    largest = {0: 0, 1: 8, 2: 6, 3: 5, 4: 4, 5: 3, 6: 3}[rank]
    return tuple(0 if b.chance(void) else b.rng.randint(1, largest) for _ in range(rank))


def _layout_inputs(b: Builder) -> None:
    rank = b.pick(0, 1, 2, 2, 3, 3, 4, 4, 4, 4, 5, 6)
    shape = _sizes(b, rank, void=0.02)
    for _ in range(b.rng.randint(1, 2)):
        dtype = b.pick(*[np.dtype(np.float32)] * 5, *values.FLOATS, np.dtype(np.int64))
        b.input(values.ordinary(b.rng, dtype, shape))


def _arithmetic_inputs(b: Builder) -> None:
    for _ in range(b.rng.randint(1, 2)):
        rank = b.pick(1, 2, 3, 3, 4, 4)
        b.input(values.ordinary(b.rng, np.dtype(np.float32), _sizes(b, rank, void=0.05)))
    if b.chance(0.2):
        b.input(np.array(b.pick([2], [1, 2], [3, 1]), np.int64))


def _convnet_inputs(b: Builder) -> None:
    rank = b.pick(1, 2, 2, 2, 2, 3)
    side = {1: 9, 2: 6, 3: 4}[rank]
    sizes = [b.rng.randint(1 if b.chance(0.1) else 3, side) for _ in range(rank)]
    channels = b.pick(1, 2, 3, 4, 4)
    b.input(values.ordinary(b.rng, np.dtype(np.float32), (b.pick(1, 2), channels, *sizes)))


def _plain_inputs(b: Builder) -> None:
    types = (*values.FLOATS, *values.SIGNED, *values.UNSIGNED, values.BOOL)
    main = b.pick(np.dtype(np.float32), *types)
    shape = _sizes(b, b.pick(0, 1, 2, 2, 3, 3, 4, 5, 6))
    b.input(values.ordinary(b.rng, main, shape))
    for _ in range(b.rng.randint(0, 2)):
        kept = tuple(b.pick(1, size) for size in shape)
        dtype = main if b.chance(0.6) else b.pick(*types)
        b.input(values.ordinary(b.rng, dtype, kept if b.chance(0.5) else shape))


def _mixed_inputs(b: Builder) -> None:
    shape = _sizes(b, b.pick(0, 1, 1, 2, 2, 3, 4), void=0.02)
    b.input(values.ordinary(b.rng, np.dtype(np.float32), shape))
    if b.chance(0.4):
        b.input(values.ordinary(b.rng, b.pick(*values.FLOATS, *values.SIGNED), shape))
    if b.chance(0.6):
        b.input(values.ordinary(b.rng, values.TEXT, _sizes(b, b.pick(0, 1, 1, 2, 3))))
    if b.chance(0.4):
        b.input(values.ordinary(b.rng, values.BOOL, b.pick((), (), (1,))))


_ELEMENTWISE: tuple[Step, ...] = (
    elementwise.unary,
    elementwise.unary,
    elementwise.unary,
    elementwise.binary,
    elementwise.binary,
    elementwise.binary,
    elementwise.chain,
    elementwise.several,
    elementwise.compare,
    elementwise.where,
    elementwise.cast,
    elementwise.clipped,
)
_MOVES: tuple[Step, ...] = (
    movement.concat,
    movement.concat,
    movement.split,
    movement.slice_,
    movement.slices_in_a_row,
    movement.pad,
    movement.gather,
    movement.squeeze,
    movement.unsqueeze,
    movement.reshape,
    movement.reshape,
    movement.flatten,
    movement.expand,
    movement.depth_to_space,
    movement.scatter,
    movement.misc,
)
_AXES: tuple[Step, ...] = (
    reductions.reduction,
    reductions.reduction,
    reductions.reduction,
    reductions.argmax,
    reductions.softmax,
    reductions.cumsum,
    reductions.topk,
    reductions.norm,
)
_WINDOWS: tuple[Step, ...] = (
    windows.conv,
    windows.conv_transpose,
    windows.pool,
    windows.resize,
    windows.batchnorm,
    windows.instance_norm,
    windows.matmul,
    windows.gemm,
)
_LAYOUT: tuple[Step, ...] = (
    *[movement.transpose] * 12,
    *[movement.transpose_back] * 10,
    *_ELEMENTWISE,
    *_MOVES,
    *_AXES,
    *_WINDOWS,
    windows.conv,
    windows.pool,
    *chains.MOVED,
    chains.scaled_over_moves,
    chains.block_shuffle,
    idioms.affine,
    idioms.spelled,
    idioms.normalized,
    idioms.no_op,
    idioms.twin,
    elementwise.quantized,
)
_ARITHMETIC: tuple[Step, ...] = (
    *[shapes.shape] * 4,
    *[shapes.gather] * 4,
    *[shapes.slice_] * 3,
    *[shapes.concat] * 4,
    *[shapes.rank] * 3,
    *[shapes.arithmetic] * 4,
    shapes.cast,
    *[shapes.compare] * 2,
    *[shapes.filled] * 2,
    *[shapes.expand] * 3,
    shapes.tile,
    *[shapes.reshape] * 4,
    *[shapes.split_sizes] * 2,
    shapes.use,
    shapes.nonzero,
    chains.by_own_sizes,
    chains.shared_list,
    shapes.scatter,
    movement.reshape,
    movement.flatten,
    movement.transpose,
    movement.concat,
    movement.unsqueeze,
    movement.squeeze,
    elementwise.unary,
    elementwise.binary,
    reductions.reduction,
    idioms.no_op,
    idioms.twin,
)
_CONVNET: tuple[Step, ...] = (
    *[windows.conv] * 5,
    *[windows.conv_transpose] * 2,
    *[windows.pool] * 3,
    *[windows.resize] * 2,
    *[windows.batchnorm] * 3,
    windows.instance_norm,
    windows.matmul,
    windows.gemm,
    *[idioms.block] * 5,
    *[idioms.affine] * 4,
    *[idioms.parallel] * 3,
    *[idioms.residual] * 3,
    *[idioms.squeeze_excite] * 2,
    *[idioms.spelled] * 3,
    idioms.normalized,
    idioms.no_op,
    idioms.twin,
    idioms.head,
    *chains.FOLDED,
    *[elementwise.activation] * 4,
    elementwise.clipped,
    elementwise.quantized,
    movement.concat,
    movement.split,
    movement.slice_,
    *[movement.pad] * 2,
    movement.reshape,
    movement.flatten,
    movement.transpose,
    movement.depth_to_space,
    shapes.reshape,
)
_PLAIN: tuple[Step, ...] = (
    *_ELEMENTWISE * 3,
    *_MOVES,
    *_AXES * 2,
    movement.transpose,
    *[elementwise.bits] * 2,
    elementwise.rounding_idiom,
    elementwise.rounding_idiom,
    elementwise.bfloat,
    chains.cast_back,
    chains.one_activation,
    elementwise.quantized,
    idioms.spelled,
    idioms.spelled,
    idioms.no_op,
    idioms.no_op,
    idioms.twin,
)

_MIXED: tuple[Step, ...] = (
    *_ELEMENTWISE,
    *_MOVES,
    movement.transpose,
    reductions.reduction,
    idioms.spelled,
    idioms.no_op,
    idioms.twin,
    chains.cast_back,
    chains.quantized_twice,
    chains.split_in_sequence,
    chains.joined_in_sequence,
    *[narrow.cast] * 3,
    *[narrow.quantized] * 3,
    *[narrow.weights] * 3,
    *[sequences.sequence] * 6,
    *[sequences.optional] * 3,
    *[strings.moved] * 3,
    *[strings.compared] * 3,
    *[strings.joined] * 3,
    *[strings.matched] * 2,
    *[strings.normalized] * 3,
    *[strings.cast] * 2,
    strings.counted,
    *[control.if_] * 2,
    *[control.loop] * 2,
    *[control.while_] * 2,
    *[control.scan] * 3,
    *[control.function] * 2,
    *[control.nested] * 2,
)

KINDS: dict[str, tuple[Inputs, Sequence[Step]]] = {
    "layout": (_layout_inputs, _LAYOUT),
    "arithmetic": (_arithmetic_inputs, _ARITHMETIC),
    "convnet": (_convnet_inputs, _CONVNET),
    "plain": (_plain_inputs, _PLAIN),
    "mixed": (_mixed_inputs, _MIXED),
}


def graph(kind: str, rng: Random) -> Drawn | None:
    """Return a random graph of `kind`; None where the runtime takes the nodes but not the whole."""
    inputs, steps = KINDS[kind]
    extreme = kind == "plain" and rng.random() < 0.6
    opsets = _LATE_OPSETS if kind == "mixed" else _OPSETS
    b = Builder(rng=rng, opset=rng.choice(opsets), extreme=extreme)
    inputs(b)
    rare = _CONTROL if b.chance(0.25) else ()
    for _ in range(rng.randint(3, 22 if kind == "plain" else 16)):
        (rng.choice(rare) if rare and b.chance(0.2) else rng.choice(steps))(b)
    if b.chance(0.05):
        b.input(values.ordinary(rng, np.dtype(np.float32), (2,)))
    return finish(b)


def drawn(kind: str) -> st.SearchStrategy[Drawn]:
    """Return the strategy of `kind`."""
    made = st.randoms(use_true_random=False).map(lambda rng: graph(kind, rng))
    return made.filter(lambda found: found is not None)
