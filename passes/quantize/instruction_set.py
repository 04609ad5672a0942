"""Which products of 8-bit integers the target's instructions get right.

Without a dot-product instruction, x86 multiplies u8 by s8 with VPMADDUBSW, which adds two products
in 16 bits and saturates: 2 * 255 * 127 = 64770 > 32767. Weights of 7 bits cannot reach that:
2 * 255 * 64 = 32640.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, VPMADDUBSW and VPDPBUSD.
"""

from __future__ import annotations

from typing import Final

from ...ir.core.cpu import has_dot_product, is_x86
from ...ir.core.option_text.items import Word, read_items
from .grids.formats import read_format

SAFE_BITS: Final = 7  # of weights

# Dot products into 32 bits: VNNI, which cores with BF16 have too, and AMX on x86; NEON's SDOT and
# plain NEON widen as well.
_EXACT = ("vnni", "bf16", "amx", "neon", "sve", "dotprod")
_SATURATING = ("sse", "avx")


def saturates(target: str) -> bool:
    """Say whether u8 x s8 products saturate in 16 bits on `target`, such as `cpu{isa=avx2}`.

    Without an `isa` it is this machine's CPU. Other kinds of target accumulate in 32 bits. Raises
    PipelineError for a text that is no target.
    """
    item = read_items(target)[0]
    if item.name.text != "cpu":
        return False
    given = {key.text: value.text for key, value in item.options if isinstance(value, Word)}
    isa = given.get("isa", "").lower()
    if isa:
        return isa.startswith(_SATURATING) and not any(name in isa for name in _EXACT)
    return is_x86() and not has_dot_product()


def weight_bits(asked: int | None, *, weights: str, reduce_range: bool | None, target: str) -> int:
    """Return the bits of integer weights: `asked` ones, or those that `quantize` gives them.

    It does on `target`, with the options `weights` and `reduce_range`. Raises RefusedError for what
    is no format.
    """
    if asked is not None:
        return asked
    bits = read_format(weights, "weights", 8).bits
    reduce = saturates(target) if reduce_range is None else reduce_range
    return min(bits, SAFE_BITS) if reduce else bits


def seven_bits(option: str) -> str:
    """Return what to tell where weights got 7 bits for the target's sake; `option` keeps 8."""
    return (
        "this CPU has no dot product of 8-bit integers, and its products saturate in 16 bits; "
        f"weights have 7 bits ({option} keeps 8)"
    )
