"""A Relax program to a library for the host and a binary for the GPU.

A library of TVM's holds CUDA source where there is no CUDA here, and would want a compiler where it
is loaded. So the two are kept apart: what the host runs, and a *device module*, which is TVM's own
serialized form of kernels with the compiled binary in place of the source:

    format | launch parameters of every kernel | length | code
"""

from __future__ import annotations

import contextlib
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .....ir.core.errors import BackendError
from ...compile.fusion import fused
from ...compile.onnxruntime_calls import nodes_elsewhere
from ...compile.shape_order import relax_pipeline
from ...runtime.built import Built
from ...runtime.threads import run_on
from ..kernels.schedule import schedule_all
from ..spec.gpu import Gpu
from .compiler import compile_cuda

_CALLBACK = "tvm_callback_cuda_compile"
# Its reuse of memory gives a tile of sums the memory of a tile of halves, which code generation in
# TVM 0.27 refuses. Shared memory is reused by a later pass, registers by the CUDA compiler.
_CONFIG = {"tirx.disable_storage_rewrite": True}
_PLACEHOLDER = b"planish: compiled apart"


def build(module: Any, gpu: Gpu) -> Built:
    """Compile `module`; raises BackendError where there is no compiler for CUDA."""
    module = scheduled(module, gpu)
    elsewhere = nodes_elsewhere(module)
    library, source = _compiled(module, gpu)
    if not source:
        return Built(library, elsewhere=elsewhere)
    device = _device_module(library, source, compile_cuda(source, gpu))
    library.mod.imports[0].clear_imports()
    return Built(library, device=device, source=source, elsewhere=elsewhere)


def scheduled(module: Any, gpu: Gpu) -> Any:
    """Return `module` as kernels bound to blocks and threads."""
    import tvm
    from tvm import relax

    def schedule() -> Any:
        target = tvm.target.Target(gpu.describe(), host={"kind": "llvm"})
        with target, tvm.transform.PassContext(3):
            return schedule_all(fused(module, relax.backend.DispatchSortScan()), gpu)

    return run_on(1, schedule)  # constants are folded by running


def kernels_of(module: Any, gpu: Gpu) -> tuple[Any, str]:
    """Return `module` scheduled, and the CUDA source of its kernels."""
    found = scheduled(module, gpu)
    return found, _compiled(found, gpu)[1]


def _compiled(module: Any, gpu: Gpu) -> tuple[Any, str]:
    """Return a library with the kernels of a scheduled `module` as CUDA source, and that source."""
    import tvm

    target = tvm.target.Target(gpu.describe(), host={"kind": "llvm"})
    with target, tvm.transform.PassContext(3, config=_CONFIG), _without_compiling():
        library = tvm.compile(module, target=target, relax_pipeline=relax_pipeline())
    kernels = [found for found in library.mod.imports[0].imports if found.kind == "cuda"]
    return library, str(kernels[0].inspect_source("cuda")) if kernels else ""


@contextlib.contextmanager
def _without_compiling() -> Iterator[None]:
    """Keep TVM from calling a compiler of its own choice, which it does where CUDA is."""
    import tvm_ffi

    before = tvm_ffi.get_global_func(_CALLBACK, allow_missing=True)
    tvm_ffi.register_global_func(_CALLBACK, lambda code: _PLACEHOLDER, override=True)
    try:
        yield
    finally:
        if before is not None:
            tvm_ffi.register_global_func(_CALLBACK, before, override=True)


def _device_module(library: Any, source: str, binary: bytes) -> bytes:
    """Return the device module in `library` with `binary` as its code."""
    with tempfile.TemporaryDirectory(prefix="planish-") as folder:
        path = Path(folder) / "network.so"
        library.export_library(str(path))
        data = path.read_bytes()
    for form, code in ((b"cuda", source.encode()), (b"cubin", _PLACEHOLDER)):
        end = data.find(_string(code))
        begin = data.rfind(_string(form), 0, max(0, end))
        if begin >= 0:
            launches = data[begin + len(_string(form)) : end]
            return _string(b"fatbin") + launches + _string(binary)
    raise BackendError("this TVM serializes CUDA kernels in a form that planish does not know")


def _string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data
