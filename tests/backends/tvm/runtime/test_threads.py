"""One pool of helpers in a process, whoever calls which network; forked children answer too."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import planish

from tests.backends.tvm.small_network import conv_relu
from tests.helpers import model_of, relative_error, run_ort

pytest.importorskip("tvm")

from planish.backends.tvm.runtime.threads import Turn, making_code

FEEDS = {"x": np.random.default_rng(1).standard_normal((4, 3, 9, 9)).astype(np.float32)}
# Loaded by itself, as a server would: with what compiles, other libraries' threads would count.
SERVER = """
import os, sys, threading, time
import numpy as np
import planish

path, wanted = sys.argv[1], np.load(sys.argv[2])
networks = [planish.load_compiled(path, backend="tvm", threads=n) for n in (2, 1, 2)]
feeds = {"x": np.load(sys.argv[3])}

def answer(network):
    assert np.allclose(network(feeds)["y"], wanted, rtol=1e-4, atol=1e-4)

def started():
    return len(os.listdir("/proc/self/task"))

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def all_at_once(count):
    threads = [threading.Thread(target=answer, args=(networks[i % 3],)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 60
    while started() > most and time.monotonic() < deadline:
        time.sleep(0.01)
    return started()

answer(networks[0])
most = started()
for _ in range(10):
    all_at_once(8)
before = resident()
for _ in range(100):  # 800 calls
    found = all_at_once(8)
print("threads", found <= most, "memory", resident() - before < 3 << 19)
del networks[2]
answer(networks[0])
child = os.fork()
if child == 0:
    answer(networks[0])
    answer(networks[1])
    other = threading.Thread(target=answer, args=(networks[0],))
    other.start()
    other.join()
    sys.exit(7)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
answer(networks[0])
"""


@pytest.fixture(scope="module")
def model():
    return conv_relu()


def served(script, model, folder):
    """Run `script` in a process of its own, given a compiled network, its result and its feed."""
    planish.lower(planish.load(model), backend="tvm", threads=2).save(folder / "network.planish")
    np.save(folder / "wanted.npy", run_ort(model, FEEDS)["y"])
    np.save(folder / "x.npy", FEEDS["x"])
    files = [str(folder / name) for name in ("network.planish", "wanted.npy", "x.npy")]
    return subprocess.run(
        [sys.executable, "-c", script, *files], capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="/proc is read here")
def test_a_server_with_a_thread_for_each_request_keeps_its_size(model, tmp_path) -> None:
    found = served(SERVER, model, tmp_path)
    assert found.stdout == "threads True memory True\nchild 7\n", found.stderr


# Eight networks, asked from up to eight threads at once: how many threads there are besides. Then
# some are gone, and three processes answer at the same time, each to feeds of its own.
MANY = """
import os, sys, threading, time
import numpy as np
import planish

path, wanted, x = sys.argv[1], np.load(sys.argv[2]), np.load(sys.argv[3])
before = len(os.listdir("/proc/self/task"))
networks = [planish.load_compiled(path, backend="tvm", threads=n) for n in (2, 3, 2, 5, 1, 5, 4, 3)]
feeds = [{"x": x * scale} for scale in (1, -2, 5)]
alone = [networks[4](feed)["y"] for feed in feeds]
assert np.allclose(alone[0], wanted, rtol=1e-4, atol=1e-4)
started = []

def others():
    return len(os.listdir("/proc/self/task")) - before

def wrong(first, times=16):
    found = 0
    for turn in range(first, first + times):
        network, feed = networks[turn % len(networks)], turn % 3
        found += not np.array_equal(network(feeds[feed])["y"], alone[feed])
    started.append(others())
    return found

def all_at_once(count):
    found = []
    asking = [threading.Thread(target=lambda i=i: found.append(wrong(i))) for i in range(count)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    deadline = time.monotonic() + 60  # what has ended may not be gone yet
    while others() > helpers and time.monotonic() < deadline:
        time.sleep(0.01)
    return sum(found), max(started) <= count + helpers, others() == helpers

networks[1](feeds[0])
cores = len(os.sched_getaffinity(0))
helpers = min(3, cores) - 1
print(wrong(0, 3), others() == helpers)  # networks of two threads and three
helpers = min(5, cores) - 1
for count in (2, 8):
    print(*all_at_once(count))
while len(networks) > 3:
    del networks[-1]
    assert not wrong(len(networks), 2)
children = []
for mine in (0, 1):
    children.append(os.fork())
    if not children[-1]:
        other = threading.Thread(target=wrong, args=(mine,))
        other.start()
        found = wrong(mine)
        other.join()
        os._exit(found)
assert not wrong(2)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="/proc is read here")
def test_networks_of_a_process_share_one_pool_and_forked_processes_have_their_own(tmp_path) -> None:
    """Sizes are known, so that all that is computed lies in one memory, which lasts."""
    rng = np.random.default_rng(2)
    model = model_of(
        """g (float[4, 3, 9, 9] x) => (float[4, 8, 9, 9] y) {
            a = Conv<pads = [1, 1, 1, 1]> (x, v)  b = Relu (a)
            c = Conv<pads = [1, 1, 1, 1]> (b, w)  d = Relu (c)  y = Add (d, b) }""",
        {n: rng.standard_normal(s).astype(np.float32) for n, s in
         {"v": (8, 3, 3, 3), "w": (8, 8, 3, 3)}.items()},
    )  # fmt: skip
    found = served(MANY, model, tmp_path)
    lines = ["0 True", "0 True True", "0 True True", "[0, 0]"]
    assert (found.stdout.splitlines(), found.returncode) == (lines, 0), found.stderr


# One call in an arena; sizes that are not known, and a node that ONNX Runtime runs.
KNOWN = """g (float[2, 8, 5, 5] x) => (float[] y) {
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
    b = Softmax(a)
    y = GlobalAveragePool(b)
}"""
OPEN = """g (float[N, 8, 5, 5] x) => (float[] y, float[] z) {
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
    y = LpPool <kernel_shape = [2, 2], p = 3> (a)
    z = InstanceNormalization(a, s, s)
}"""


def other_networks():
    normal = np.random.default_rng(3).standard_normal
    weights = {"w": normal((8, 8, 3, 3)).astype(np.float32)}
    scale = {"s": np.ones(8, np.float32)}
    return model_of(KNOWN, weights), model_of(OPEN, {**weights, **scale})


def test_two_networks_at_once_and_one_after_the_other_is_gone(tmp_path) -> None:
    models = other_networks()
    feeds = [{"x": np.random.default_rng(i).random((2, 8, 5, 5), np.float32)} for i in range(8)]
    wanted = [[run_ort(model, feed) for feed in feeds] for model in models]
    networks = [planish.lower(planish.load(m), backend="tvm", threads=2) for m in models]

    def ask(place: int) -> bool:
        """Ask both networks in turn, the one that half of the threads begin with first."""
        right = True
        for turn in range(20):
            which = (place + turn) % 2
            found = networks[which](feeds[place])
            right &= all(
                relative_error(values, found[name]) <= 1e-5
                for name, values in wanted[which][place].items()
            )
        return right

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [True] * 8
    for freed in (1, 0):  # of either kind
        networks[freed].save(tmp_path / "other")
        other = planish.load_compiled(tmp_path / "other", threads=2)
        other(feeds[0])
        del other
        gc.collect()
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == [True] * 8


def test_an_error_of_a_run_reaches_who_asked_and_no_file(model, tmp_path) -> None:
    """What runs made of the network does not show in its file."""
    network = planish.lower(planish.load(model), backend="tvm", threads=2)
    network.save(tmp_path / "before")
    network(FEEDS)
    network.save(tmp_path / "after")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()
    errors: list[Exception] = []

    def ask() -> None:
        try:
            network({"x": np.zeros((1, 4, 9, 9), np.float32)})
        except planish.PlanishError as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    assert len(errors) == 1


def test_a_child_knows_that_a_run_was_left_in_the_middle() -> None:
    """What the parent's thread was at, the child has not: a machine of its own is made."""
    turn, told = Turn(), Turn()
    with turn:
        child = os.fork()
        if not child:
            with turn:  # free in the child
                right = turn.was_interrupted() and not told.was_interrupted()
                os._exit(0 if right and not turn.was_interrupted() else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert not turn.was_interrupted()


def test_a_fork_waits_for_machine_code() -> None:
    """LLVM's locks would stay taken in the child."""
    begun, children = threading.Event(), []

    def make() -> None:
        with making_code:
            begun.set()
            time.sleep(0.1)
            children.append(None)

    thread = threading.Thread(target=make)
    thread.start()
    begun.wait()
    child = os.fork()
    if not child:
        os._exit(0 if children else 1)
    assert os.waitpid(child, 0)[1] == 0
    thread.join()
