"""Whether this process may use AMX's tile registers, and whether it still trusts them.

Linux keeps eight kilobytes more of a thread that uses them, and wants to be asked first: once for a
process, by the number of the state, with room for it on every stack that signals are handled on.

Source: Linux, Documentation/arch/x86/xstate.rst.
"""

from __future__ import annotations

import ctypes
import os
import platform
import warnings
from collections.abc import Iterable

_TILES = "amx_tile"  # as Linux names what the CPU has
_ARCH_PRCTL = 158  # the call's number on x86-64
_ARCH_REQ_XCOMP_PERM = 0x1023
_XFEATURE_XTILEDATA = 18


class AmxOffWarning(UserWarning):
    """AMX is not used, though the CPU has it."""


_found: list[str] = []  # why it is off, "" where it is on, once that is known


def withheld(features: Iterable[str]) -> str:
    """Return why `features`, which the CPU has, are not used by this process, else ""."""
    if _TILES not in features:
        return ""
    if not _found:
        _found.append("")
        refusal = ask()
        if refusal:
            turn_off(refusal)
    return _found[0]


def turn_off(reason: str) -> None:
    """Use no tile registers in this process any more, and warn of it."""
    _found[:] = [reason]
    warnings.warn(
        f"AMX is off in this process: {reason}; kernels for isa 'avx512-bf16' are used, as target "
        "'cpu{isa=avx512-bf16}' asks for without this warning",
        AmxOffWarning,
        stacklevel=3,
    )


def ask() -> str:
    """Ask Linux for leave to use tile registers, and return its refusal, else ""."""
    if platform.system() != "Linux":
        return f"there is no way here to ask {platform.system()} for its tile registers"
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    given = (ctypes.c_long(n) for n in (_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA))
    if call(*given) == 0:
        return ""
    return f"Linux refuses its tile registers ({os.strerror(ctypes.get_errno())})"
