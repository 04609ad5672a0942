"""Machine code on disk: what is kept is what would be made, and nothing else is ever used."""

from __future__ import annotations

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import planish
from planish.backends.contract.sealed import Seal
from planish.backends.tvm.compile import code_cache
from planish.backends.tvm.compile.code_cache import CodeCache

from tests.backends.tvm.unoptimized import leave_unoptimized
from tests.helpers import graph_of

pytest.importorskip("tvm")

from planish.backends.tvm.backend import _code_folder
from planish.backends.tvm.compile.parts import KernelCompiler
from planish.backends.tvm.compile.pointer_kernels import of_pointers
from planish.backends.tvm.kernels.elementwise import Elementwise, elementwise
from planish.backends.tvm.spec.chain import ChainStep, ConstantInput, ElementwiseChain, StepInput
from planish.backends.tvm.spec.layout import Layout
from planish.backends.tvm.spec.machine import MACHINES

AVX2 = MACHINES["avx2"]
CODE = os.urandom(3000)


@pytest.fixture(autouse=True)
def unoptimized(monkeypatch) -> None:
    """Have LLVM take the code as it is."""
    leave_unoptimized(monkeypatch)


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """The folder that code is kept in, which is not there yet."""
    monkeypatch.setenv("PLANISH_CACHE", str(tmp_path / "measurements.sqlite"))
    monkeypatch.delenv("PLANISH_CODE_CACHE", raising=False)
    return tmp_path / "measurements.sqlite.code"


def network():
    """More kernels than are left in one module."""
    body = "".join(
        f"a{i} = MaxPool <kernel_shape = [{k}, {k}]> (a{i - 1}) "
        for i, k in enumerate((2, 3, 2, 3, 2, 3, 2, 3, 2), start=1)
    )
    return graph_of(f"g (float[1, 4, 30, 30] a0) => (float[1, 4, r, c] a9) {{ {body} }}")


def saved(folder: Path, **options) -> bytes:
    compiled = planish.lower(network(), "tvm", threads=2, **options)
    path = folder.parent / "network.planish"
    compiled.save(path)
    feed = np.arange(3600, dtype=np.float32).reshape(1, 4, 30, 30)
    assert compiled({"a0": feed})["a9"][0, 0, 0, 0] == feed[0, 0, 13, 13]
    return path.read_bytes()


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"))


def forbid_compiling(monkeypatch) -> None:
    """Let no kernel of its own be compiled; the function that calls them is."""
    import tvm

    build = tvm.tirx.build

    def compiled(*given, pipeline=None, **more):
        assert pipeline != "planish-apart", "a kernel is compiled"
        return build(*given, pipeline=pipeline, **more)

    monkeypatch.setattr(tvm.tirx, "build", compiled)


def test_code_of_before_gives_the_same_network(folder, monkeypatch) -> None:
    alone = saved(folder, cache_code=False)
    assert not folder.exists()
    assert saved(folder) == alone
    assert len(entries(folder)) == 11
    forbid_compiling(monkeypatch)
    assert saved(folder) == alone
    with pytest.raises(AssertionError, match="a kernel is compiled"):
        saved(folder, cache_code=False)


def test_a_variable_turns_it_off(folder, monkeypatch) -> None:
    monkeypatch.setenv("PLANISH_CODE_CACHE", "off")
    saved(folder)
    assert not folder.exists()
    for word in ("0", "no", "False", "OFF"):
        monkeypatch.setenv("PLANISH_CODE_CACHE", word)
        assert _code_folder() is None
    for word in ("", "on", "1"):
        monkeypatch.setenv("PLANISH_CODE_CACHE", word)
        assert _code_folder() == folder


def test_a_variable_names_the_folder(folder, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PLANISH_CODE_CACHE", str(tmp_path / "mine"))
    saved(folder)
    assert len(entries(tmp_path / "mine")) == 11
    assert not folder.exists()


def test_a_damaged_file_is_made_anew(folder) -> None:
    alone = saved(folder)
    before = {path: path.read_bytes() for path in entries(folder)}
    first, second, third, fourth, *_ = before
    content = bytearray(before[first])
    content[len(content) // 2] ^= 1
    first.write_bytes(content)
    second.write_bytes(before[second][:-1])
    third.write_bytes(b"")
    fourth.write_bytes(before[first])  # whole, and another kernel's
    assert saved(folder) == alone
    assert {path: path.read_bytes() for path in entries(folder)} == before


def test_no_byte_may_differ(tmp_path) -> None:
    cache = CodeCache(tmp_path)
    cache.put("key", CODE)
    assert cache.get("key") == CODE
    (path,) = entries(tmp_path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        assert cache.get("key") is None, at


def test_a_folder_that_cannot_be_written_costs_nothing_else(folder, monkeypatch) -> None:
    alone = saved(folder, cache_code=False)
    folder.write_text("")
    assert saved(folder) == alone
    assert folder.read_text() == ""


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    cache = CodeCache(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Seal, "write", full)
        cache.put("key", CODE)
    assert entries(tmp_path) == []
    assert cache.get("key") is None
    cache.put("key", CODE)  # it is not tried again by this process
    assert entries(tmp_path) == []


def test_what_was_not_used_for_longest_goes_first(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(code_cache, "_OFTEN", 1)
    cache = CodeCache(tmp_path, limit=10 * len(CODE))
    now = time.time()
    for i in range(9):
        cache.put(f"key{i}", CODE)
        os.utime(tmp_path / f"key{i}.o", (now + i - 100, now + i - 100))
    (tmp_path / "begun.part").write_bytes(b"lately")
    (tmp_path / "left.part").write_bytes(b"long ago")
    os.utime(tmp_path / "left.part", (now - 1e6, now - 1e6))
    (tmp_path / "mine.txt").write_bytes(bytes(100000))
    assert cache.get("key0") == CODE  # it is of use again
    cache.put("last", CODE)
    left = {path.name for path in entries(tmp_path)}
    assert left == {
        "begun.part",
        "mine.txt",
        "last.o",
        "key0.o",
        *(f"key{i}.o" for i in range(4, 9)),
    }


def test_writers_and_readers_meet_whole_files_alone(tmp_path) -> None:
    codes = {f"key{i}": os.urandom(5000) for i in range(4)}

    def work(_: int) -> bool:
        cache = CodeCache(tmp_path)
        for key, code in codes.items():
            cache.put(key, code)
        return all(cache.get(key) == code for key, code in codes.items())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))
    assert {path.name for path in entries(tmp_path)} == {f"{key}.o" for key in codes}


def kernel(bound: float, name: str = "kernel"):
    """Return a kernel that is y = x + bound."""
    spec = Layout.plain(16, 16, ()).spec(())
    steps = (ChainStep("Add", (StepInput(-1), ConstantInput(bound))),)
    function = elementwise(Elementwise((spec,), ((1, 1, 1),), spec, ElementwiseChain(steps), 1))
    return of_pointers(function.with_attr("global_symbol", name))


def symbol(function, machine=AVX2, threads=1) -> str:
    compiler = KernelCompiler(machine, threads)
    found = compiler.begin(function)
    compiler.stop()
    return found.symbol


def test_a_symbol_stands_for_all_that_code_depends_on(monkeypatch) -> None:
    same = symbol(kernel(0.1))
    assert symbol(kernel(0.1, "another")) == same
    nearly = float(np.nextafter(np.float32(0.1), np.float32(1)))
    others = [
        symbol(kernel(nearly)),
        symbol(kernel(0.1), MACHINES["avx512"]),
        symbol(kernel(0.1), threads=2),
    ]
    monkeypatch.setattr("tvm.__version__", "another")
    others.append(symbol(kernel(0.1)))
    assert len({same, *others}) == 5
