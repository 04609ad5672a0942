"""CUDA source to a binary, with nvcc or NVRTC.

nvcc's result holds machine code for the architecture asked for, and PTX that the driver of a newer
GPU compiles. Arithmetic is IEEE's: no `--use_fast_math`, which TVM's own call of nvcc has.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path

from .....ir.core.errors import BackendError
from ..spec.gpu import Gpu

_FALLBACK = Path("/usr/local/cuda/bin/nvcc")


def compile_cuda(source: str, gpu: Gpu) -> bytes:
    """Return the binary of `source`; raises BackendError where there is no compiler, or it fails.

    The same source, architecture and compiler give the same bytes.
    """
    nvcc = find_nvcc()
    if nvcc is not None:
        return _by_nvcc(nvcc, source, gpu)
    if importlib.util.find_spec("cuda") and importlib.util.find_spec("cuda.bindings"):
        return _by_nvrtc(source, gpu)
    raise BackendError(
        "target 'cuda' needs a CUDA compiler and finds neither nvcc nor NVRTC; install the CUDA "
        "toolkit with nvcc on PATH, or: pip install cuda-bindings nvidia-cuda-nvrtc"
    )


def find_nvcc() -> str | None:
    """Return the path of nvcc, from PATH or where the toolkit puts it, or None."""
    found = shutil.which("nvcc")
    return found or (str(_FALLBACK) if _FALLBACK.exists() else None)


def _by_nvcc(nvcc: str, source: str, gpu: Gpu) -> bytes:
    number = gpu.number
    with tempfile.TemporaryDirectory(prefix="planish-") as folder:
        # A fixed name in the working directory: the file's path is part of the binary.
        (Path(folder) / "kernels.cu").write_text(source, encoding="utf-8")
        found = subprocess.run(
            [
                nvcc, "--fatbin", "-O3", "-std=c++17",
                "-gencode", f"arch=compute_{number},code=[sm_{number},compute_{number}]",
                "kernels.cu", "-o", "kernels.fatbin",
            ],
            cwd=folder, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        if found.returncode:
            lines = (found.stderr or found.stdout).strip().splitlines()
            reason = next((line for line in lines if "error" in line or "fatal" in line), "")
            raise BackendError(
                f"'{nvcc}' does not compile for arch '{gpu.arch}': {reason or lines[-1:]}; name an "
                "architecture that it knows, as in cuda{arch=sm_80}"
            )
        return (Path(folder) / "kernels.fatbin").read_bytes()


def _by_nvrtc(source: str, gpu: Gpu) -> bytes:
    from tvm.support.nvcc import compile_cuda as by_tvm

    try:
        return bytes(by_tvm(source, "cubin", gpu.arch, compiler="nvrtc"))
    except (RuntimeError, OSError) as error:
        raise BackendError(f"NVRTC does not compile for arch '{gpu.arch}': {error}") from error
