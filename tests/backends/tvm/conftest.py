"""Settings of the tests of the TVM backend."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from planish.backends.tvm.backend import Tvm
from planish.backends.tvm.spec.machine import CpuMachine

# Threads that have no work sleep; TVM's own wait takes a core for a millisecond after each call.
os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "0")

# What LLVM makes of the code is part of the subject: the order of loads and stores, bytes, speed,
# and graphs of every kind.
_OPTIMIZED = {
    "compile",
    "profile",
    "runtime",
    "tuning",
    "test_backend.py",
    "test_example_networks.py",
    "test_image_sizes.py",
    "test_random_graphs.py",
    "test_tiles.py",
}


@pytest.fixture(autouse=True, scope="module")
def _kernels_are_compared_where_that_is_tested(request: pytest.FixtureRequest) -> Iterator[None]:
    """Outside `check`, networks are compared as a whole: kernels are not compiled twice."""
    if "check" in request.path.parts:
        yield
        return
    lower = Tvm.lower

    def plain(self: Tvm, *args: Any, check_kernels: bool = False, **options: Any) -> Any:
        return lower(self, *args, check_kernels=check_kernels, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tvm, "lower", plain)
        yield


@pytest.fixture(autouse=True, scope="module")
def _llvm_optimizes_where_that_is_tested(request: pytest.FixtureRequest) -> Iterator[None]:
    """Elsewhere it takes the code as it is, in half of the time; not in `make test-slow`."""
    everything = request.config.option.markexpr != "not slow"
    if everything or _OPTIMIZED & set(request.path.parts):
        yield
        return
    llvm = CpuMachine.llvm

    def plain(self: CpuMachine, threads: int) -> dict[str, Any]:
        return {**llvm(self, threads), "opt-level": 0}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CpuMachine, "llvm", plain)
        if platform.system() == "Linux" and shutil.which("ld"):
            _link_instead_of_jit(patch)
        yield


def _link_instead_of_jit(patch: pytest.MonkeyPatch) -> None:
    """Let the linker make what runs: TVM's JIT generates code at its best level in any case."""
    tvm = pytest.importorskip("tvm")
    relax = pytest.importorskip("tvm.relax")
    compile_, start = tvm.compile, relax.VirtualMachine

    def compiled(*given: Any, **options: Any) -> Any:
        found = compile_(*given, **options)
        return SimpleNamespace(mod=_linked(found.mod)) if found.mod.kind == "llvm" else found

    def started(library: Any, *more: Any) -> Any:
        module = getattr(library, "mod", None)
        (code, *others) = list(module.imports) if module else [None]
        if others or code is None or code.kind != "llvm":
            return start(library, *more)  # loaded, or for a GPU
        module.clear_imports()
        module.import_module(_linked(code))
        try:
            return start(library, *more)
        finally:  # what is saved has the object
            module.clear_imports()
            module.import_module(code)

    patch.setattr(tvm, "compile", compiled)
    patch.setattr(relax, "VirtualMachine", started)


def _linked(code: Any) -> Any:
    """Return a module of TVM's `code`, which LLVM has not generated yet, that can be called."""
    import tvm

    with tempfile.TemporaryDirectory() as folder:
        made, library = f"{folder}/code.o", f"{folder}/code.so"
        code.write_to_file(made, "o")
        subprocess.run(["ld", "-shared", "-o", library, made], check=True)
        return tvm.runtime.load_module(library)


@pytest.fixture
def optimized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have LLVM optimize in this test, as it does for users."""
    llvm = CpuMachine.llvm

    def whole(self: CpuMachine, threads: int) -> dict[str, Any]:
        return {**llvm(self, threads), "opt-level": 3}

    monkeypatch.setattr(CpuMachine, "llvm", whole)
