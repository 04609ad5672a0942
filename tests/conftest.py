"""Settings that all tests share."""

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

# One thread for PyTorch and BLAS, set before they load: tests run side by side, threads that wait
# for each other spin, and sums stay in one order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What goes wrong in a pass fails a test, instead of being rolled back.
os.environ.setdefault("PLANISH_STRICT", "1")

import pytest

from .effort import LONG, examples
from .shared import FOLDER

# Bytecode is kept, also where the environment says not to, as images of containers do: else each
# process that tests start compiles planish anew, and pytest each test file in each run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What is imported stays: no need to look for garbage in it.
gc.disable()

# A shell that runs the tests in the background has them, and what they start, ignore Ctrl-C, which
# some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Give Hypothesis its settings; make the folder that all processes of this run share."""
    from hypothesis import Phase, settings  # pytest compiles it: not before bytecode is kept

    # A mutant is dead at the first example that fails, whether or not there is a smaller one.
    left_out = {Phase.shrink, Phase.explain} if "PLANISH_MUTANTS" in os.environ else set()
    phases = [phase for phase in Phase if phase not in left_out]
    os.environ[LONG] = "" if config.option.markexpr == "not slow" else "1"
    # The same examples in every run: a failure is there to be looked at again.
    settings.register_profile(
        "planish", max_examples=examples(100), derandomize=True, deadline=None, phases=phases
    )
    settings.load_profile("planish")
    if not hasattr(config, "workerinput"):
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="planish-tests-")
        # Kernels are compared once a run, and nothing is left in the user's folder for caches.
        os.environ["PLANISH_CACHE"] = os.path.join(os.environ[FOLDER], "measurements.sqlite")


def pytest_collection_finish() -> None:
    """Look for garbage from here on, in what is made from here on; no thread of ONNX Runtime spins.

    Those that wait for work spin for longer than tests compute, five times what a session costs.
    The reference runs on one: what four share out here is too little.
    """
    import onnxruntime as ort

    from planish.ir.run import reference

    reference._THREADS = 1

    stated = "session.intra_op.allow_spinning", "0"

    class Calm(ort.SessionOptions):
        def __init__(self) -> None:
            super().__init__()
            super().add_session_config_entry(*stated)

        def add_session_config_entry(self, key: str, value: str) -> None:
            if (key, value) != stated:  # ONNX Runtime would warn
                super().add_session_config_entry(key, value)

    ort.SessionOptions = Calm
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)  # graphs of tests are small, and looking costs 4 % of the time
    gc.enable()


@pytest.fixture(scope="module")
def code_as_it_is(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have LLVM leave the code of TVM's networks as it is; not in `make test-slow`."""
    with pytest.MonkeyPatch.context() as patch:
        if request.config.option.markexpr == "not slow" and find_spec("tvm"):
            from .backends.tvm.unoptimized import leave_unoptimized

            leave_unoptimized(patch)
        yield


@pytest.fixture
def brief_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what chooses by latency measure for a fortieth of its time, in this process."""
    from planish.backends.onnxruntime import stopwatch
    from planish.backends.onnxruntime.explain import explain
    from planish.ir.core.errors import ExecutionError
    from planish.passes.analysis import roofline

    for name, value in (("_COPIED", 1 << 22), ("_SECONDS", 0.01), ("_TRIES", 1)):
        monkeypatch.setattr(roofline, name, value)
    for module in (stopwatch, explain):

        def brief(*args: Any, seconds: float, bench: Any = module.bench, **options: Any) -> Any:
            return bench(*args, seconds=seconds / 40, **options)

        monkeypatch.setattr(module, "bench", brief)

    def here(*args: Any, **options: Any) -> Any:
        raise ExecutionError("no process of its own in tests that measure briefly")

    monkeypatch.setattr(stopwatch, "time_apart", here)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it, after the last process has ended."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)
