"""Settings of the tests of the TVM backend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planish.backends.tvm.backend import Tvm
from planish.backends.tvm.spec.machine import CpuMachine

# Threads that have no work sleep; TVM's own wait takes a core for a millisecond after each call.
os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "0")

# What LLVM makes of the code is part of the subject: the order of loads and stores, bytes, speed.
# Random graphs are optimized too (`optimized`), a dozen of them.
_OPTIMIZED = {
    "compile",
    "profile",
    "test_artifact.py",
    "test_image_sizes.py",
    "test_local.py",
    "test_remote.py",
    "test_tiles.py",
}


def _parts(request: pytest.FixtureRequest) -> set[str]:
    """Return the folders below this one that the test is in, and its file."""
    return set(request.path.relative_to(Path(__file__).parent).parts)


@pytest.fixture(autouse=True, scope="module")
def _kernels_are_compared_where_that_is_tested(request: pytest.FixtureRequest) -> Iterator[None]:
    """Outside `check`, networks are compared as a whole: kernels are not compiled twice."""
    if "check" in _parts(request):
        yield
        return
    lower = Tvm.lower

    def plain(self: Tvm, *args: Any, check_kernels: bool = False, **options: Any) -> Any:
        return lower(self, *args, check_kernels=check_kernels, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tvm, "lower", plain)
        yield


@pytest.fixture(autouse=True, scope="module")
def _llvm_optimizes_where_that_is_tested(request: pytest.FixtureRequest) -> None:
    """Elsewhere it takes the code as it is, in half of the time; not in `make test-slow`."""
    if not _OPTIMIZED & _parts(request):
        request.getfixturevalue("code_as_it_is")


@pytest.fixture
def optimized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have LLVM optimize in this test, as it does for users."""
    llvm = CpuMachine.llvm

    def whole(self: CpuMachine, threads: int) -> dict[str, Any]:
        return {**llvm(self, threads), "opt-level": 3}

    monkeypatch.setattr(CpuMachine, "llvm", whole)
