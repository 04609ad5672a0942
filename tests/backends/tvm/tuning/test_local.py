"""Measuring in a process of its own: what a candidate does there costs that candidate alone."""

from __future__ import annotations

import sys

import pytest

from planish.backends.tvm.tuning import local
from planish.backends.tvm.tuning.local import LocalMeasurer
from planish.ir.core.errors import BackendError

from tests.backends.tvm.tuning.common import MACHINE, conv

# A module of its own, for the other process has to import the choice by name.
MODULE = '''
import os, sys, time
from planish.backends.tvm.kernels.tile_sizes import RegisterTile
from planish.backends.tvm.tuning.tiles import TileChoice

class Risky(TileChoice):
    """Some candidates crash, hang, or raise, where their kernel is made."""

    def kernel(self, op, candidate, machine):
        if candidate == "crash":
            os.abort()
        if candidate == "hang":
            time.sleep(600)
        if candidate == "raise":
            raise ValueError("there is no such kernel")
        return super().kernel(op, RegisterTile(1, candidate, 1, True), machine)

def imported():
    return sorted({"tvm", "torch"} & set(sys.modules))
'''


@pytest.fixture(scope="module")
def risky(tmp_path_factory):
    folder = tmp_path_factory.mktemp("choice")
    (folder / "risky_choice.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    import risky_choice

    yield risky_choice.Risky()
    sys.path.remove(str(folder))
    del sys.modules["risky_choice"]


@pytest.fixture(scope="module")
def measurer():
    found = LocalMeasurer(MACHINE, 1, 0)
    yield found
    found.close()


def test_a_crash_costs_one_candidate(risky, measurer) -> None:
    found = measurer.measure(risky, conv(), [4, "crash", "raise", 6], 2)
    assert [seconds is not None for seconds in found] == [True, False, False, True]
    assert all(0 < seconds < local._SECONDS for seconds in found if seconds is not None)


def test_what_went_wrong_is_told(risky, measurer) -> None:
    assert measurer.measure(risky, conv(), ["raise"], 2) == [None]
    assert "there is no such kernel" in measurer.trouble


def test_the_process_does_without_torch(risky, measurer) -> None:
    assert measurer._asked(sys.modules["risky_choice"].imported) == ["tvm"]


def test_a_slow_tile_takes_longer(risky, measurer) -> None:
    """One sum in flight waits for itself; twelve fill the pipeline."""
    one, twelve = measurer.measure(risky, conv(size=48, channels=64), [1, 12], 5)
    assert one > twelve


def test_a_missing_package_is_named(monkeypatch) -> None:
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"needs cloudpickle.*planish\[tvm\]"):
        LocalMeasurer(MACHINE, 1, 0)


def test_a_candidate_that_hangs_is_given_up(risky, measurer, monkeypatch) -> None:
    """The last one, for its process is ended and takes a second to start again."""
    assert measurer.measure(risky, conv(), [4], 1)[0] is not None  # imports take their time
    monkeypatch.setattr(local, "_SECONDS", 2.0)
    assert measurer.measure(risky, conv(), ["hang"], 1) == [None]
