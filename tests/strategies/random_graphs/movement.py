"""Steps: what moves, joins, cuts and repeats elements and computes none."""

from __future__ import annotations

import math

import numpy as np

from . import spell, values
from .builder import MOST_ELEMENTS, Builder

_INT_MAX, _INT_MIN = 2**63 - 1, -(2**63)


def permutation(b: Builder, rank: int) -> list[int]:
    """Return a permutation: channels last or first most often, else any."""
    if rank > 2 and b.chance(0.6):
        return b.pick([0, *range(2, rank), 1], [0, rank - 1, *range(1, rank - 1)])
    return b.rng.sample(range(rank), rank)


def transpose(b: Builder, x: str | None = None) -> str | None:
    """A Transpose; without permutation now and then, and of rank 0."""
    x = x or b.tensor()
    if x is None:
        return None
    perm = None if b.chance(0.1) else permutation(b, b.arrays[x].ndim)
    return b.one("Transpose", x, perm=perm)


def transpose_back(b: Builder) -> str | None:
    """The inverse of an earlier Transpose, applied to a tensor of its rank."""
    found = [n for n in b.nodes if n.op_type == "Transpose" and n.attribute]
    if not found:
        return transpose(b)
    perm = list(b.rng.choice(found[-2:]).attribute[0].ints)
    x = b.tensor(lambda a: a.ndim == len(perm))
    return b.one("Transpose", x, perm=np.argsort(perm).tolist()) if x else None


def concat(b: Builder) -> str | None:
    """A Concat of one to four tensors or constants, the same one twice now and then."""
    x = b.tensor(lambda a: a.ndim > 0)
    if x is None:
        return None
    array, axis = b.arrays[x], b.axis(x)
    inputs = [x, *(_partner(b, array, axis) or x for _ in range(b.rng.randint(0, 3)))]
    b.rng.shuffle(inputs)
    return b.one("Concat", *inputs, axis=axis)


def _partner(b: Builder, array: np.ndarray, axis: int) -> str | None:
    def rest(shape: tuple[int, ...]) -> list[int]:
        return [size for i, size in enumerate(shape) if i != axis % array.ndim]

    if b.chance(0.2):
        shape = list(array.shape)
        shape[axis] = b.rng.randint(0, 3)
        return b.constant(values.ordinary(b.rng, array.dtype, tuple(shape)))
    return b.tensor(
        lambda a: (
            a.dtype == array.dtype and a.ndim == array.ndim and rest(a.shape) == rest(array.shape)
        )
    )


def split(b: Builder) -> str | None:
    """A Split into one to three, evenly or not, parts of size 0 among them."""
    x = b.tensor(lambda a: a.ndim > 0)
    if x is None:
        return None
    axis, count = b.axis(x), b.rng.randint(1, 3)
    size = b.arrays[x].shape[axis]
    cuts = sorted(b.rng.randint(0, size) for _ in range(count - 1))
    sizes = [j - i for i, j in zip([0, *cuts], [*cuts, size], strict=True)]
    made = spell.split(b, x, axis, sizes, even=b.chance(0.5))
    return b.rng.choice(made) if made else None


def slice_(b: Builder) -> str | None:
    """A Slice of some axes, with negative and far ends and steps of either sign."""
    x = b.tensor(lambda a: a.ndim > 0)
    if x is None:
        return None
    array = b.arrays[x]
    axes = b.rng.sample(range(array.ndim), b.rng.randint(1, array.ndim))
    starts, ends, steps = [], [], []
    for axis in axes:
        size = array.shape[axis]
        step = b.pick(1, 1, 1, 2, 3, -1, -2) if b.opset >= 10 else 1
        first, last = sorted(b.rng.randint(0, size) for _ in range(2))
        start, end = b.pick((first, last), (first, size), (0, last), (0, _INT_MAX), (1, 2**31 - 1))
        if step < 0:
            start, end = b.pick((size - 1, -size - 1), (_INT_MAX, _INT_MIN), (last - 1, first))
        elif b.chance(0.2):
            start, end = start - size, end if end > size else end - size
        starts.append(start)
        ends.append(end)
        steps.append(step)
    named = None if axes == list(range(len(axes))) and b.chance(0.4) else axes
    if named and b.opset >= 11 and b.chance(0.3):
        named = [axis - array.ndim for axis in named]
    return spell.slice_(b, x, starts, ends, named, None if set(steps) == {1} else steps)


def slices_in_a_row(b: Builder) -> str | None:
    """Two Slices, one behind the other."""
    slice_(b)
    return slice_(b)


def pad(b: Builder) -> str | None:
    """A Pad in any mode, by no, positive and now and then negative amounts."""
    x = b.tensor(lambda a: a.ndim > 0 and a.size < 500 and a.dtype != values.BFLOAT16)
    if x is None:
        return None
    array = b.arrays[x]
    mode = b.pick("constant", "constant", "reflect", "edge")
    low = -1 if b.chance(0.1) else 0
    amounts = [b.rng.randint(low, 2) if b.chance(0.4) else 0 for _ in range(2 * array.ndim)]
    if mode == "reflect":
        rank = array.ndim
        amounts = [min(v, max(array.shape[i % rank] - 1, 0)) for i, v in enumerate(amounts)]
    value = None
    if mode == "constant" and b.chance(0.5):
        value = values.special(b.rng, array.dtype, extreme=b.extreme)
    return spell.pad(b, x, amounts, mode, value)


def gather(b: Builder) -> str | None:
    """A Gather by a scalar, a list or a table of indices of either sign.

    Not of text: ONNX Runtime takes one element where it is to take a row.
    """
    x = b.tensor(lambda a: a.ndim > 0 and a.size > 0 and a.dtype != values.TEXT)
    if x is None:
        return None
    axis = b.axis(x)
    size = b.arrays[x].shape[axis]
    shape = b.pick((), (1,), (2,), (size,), (2, 2))
    if b.arrays[x].size // size * math.prod(shape) > MOST_ELEMENTS:
        return None
    low = -size if b.opset >= 11 else 0
    count = math.prod(shape)
    chosen = list(range(size)) if shape == (size,) and b.chance(0.5) else []
    chosen = chosen or [b.rng.randint(low, size - 1) for _ in range(count)]
    dtype = b.pick(np.int64, np.int64, np.int32)
    return b.one("Gather", x, b.constant(np.array(chosen, dtype).reshape(shape)), axis=axis)


def squeeze(b: Builder) -> str | None:
    """A Squeeze of some axes of size 1, or all."""
    x = b.tensor(lambda a: 1 in a.shape)
    if x is None:
        return None
    ones = [axis for axis, size in enumerate(b.arrays[x].shape) if size == 1]
    axes = b.rng.sample(ones, b.rng.randint(1, len(ones)))
    return spell.squeeze(b, x, None if b.chance(0.2) else axes)


def unsqueeze(b: Builder) -> str | None:
    """An Unsqueeze of one or two axes."""
    x = b.tensor(lambda a: a.ndim < 6)
    if x is None:
        return None
    rank = b.arrays[x].ndim + b.pick(1, 1, 2)
    axes = b.rng.sample(range(rank), rank - b.arrays[x].ndim)
    return spell.unsqueeze(b, x, [a - rank if b.chance(0.3) else a for a in axes])


def reshape(b: Builder) -> str | None:
    """A Reshape that splits, merges or reorders sizes, with 0 and -1 where they may stand."""
    x = b.tensor()
    if x is None:
        return None
    shape = b.arrays[x].shape
    target = _regrouped(b, list(shape))
    attrs = {}
    if 0 in target:
        attrs = {"allowzero": 1} if b.opset >= 14 and b.chance(0.5) else {}
    else:
        for i, size in enumerate(target):
            if i < len(shape) and shape[i] == size and b.chance(0.3):
                target[i] = 0
        if target and b.chance(0.5) and math.prod(shape):
            target[b.rng.randrange(len(target))] = -1
    return b.one("Reshape", x, b.ints(target), **attrs)


def _regrouped(b: Builder, target: list[int]) -> list[int]:
    for _ in range(b.rng.randint(1, 2)):
        match b.rng.randrange(5):
            case 0 if len(target) > 1:
                at = b.rng.randrange(len(target) - 1)
                target[at : at + 2] = [target[at] * target[at + 1]]
            case 1 if target and len(target) < 6:
                at = b.rng.randrange(len(target))
                divisors = [d for d in range(1, target[at] + 1) if target[at] % d == 0] or [1]
                divisor = b.rng.choice(divisors)
                target[at : at + 1] = [divisor, target[at] // divisor]
            case 2:
                target = [math.prod(target)]
            case 3 if len(target) < 6:
                target.insert(b.rng.randint(0, len(target)), 1)
            case _:
                b.rng.shuffle(target)
    return target


def flatten(b: Builder) -> str | None:
    """A Flatten at any axis, its ends among them."""
    x = b.tensor()
    if x is None:
        return None
    rank = b.arrays[x].ndim
    low = -rank if b.opset >= 11 else 0
    return b.one("Flatten", x, axis=None if b.chance(0.2) else b.rng.randint(low, rank))


def expand(b: Builder) -> str | None:
    """An Expand or a Tile."""
    x = b.tensor(lambda a: a.size <= 300)
    if x is None:
        return None
    shape = b.arrays[x].shape
    if b.chance(0.4) and shape:
        return b.one("Tile", x, b.ints([b.pick(1, 1, 2, 0) for _ in shape]))
    target = [b.rng.randint(0, 3) if size == 1 and b.chance(0.5) else size for size in shape]
    target = [b.pick(1, size) for size in target]
    lead = [b.rng.randint(1, 2)] if len(target) < 6 and b.chance(0.3) else []
    return b.one("Expand", x, b.ints([*lead, *target]))


def depth_to_space(b: Builder) -> str | None:
    """DepthToSpace or SpaceToDepth."""
    x = b.floating(4, 4)
    if x is None:
        return None
    if b.chance(0.5):
        return b.one("SpaceToDepth", x, blocksize=2)
    mode = b.pick(None, "DCR", "CRD") if b.opset >= 11 else None
    return b.one("DepthToSpace", x, blocksize=2, mode=mode)


def scatter(b: Builder) -> str | None:
    """ScatterElements or ScatterND of one row."""
    x = b.tensor(lambda a: a.ndim > 0 and a.size > 0)
    if x is None or b.opset < 11:
        return None
    array = b.arrays[x]
    index = b.ints([[b.rng.randrange(array.shape[0])]])
    update = b.constant(values.ordinary(b.rng, array.dtype, (1, *array.shape[1:])))
    return b.one("ScatterND", x, index, update)


def misc(b: Builder) -> str | None:
    """Trilu, OneHot, Compress, GatherElements, ReverseSequence, EyeLike, Einsum."""
    x = b.tensor(lambda a: a.ndim > 1)
    if x is None:
        return None
    array = b.arrays[x]
    match b.rng.randrange(4):
        case 0:
            return b.one("Trilu", x, *([b.ints(b.pick(-1, 0, 1))] if b.chance(0.5) else []))
        case 1:
            keep = b.constant(np.arange(array.shape[0]) % 2 == 0)
            return b.one("Compress", x, keep, axis=0)
        case 2 if array.size:
            index = b.ints(np.zeros(array.shape, np.int64) - b.pick(0, 1))
            return b.one("GatherElements", x, index, axis=b.axis(x))
        case _:
            letters = "abcdef"[: array.ndim]
            return b.one(
                "Einsum", x, equation=f"{letters}->{''.join(b.rng.sample(letters, len(letters)))}"
            )
