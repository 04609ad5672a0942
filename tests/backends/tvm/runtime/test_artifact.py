"""Artifacts: whole, or refused before anything of them is used."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnxruntime as ort
import pytest

import planish
from planish.backends.tvm.runtime import artifact
from planish.backends.tvm.spec.machine import ALIGNMENT
from planish.ir.core.errors import BackendError, SaveError

from tests.backends.tvm.small_network import conv_relu
from tests.helpers import model_of

pytest.importorskip("tvm")

START = len(b"planish-tvm-3\n") + 32


@pytest.fixture(scope="module")
def model():
    return conv_relu()


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("tvm") / "network.planish"
    planish.lower(planish.load(model), backend="tvm", threads=1).save(path)
    return path.read_bytes()


def sealed(rest: bytes) -> bytes:
    """Return an artifact of `rest` whose digest is right, as an attacker's would be."""
    return b"planish-tvm-3\n" + hashlib.sha256(rest).digest() + rest


def with_header(data: bytes, change) -> bytes:
    """Return an artifact with a changed header, under a digest that is right."""
    (length,) = struct.unpack("<Q", data[START : START + 8])
    text = data[START + 8 : START + 8 + length]
    changed = change(json.loads(text))
    described = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
    described += b" " * ((length - len(described)) % ALIGNMENT)  # what is aligned stays so
    return sealed(struct.pack("<Q", len(described)) + described + data[START + 8 + length :])


def refused(data: bytes, folder: Path, match: str, monkeypatch) -> None:
    path = folder / "changed.planish"
    path.write_bytes(data)
    # Nothing of a file that is refused is loaded.
    monkeypatch.setattr(artifact, "_library", lambda *_: pytest.fail("code was loaded"))
    with pytest.raises(BackendError, match=match) as caught:
        planish.load_compiled(path, backend="tvm")
    assert str(path) in str(caught.value)


def test_every_changed_bit_is_noticed(saved, tmp_path, monkeypatch) -> None:
    generator = np.random.default_rng(0)
    places = [*range(START), *generator.integers(START, len(saved), 200), len(saved) - 1]
    for place in places:
        data = bytearray(saved)
        data[place] ^= 1 << int(generator.integers(8))
        refused(bytes(data), tmp_path, r"damaged|no network|another version", monkeypatch)


@pytest.mark.parametrize("size", [0, 5, 40, START, START + 4, START + 9, 4000, -1])
def test_a_cut_file_is_refused(saved, tmp_path, size, monkeypatch) -> None:
    refused(saved[:size], tmp_path, r"changed\.planish", monkeypatch)


def test_a_file_with_more_behind_is_refused(saved, tmp_path, monkeypatch) -> None:
    refused(saved + b"\0", tmp_path, "damaged", monkeypatch)


def test_what_an_earlier_version_wrote_is_refused(saved, tmp_path, monkeypatch) -> None:
    data = saved.replace(b"planish-tvm-3", b"planish-tvm-1", 1)
    refused(data, tmp_path, "another version of planish", monkeypatch)


def changed(**entries):
    return lambda head: head | entries


def cut(name: str):
    return lambda head: {key: value for key, value in head.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(tvm="9.1"), "was compiled with TVM 9.1"),
        (changed(architecture="x86_65"), "is code for x86_65"),
        (changed(isa="avx1024"), "isa 'avx1024', which this planish does not know"),
        (changed(arena=1 << 60), "of memory and this machine has"),
        (changed(arena=-1), "damaged"),
        (changed(arena="12"), "damaged"),
        (changed(arena=True), "damaged"),
        (changed(code=1 << 60), "damaged"),
        (changed(code=-1), "damaged"),
        (changed(device=1), "damaged"),
        (changed(constants=[]), "damaged"),
        (changed(constants=None), "damaged"),
        (changed(constants=[{"dtype": "float32", "shape": [1 << 40]}]), "damaged"),
        (changed(constants=[{"dtype": "float32", "shape": [-20, 3]}]), "damaged"),
        (changed(constants=[{"dtype": "object", "shape": [1]}]), "damaged"),
        (changed(constants=[{"dtype": "no such", "shape": [1]}]), "damaged"),
        (changed(inputs=[{"name": "x", "dtype": "float32", "shape": [1.5]}]), "damaged"),
        (changed(inputs=[{"name": 3, "dtype": "float32", "shape": [1]}]), "damaged"),
        (changed(inputs=3), "damaged"),
        (changed(defaults=["x"] * 20), "damaged"),
        (changed(defaults=["no input"]), "damaged"),
        (changed(defaults=[3]), "damaged"),
        (changed(defaults=3), "damaged"),
        (changed(elsewhere="Gather"), "damaged"),
        (changed(elsewhere=[3]), "damaged"),
        *((cut(name), "damaged") for name in ("isa", "inputs", "outputs", "code", "verdict")),
        (lambda head: b"[" * 100_000, "damaged"),
        (lambda head: b"\xff\xfe", "damaged"),
        (lambda head: [], "damaged"),
        (lambda head: b"", "damaged"),
    ],
)
def test_a_header_is_not_believed(saved, tmp_path, monkeypatch, change, message) -> None:
    refused(with_header(saved, change), tmp_path, message, monkeypatch)


def test_what_needs_onnxruntime_says_so(tmp_path, monkeypatch) -> None:
    text = "g (float[4, 3] x, int64[2] at) => (float[2, 3] y) { [taken] y = Gather (x, at) }"
    path = tmp_path / "network.planish"
    compiled = planish.lower(planish.load(model_of(text)), backend="tvm", threads=1)
    assert compiled.remarks[-1].endswith("which runs Gather 'taken'")
    compiled.save(path)
    head = artifact.describe(path)
    assert (head.elsewhere, head.onnxruntime) == (("Gather 'taken'",), ort.__version__)
    assert planish.load_compiled(path, backend="tvm").remarks == compiled.remarks
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name)
    )
    message = f"1 of its nodes to ONNX Runtime.*Gather 'taken'.*made with {ort.__version__}"
    refused(path.read_bytes(), tmp_path, message, monkeypatch)


def test_what_does_not_need_it_does_not_ask(saved, tmp_path, monkeypatch) -> None:
    path = tmp_path / "network.planish"
    path.write_bytes(saved)
    head = artifact.describe(path)
    assert (head.elsewhere, head.onnxruntime) == ((), "")


def test_a_length_beyond_the_file_is_refused(saved, tmp_path, monkeypatch) -> None:
    for length in (1 << 63, len(saved), 2**64 - 1):
        data = sealed(struct.pack("<Q", length) + saved[START + 8 :])
        refused(data, tmp_path, "damaged", monkeypatch)


def test_a_copy_is_of_what_was_loaded(saved, tmp_path) -> None:
    path = tmp_path / "network.planish"
    path.write_bytes(saved)
    loaded = planish.load_compiled(path, backend="tvm", threads=1)
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    os.replace(other, path)
    loaded.save(tmp_path / "again.planish")
    assert (tmp_path / "again.planish").read_bytes() == saved


COMPILER = """#!/bin/sh
for word in "$@"; do
    case "$word" in *.o) test -L "$word" || exit 3;; esac
done
exec g++ "$@"
"""


@pytest.mark.skipif(
    not hasattr(os, "memfd_create") or shutil.which("g++") is None,
    reason="needs Linux, whose files may lie in memory, and g++",
)
def test_object_files_lie_in_memory(model, tmp_path, monkeypatch) -> None:
    """LLVM ends the process where it cannot write one."""
    compiler = tmp_path / "compiler"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    compiled.save(tmp_path / "c.planish")
    feeds = {"x": np.ones((1, 3, 9, 9), np.float32)}
    loaded = planish.load_compiled(tmp_path / "c.planish", backend="tvm", threads=1)
    assert np.array_equal(loaded(feeds)["y"], compiled(feeds)["y"])


def test_no_place_for_temporary_files_is_an_error(model, saved, tmp_path, monkeypatch) -> None:
    path = tmp_path / "network.planish"
    path.write_bytes(saved)
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)

    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(SaveError, match="No space left on device; nothing was left"):
        compiled.save(tmp_path / "c.planish")
    monkeypatch.undo()
    monkeypatch.setattr(artifact.tempfile, "mkstemp", full)
    with pytest.raises(BackendError, match=r"cannot be loaded: .*No space.*TMPDIR"):
        planish.load_compiled(path, backend="tvm", threads=1)
    assert [found.name for found in tmp_path.iterdir()] == ["network.planish"]


def test_what_was_loaded_does_not_change_with_its_file(saved, tmp_path) -> None:
    path = tmp_path / "network.planish"
    path.write_bytes(saved)
    loaded = planish.load_compiled(path, backend="tvm")
    feeds = {"x": np.random.default_rng(1).standard_normal((4, 3, 9, 9)).astype(np.float32)}
    wanted = planish.load_compiled(path, backend="tvm")(feeds)
    with path.open("r+b") as file:
        file.seek(len(saved) // 2)
        file.write(bytes(len(saved) - len(saved) // 2))
    for name, values in loaded(feeds).items():
        np.testing.assert_array_equal(values, wanted[name])
