"""Steps: what works on text, or makes it."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from . import movement, values
from .builder import Builder

_MOVES = (movement.transpose, movement.reshape, movement.concat, movement.slice_)


def _text(b: Builder) -> str | None:
    return b.tensor(lambda a: a.dtype == values.TEXT)


def moved(b: Builder) -> str | None:
    """Text is moved like anything else."""
    x = _text(b)
    if x is None:
        return None
    return b.rng.choice(_MOVES)(b) if b.chance(0.6) else b.one("Identity", x)


def compared(b: Builder) -> str | None:
    """Equal, and a choice by it."""
    x = _text(b)
    if x is None:
        return None
    other = b.like(x) if b.chance(0.4) else b.operand(x)
    same = b.one("Equal", x, other) if other else None
    if same and b.chance(0.5):
        return b.one("Where", same, *b.rng.sample([x, other], 2))
    return b.one("Not", same) if same and b.chance(0.4) else same


def joined(b: Builder) -> str | None:
    """StringConcat, with a constant or another."""
    x = _text(b)
    if x is None or b.opset < 20:
        return None
    other = b.like(x) if b.chance(0.4) else b.operand(x)
    return b.one("StringConcat", *b.rng.sample([x, other], 2)) if other else None


def matched(b: Builder) -> str | None:
    """RegexFullMatch and StringSplit."""
    x = _text(b)
    if x is None or b.opset < 20:
        return None
    if b.chance(0.6):
        return b.one("RegexFullMatch", x, pattern=b.pick("[a-z]*", "a|b", ".*", "[0-9.]+"))
    delimiter, most = b.pick(None, " ", "a"), b.pick(None, 1, 2)
    found = b.node("StringSplit", [x], outputs=2, delimiter=delimiter, maxsplit=most)
    return b.rng.choice(found) if found else None


def normalized(b: Builder) -> str | None:
    """StringNormalizer, of one axis or of a row; what is left out makes its size unknown."""
    x = b.tensor(lambda a: a.dtype == values.TEXT and a.shape in ((a.size,), (1, a.size)))
    if x is None or b.opset < 10:
        return None
    return b.one(
        "StringNormalizer",
        x,
        case_change_action=b.pick("NONE", "LOWER", "UPPER"),
        is_case_sensitive=b.pick(0, 1),
        stopwords=b.pick(None, ["a", "cat"]),
    )


def cast(b: Builder) -> str | None:
    """Numbers become text, and numbers again; of floats those that no rounding changes.

    Zeros among these have a sign in text, which runs of a Where or a sum do not keep.
    """
    x = b.tensor(lambda a: a.dtype in (np.float32, np.int64, np.int32, np.bool_))
    if x is not None and b.arrays[x].dtype == np.float32:
        x = b.one("Round", x) if b.chance(0.5) else b.rng.choice(list(b.inputs))
    if x is None:
        return None
    array = b.arrays[x]
    if array.dtype == np.float32 and not (np.isfinite(array) & (array != 0)).all():
        return None
    b.fragile |= array.dtype == np.float32
    made = b.one("Cast", x, to=TensorProto.STRING)
    if made is None or b.chance(0.4) or array.dtype == np.bool_:
        return made
    back = TensorProto.FLOAT if array.dtype == np.float32 else TensorProto.INT64
    return b.one("Cast", made, to=back)


def counted(b: Builder) -> str | None:
    """Unique, or the sizes of text."""
    x = _text(b)
    if x is None:
        return None
    if b.chance(0.5) or b.opset < 11:
        return b.one("Shape", x)
    found = b.node("Unique", [x], outputs=b.rng.randint(1, 4), sorted=b.pick(0, 1))
    return b.rng.choice(found) if found else None
