"""Sleeping until a number in memory changes, and waking who does: Linux's call `futex` itself.

A name in the C library would be one that the linker has to find. Other systems have other calls,
which are no part of what they promise; there, who waits lets others run and looks again.

Source: futex(2) of the Linux manual, FUTEX_WAIT_BITSET and FUTEX_WAKE_BITSET.
"""

from __future__ import annotations

import platform

from ..spec.machine import CpuMachine

_CALLS = {
    "x86_64": (
        'call i64 asm sideeffect "syscall", "={{ax}},{{ax}},{{di}},{{si}},{{dx}},{{r10}},{{r8}},'
        '{{r9}},~{{rcx}},~{{r11}},~{{memory}}"(i64 202, ptr {address}, i64 {operation}, '
        "i64 {value}, i64 0, i64 0, i64 {mask})"
    ),
    "aarch64": (
        'call i64 asm sideeffect "svc #0", "={{x0}},{{x8}},{{x0}},{{x1}},{{x2}},{{x3}},{{x4}},'
        '{{x5}},~{{memory}}"(i64 98, ptr {address}, i64 {operation}, i64 {value}, i64 0, i64 0, '
        "i64 {mask})"
    ),
}
_WAIT, _WAKE = 128 + 9, 128 + 10  # in one process
_COUNT = (1 << 31) - 1
_ALL = (1 << 32) - 1
# The call that lets others run, by system; who waits polls again behind it.
_YIELDS = {"Darwin": "sched_yield", "Windows": "SwitchToThread"}


def wait(machine: CpuMachine, address: str, value: str, mask: str = str(_ALL)) -> str:
    """Return the line of LLVM's that sleeps while the 32 bits at `address` are `value`.

    `mask`: 32 bits, of which a wake must have one too. All are names of registers, or numbers.
    """
    return _CALLS[machine.architecture].format(
        address=address, operation=_WAIT, value=value, mask=mask
    )


def wake(machine: CpuMachine, address: str, mask: str = str(_ALL)) -> str:
    """Return the line of LLVM's that wakes all who sleep at `address` with one bit of `mask`."""
    return _CALLS[machine.architecture].format(
        address=address, operation=_WAKE, value=_COUNT, mask=mask
    )


def yield_of(machine: CpuMachine) -> str | None:
    """Return the function that a thread which waits calls, None where it sleeps by `futex`."""
    system = "Linux" if "linux" in machine.triple else platform.system()
    return None if system == "Linux" else _YIELDS.get(system, "sched_yield")
