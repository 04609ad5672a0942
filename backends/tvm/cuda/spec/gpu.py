"""The GPU that code is generated for, and whether there is one here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .....ir.core.errors import BackendError
from .....ir.core.nearest import nearest
from .....ir.core.target import Target

TARGET_OPTIONS = ("arch",)

# What is generated where no GPU says otherwise: its PTX runs on everything newer too.
DEFAULT_ARCH = "sm_80"

ARCHS = (
    "sm_70", "sm_75", "sm_80", "sm_86", "sm_87", "sm_88", "sm_89", "sm_90", "sm_100", "sm_103",
    "sm_110", "sm_120", "sm_121",
)  # fmt: skip


@dataclass(frozen=True)
class Gpu:
    """A generation of GPUs, by the name that CUDA's compilers know it by: `sm_90`."""

    arch: str

    @property
    def number(self) -> str:
        """Compute capability without its point: `90`."""
        return self.arch.removeprefix("sm_")

    def describe(self) -> dict[str, Any]:
        """Return TVM's description of the target. 48 KiB is what a kernel gets without asking."""
        return {
            "kind": "cuda",
            "arch": self.arch,
            "max_threads_per_block": 1024,
            "max_num_threads": 1024,
            "thread_warp_size": 32,
            "max_shared_memory_per_block": 48 << 10,
        }


def gpu_of(target: Target) -> Gpu:
    """Return the GPU that `target` names, or the one here; raises BackendError."""
    given = target.known_options(TARGET_OPTIONS)
    arch = given.get("arch") or arch_here() or DEFAULT_ARCH
    if arch not in ARCHS:
        raise BackendError(f"target '{target}' has the unknown arch '{arch}'{nearest(arch, ARCHS)}")
    return Gpu(arch)


def arch_here() -> str | None:
    """Return the name of the first GPU's generation, or None where no GPU can be used."""
    import tvm

    device = tvm.cuda(0)
    return f"sm_{device.compute_version.replace('.', '')}" if device.exist else None
