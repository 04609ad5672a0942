"""Work in a child: its result, or how it ended, and nothing of it is left."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from planish.ir.core.errors import RefusedError
from planish.tools.reduce.apart import HANGS, OUT_OF_MEMORY, Ended, Limits, run_apart
from planish.tools.reduce.suspects import Wrong

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")


def test_what_is_returned_comes_back():
    found = run_apart(lambda: {"x": np.arange(3), "pid": os.getpid()}, Limits())
    assert found.value["x"].tolist() == [0, 1, 2]
    assert found.value["pid"] != os.getpid()
    assert (found.how, found.error) == ("", "")


def test_an_exception_is_told():
    found = run_apart(lambda: 1 // 0, Limits())
    assert (found.value, found.how) == (None, "raises ZeroDivisionError")
    assert "1 // 0" in found.error


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGFPE"])
def test_a_crash_is_told(name):
    found = run_apart(lambda: os.kill(os.getpid(), signal.Signals[name]), Limits())
    assert (found.value, found.how, found.error) == (None, f"ends with {name}", "")


def test_an_exit_is_told():
    for end in (os._exit, sys.exit):
        for code in (0, 3):
            found = run_apart(functools.partial(end, code), Limits())
            assert found == Ended(how=f"ends with exit code {code}")
    assert run_apart(sys.exit, None).how == "ends with exit code 0"


@pytest.mark.parametrize("limit", [{"seconds": 0}, {"seconds": float("nan")}, {"memory": 0}])
def test_limits_leave_something(limit):
    with pytest.raises(RefusedError, match=f"the limit of {next(iter(limit))} is"):
        Limits(**limit)


def test_limits_beyond_what_the_system_counts_are_none():
    assert run_apart(lambda: 1, Limits(seconds=1e300, memory=10**40)).value == 1


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -1.0])
def test_a_tolerance_lets_something_be_right_or_wrong(tolerance):
    with pytest.raises(RefusedError, match="the tolerance is"):
        Wrong(pipeline="exact", tolerance=tolerance)


def test_what_does_not_end_is_ended_with_its_children(tmp_path):
    def sleep():
        child = subprocess.Popen(["sleep", "60"])
        (tmp_path / "child").write_text(str(child.pid))
        child.wait()

    assert run_apart(sleep, Limits(seconds=1)).how == HANGS
    child = int((tmp_path / "child").read_text())
    for _ in range(100):  # it is init's to reap
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.01)
    pytest.fail("the child of the child is still there")


def test_memory_is_bounded():
    found = run_apart(lambda: np.ones(1 << 28).sum(), Limits(memory=1 << 29))
    assert found.how == OUT_OF_MEMORY
