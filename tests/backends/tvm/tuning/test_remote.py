"""Measuring through TVM's RPC tracker and server, both of them on loopback."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
import time

import numpy as np
import pytest

import planish
from planish.backends.tvm.runtime import linker
from planish.backends.tvm.tuning import remote
from planish.backends.tvm.tuning.key import key_of
from planish.backends.tvm.tuning.local import without_torch_there
from planish.backends.tvm.tuning.options import Tuning
from planish.backends.tvm.tuning.remote import Address, RemoteMeasurer
from planish.backends.tvm.tuning.tiles import TileChoice
from planish.backends.tvm.tuning.tune import tune
from planish.ir.core.errors import BackendError

from tests.backends.tvm.tuning.common import MACHINE, conv, network
from tests.helpers import relative_error, run_ort

pytest.importorskip("tornado")  # TVM's tracker needs it


@pytest.fixture(scope="module")
def brief_imports():
    """Let the processes that TVM starts find no PyTorch, which takes them seconds to import."""
    with without_torch_there() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def tracker(brief_imports):
    from tvm.rpc.tracker import Tracker

    found = Tracker("127.0.0.1", 9190, 9290, silent=True)
    yield found
    found.terminate()


@pytest.fixture(scope="module")
def server(tracker):
    from tvm.rpc.server import Server

    place = ("127.0.0.1", tracker.port)
    found = Server("127.0.0.1", 9300, 9400, tracker_addr=place, key="board", silent=True)
    wait_until_registered(*place)
    yield found
    found.terminate()


def wait_until_registered(host: str, port: int) -> None:
    from tvm.rpc import connect_tracker

    until = time.monotonic() + 30
    session = connect_tracker(host, port)
    while not session.summary()["server_info"]:
        assert time.monotonic() < until, "the server did not register at the tracker"
        time.sleep(0.05)
    session.close()


@contextlib.contextmanager
def listening(answer: bytes | None):
    """Listen as something that is no tracker: it answers anything with `answer`, or not at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    one, _ = listener.accept()
                    kept.append(one)
                    if answer is not None:
                        one.sendall(answer)

        kept: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        for one in kept:
            one.close()


def test_a_network_is_tuned_on_another_machine(tracker, server, tmp_path) -> None:
    model = network()
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 3, 12, 12)).astype(np.float32)}
    where = f"127.0.0.1:{tracker.port}/board"
    options = {"tune_cache": tmp_path / "c.sqlite", "tune_remote": where}
    tuned = planish.lower(planish.load(model), backend="tvm", threads=1, tune_trials=2, **options)
    assert relative_error(run_ort(model, feeds)["y"], tuned(feeds)["y"]) <= 1e-4


def test_what_a_device_measured_is_kept_for_its_key(tracker, server, tmp_path) -> None:
    where = f"127.0.0.1:{tracker.port}/board"
    tuning = Tuning(3, tmp_path / "c.sqlite", where)
    found = tune([conv()], MACHINE, 1, tuning)
    assert set(found.chosen) == {("tile", conv())}
    elsewhere = Tuning(0, tmp_path / "c.sqlite", "another.example:9190/board")
    assert tune([conv()], MACHINE, 1, elsewhere).chosen == found.chosen
    assert not tune([conv()], MACHINE, 1, Tuning(0, tmp_path / "c.sqlite")).chosen
    assert key_of("tile", conv(), MACHINE, 1, "board") != key_of("tile", conv(), MACHINE, 1, "b")


def test_a_device_measures_every_candidate(tracker, server) -> None:
    measurer = RemoteMeasurer(Address("127.0.0.1", tracker.port, "board"), MACHINE, 1, 0)
    tiles = TileChoice().ranked(conv(), MACHINE)[:3]
    times = measurer.measure(TileChoice(), conv(), tiles, 2)
    measurer.close()
    assert len(times) == 3
    assert all(time is not None and 0 < time < 1 for time in times)


def refused(where: str) -> str:
    with pytest.raises(BackendError) as caught:
        tune([conv()], MACHINE, 1, Tuning(2, "unused", where))
    return str(caught.value)


def refused_with_device(where: str) -> str:
    message = refused(where)
    gc.collect()  # the frames of the error have the device until then
    return message


def test_a_tracker_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    message = refused(f"127.0.0.1:{port}/board")
    assert f"no RPC tracker answers at 127.0.0.1:{port}" in message
    assert "Connection refused" in message
    assert f"127.0.0.1:{port}/board" in message


def test_a_host_that_is_not_there_is_named() -> None:
    assert "no RPC tracker answers at no.such.host.invalid:9190" in refused(
        "no.such.host.invalid:9190/board"
    )


def test_something_else_at_the_port_is_no_tracker() -> None:
    with listening(b"HTTP/1.1 400 Bad Request\r\n") as port:
        assert f"no RPC tracker answers at 127.0.0.1:{port}" in refused(f"127.0.0.1:{port}/board")


def test_something_that_never_answers_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(remote, "_WAIT", 0.3)
    with listening(None) as port:
        message = refused(f"127.0.0.1:{port}/board")
    assert f"no RPC tracker answers at 127.0.0.1:{port}: timed out" in message


def test_an_unknown_key_is_named_with_those_that_are_there(tracker, server) -> None:
    message = refused_with_device(f"127.0.0.1:{tracker.port}/bord")
    assert f"tracker at 127.0.0.1:{tracker.port} has no device with key 'bord'" in message
    assert "it has board" in message
    assert "--key bord" in message


def test_a_device_in_use_is_waited_for_and_given_up(tracker, server, monkeypatch) -> None:
    from tvm.rpc import connect_tracker

    monkeypatch.setattr(remote, "_WAIT", 1)
    holder = connect_tracker("127.0.0.1", tracker.port).request("board")
    message = refused_with_device(f"127.0.0.1:{tracker.port}/board")
    assert "gave no device with key 'board' within 1 s" in message
    assert f"127.0.0.1:{tracker.port}" in message
    del holder


def test_a_device_that_fails_is_named(tracker, server, monkeypatch) -> None:
    def broken(*_):
        raise RuntimeError("the cable is out")

    monkeypatch.setattr(remote.TimingBench, "times", broken)
    message = refused_with_device(f"127.0.0.1:{tracker.port}/board")
    assert "device 'board'" in message
    assert f"127.0.0.1:{tracker.port}" in message
    assert "the cable is out" in message


@pytest.mark.parametrize(
    "text", ["", "board", "host/board", "host:9190", "host:x/board", ":9190/board", "h:99999/k"]
)
def test_what_is_no_address_is_refused(text) -> None:
    assert "host:port/key" in refused(text)


def test_an_address_is_written_as_it_is_read() -> None:
    for text in ("a.example:9190/rasp4b", "[::1]:9190/a/b"):
        assert str(Address.parse(text)) == text


@pytest.mark.slow
def test_a_missing_linker_is_named(tracker, server, monkeypatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(linker.shutil, "which", lambda name: None)
    message = refused_with_device(f"127.0.0.1:{tracker.port}/board")
    assert "there is no linker" in message
    assert "gcc or lld" in message
