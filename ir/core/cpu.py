"""The CPU here: its name, cores, caches and instructions, as the system tells them."""

from __future__ import annotations

import importlib
import os
import platform
from pathlib import Path

_X86 = frozenset({"x86_64", "amd64", "i386", "i686", "x86"})
_ARM = frozenset({"aarch64", "arm64"})
_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def is_x86() -> bool:
    """Say whether this is an x86 machine."""
    return platform.machine().lower() in _X86


def is_arm() -> bool:
    """Say whether this is a 64-bit ARM machine."""
    return platform.machine().lower() in _ARM


def cpu_name() -> str:
    """Return the name of the CPU."""
    return _told("model name") or platform.processor() or platform.machine()


def cpu_flags() -> set[str]:
    """Return what the CPU says it can do, as Linux names it."""
    flags = _told("flags")
    if flags is None:
        # Without /proc the least that x86-64 machines of the last decade have.
        return {"avx2", "fma"} if platform.machine().lower() in ("x86_64", "amd64") else set()
    return set(flags.split())


def core_numbers() -> list[int]:
    """Return the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


def cache_sizes() -> dict[int, int]:
    """Return the bytes of the first core's data caches by level, where Linux tells them."""
    found = {}
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            kind, level, size = (
                (folder / name).read_text().strip() for name in ("type", "level", "size")
            )
            if kind != "Instruction":
                found[int(level)] = int(size.removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return found


def has_dot_product() -> bool:
    """Say whether the CPU has VNNI (AVX-512 or AVX) or AMX."""
    flags = _told("flags")
    return _numpy_knows_vnni() if flags is None else not _DOT_PRODUCTS.isdisjoint(flags.split())


def _told(name: str) -> str | None:
    """Return what /proc/cpuinfo says of the first core under `name`, None where there is none."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            line = next((line for line in file if line.startswith(name)), "")
    except OSError:
        return None
    return line.partition(":")[2].strip()


def _numpy_knows_vnni() -> bool:
    """Ask numpy, which looks at the CPU on every system."""
    try:
        known = importlib.import_module("numpy._core._multiarray_umath").__cpu_features__
    except (ImportError, AttributeError):  # no public name: another numpy may have none
        return False
    return bool(known.get("AVX512VNNI") or known.get("AVX512_ICL"))
