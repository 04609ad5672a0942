"""Tensors as they lie in the buffers of a kernel, and back.

What a kernel must not read is filled so that reading it shows: lanes without a channel, and blocks
of a larger buffer that belong to others. What it must not write is looked at afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from ..spec.layout import Array, BufferSpec

_JUNK_BYTE = 0x55
# A NaN with a payload: arithmetic gives others.
_JUNK_BITS = {4: (np.uint32, 0x7FC5A5A5), 2: (np.uint16, 0x7FE5)}


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the numpy type that TVM calls `name`."""
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def junk(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array of what is to be neither read nor written: NaN, or 0x55 in bytes."""
    if dtype.kind in "iu":
        return np.full(shape, _JUNK_BYTE, dtype)
    kind, bits = _JUNK_BITS[dtype.itemsize]
    return np.full(shape, bits, kind).view(dtype)


def laid_out(values: Array, spec: BufferSpec, *, finite: bool = False) -> Array:
    """Return the buffer of `spec` that holds stored `values` [N, C, D, H, W].

    `finite`: lanes without a channel are multiplied by zero, so that they hold no NaN.
    """
    dtype = numpy_dtype(spec.dtype)
    shape = spec.shape3(len(values))
    buffer = np.ones(shape, dtype) if finite else junk(shape, dtype)
    for channels, block in _blocks(buffer, spec):
        block[...] = spec.zero
        _inner(block, spec)[...] = np.moveaxis(values[:, channels], 1, -1)
    return buffer.reshape(spec.shape(len(values)))


def unwritten(spec: BufferSpec, images: int) -> Array:
    """Return the buffer of a result before a kernel writes it."""
    return junk(spec.shape(images), numpy_dtype(spec.dtype))


def read_back(buffer: Array, spec: BufferSpec, images: int) -> Array:
    """Return the stored values [N, C, D, H, W] of a buffer."""
    whole = buffer.reshape(spec.shape3(images))
    shape = (images, spec.channels, *spec.spatial)
    found = np.empty(shape, buffer.dtype)
    for channels, block in _blocks(whole, spec):
        found[:, channels] = np.moveaxis(_inner(block, spec), -1, 1)
    return found


def fault_around(buffer: Array, spec: BufferSpec, images: int) -> str:
    """Say what is wrong around the values: the border, or another's blocks; "" where nothing."""
    whole = buffer.reshape(spec.shape3(images))
    others = np.ones(whole.shape[:2], bool)
    if spec.lanes:
        others[:, spec.first : spec.first + len(spec.blocks)] = False
        if not _same_bits(whole[others], junk(whole[others].shape, whole.dtype)):
            return "it writes blocks that belong to other tensors"
    for _, block in _blocks(whole.copy(), spec):
        _inner(block, spec)[...] = spec.zero
        if not (block == np.asarray(spec.zero, block.dtype)).all():
            return f"the border of its result is not {spec.zero} throughout"
    return ""


def numbers(stored: Array, spec: BufferSpec) -> Array:
    """Return the float32 numbers that stored values stand for."""
    if spec.scale is None:
        return stored.astype(np.float32)
    return (stored.astype(np.int32) - spec.zero).astype(np.float32) * np.float32(spec.scale)


def with_first(spec: BufferSpec, first: int) -> BufferSpec:
    """Return `spec` with the first block that a kernel is told at run time."""
    return replace(spec, first=first)


def _blocks(buffer: Array, spec: BufferSpec) -> Any:
    """Yield the channels of each block and its part of `buffer`, [N, D, H, W, channels]."""
    if not spec.lanes:
        yield slice(0, spec.channels), np.moveaxis(buffer, 1, -1)
        return
    start = 0
    for index, count in enumerate(spec.blocks):
        yield slice(start, start + count), buffer[:, spec.first + index, ..., :count]
        start += count


def _inner(block: Array, spec: BufferSpec) -> Array:
    """Return what of [N, D, H, W, channels] is no border."""
    inside = [
        slice(low, low + size) for size, (low, _) in zip(spec.spatial, spec.halo, strict=True)
    ]
    return block[(slice(None), *inside)]


def _same_bits(a: Array, b: Array) -> bool:
    return a.tobytes() == b.tobytes()
