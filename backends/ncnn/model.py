"""ncnn's own format: a text of layers, and their weights one after the other.

    7767517
    <layers> <blobs>
    <type> <name> <inputs> <outputs> <input>... <output>... <key>=<value>...

A blob is read once: what several layers read goes through a Split. Weights begin with a word that
says what they are, floats of 32 or 16 bits or bytes, and end where the next four bytes do.

Source: ncnn's "param and model file structure", `ModelBinFromDataReader` and `ParamDict`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Parameter = int | float | Sequence[int] | Sequence[float]

_MAGIC = 7767517
_ARRAY = -23300  # keys of arrays count down from here
_FLOAT32, _FLOAT16, _INT8 = 0, 0x01306B47, 0x000D4B38


@dataclass(frozen=True, kw_only=True)
class NcnnLayer:
    """A layer: its type, what it reads and gives, its parameters by number, and its weights.

    Each of `weights` is an array, and whether a word in front says which type it has.
    """

    type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[int, Parameter] = field(default_factory=dict)
    weights: tuple[tuple[Array, bool], ...] = ()


def text_of(layers: Sequence[NcnnLayer], outputs: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the text of `layers`, in an order in which they run, with the Splits they need.

    `outputs`: blobs that are read from outside; also returned is what they are called there.
    """
    split, named = _with_splits(layers, outputs)
    blobs = sum(len(layer.outputs) for layer in split)
    lines = [str(_MAGIC), f"{len(split)} {blobs}", *map(_line, split)]
    return "\n".join(lines) + "\n", named


def weights_of(layers: Sequence[NcnnLayer], *, half: bool = False) -> bytes:
    """Return the weights of `layers`; `half`: large ones as floats of 16 bits."""
    return b"".join(
        _stored(values, tagged, half) for layer in layers for values, tagged in layer.weights
    )


def _with_splits(
    layers: Sequence[NcnnLayer], outputs: Sequence[str]
) -> tuple[list[NcnnLayer], tuple[str, ...]]:
    counts = Counter(blob for layer in layers for blob in layer.inputs)
    counts.update(outputs)
    taken: Counter[str] = Counter()
    found: list[NcnnLayer] = []

    def reads(blobs: Sequence[str]) -> tuple[str, ...]:
        parts = []
        for blob in blobs:
            parts.append(_part(blob, taken[blob]) if counts[blob] > 1 else blob)
            taken[blob] += 1
        return tuple(parts)

    for layer in layers:
        found.append(replace(layer, inputs=reads(layer.inputs)))
        for blob in layer.outputs:
            if counts[blob] > 1:
                parts = tuple(_part(blob, i) for i in range(counts[blob]))
                found.append(
                    NcnnLayer(type="Split", name=f"split_{blob}", inputs=(blob,), outputs=parts)
                )
    return found, reads(outputs)


def _part(blob: str, index: int) -> str:
    return f"{blob}_{index}"


def _line(layer: NcnnLayer) -> str:
    words = [layer.type, layer.name, str(len(layer.inputs)), str(len(layer.outputs))]
    words += [*layer.inputs, *layer.outputs]
    for key, value in sorted(layer.params.items()):
        if isinstance(value, int | float):
            words.append(f"{key}={_number(value)}")
        else:
            words.append(f"{_ARRAY - key}={','.join(map(_number, [len(value), *value]))}")
    return " ".join(words)


def _number(value: int | float) -> str:
    """Return a number as ncnn reads it: of a float, nine digits in at most 15 characters."""
    return str(value) if isinstance(value, int) else f"{np.float32(value):.8e}"


def _stored(values: Array, tagged: bool, half: bool) -> bytes:
    if values.dtype == np.int8:
        data, tag = values.tobytes(), _INT8
    elif half and tagged:
        data, tag = values.astype(np.float16).tobytes(), _FLOAT16
    else:
        data, tag = values.astype(np.float32).tobytes(), _FLOAT32
    head = int(tag).to_bytes(4, "little") if tagged else b""
    return head + data + bytes(-len(data) % 4)
