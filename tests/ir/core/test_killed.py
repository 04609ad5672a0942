"""Writers that are killed at any moment: what is there is whole, and what they left is removed."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from planish.ir.core import atomic
from planish.ir.core.atomic import replacing

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")

CONTENTS = (b"a" * 300_000, b"b" * 200_000)


def _write_on(path):
    """Write one and the other content until killed."""
    while True:
        for content in CONTENTS:
            with replacing(path) as file:
                for start in range(0, len(content), 50_000):
                    file.write(content[start : start + 50_000])


def _started(path):
    child = os.fork()
    if not child:
        try:
            _write_on(path)
        finally:
            os._exit(1)
    return child


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_what_is_there_is_whole(times, tmp_path, monkeypatch):
    path, rng = tmp_path / "model.onnx", random.Random(0)
    path.write_bytes(CONTENTS[0])
    for _ in range(times):
        children = [_started(path) for _ in range(2)]  # two writers
        time.sleep(rng.uniform(0.001, 0.03))
        for child in children:
            os.kill(child, signal.SIGKILL)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert path.read_bytes() in CONTENTS
    monkeypatch.setattr(atomic, "_FRESH", -1.0)
    with replacing(path) as file:
        file.write(b"after")
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_being_written_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_FRESH", -1.0)
    path = tmp_path / "model.onnx"
    with replacing(path) as first:
        first.write(b"first")
        with replacing(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_may_not_be_locked_yet_stays(tmp_path):
    fresh = tmp_path / ".model.onnx.abc.part"
    fresh.write_bytes(b"")
    with replacing(tmp_path / "model.onnx") as file:
        file.write(b"x")
    assert fresh.exists()
