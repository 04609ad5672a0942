"""Measuring on another machine through TVM's RPC tracker: kernels are built here, and run there.

    python -m tvm.exec.rpc_tracker --host 0.0.0.0 --port 9190                           (anywhere)
    python -m tvm.exec.rpc_server --tracker HOST:9190 --key rasp4b                      (the device)
    planish compile MODEL --backend tvm --target cpu{isa=neon} --tune-trials 32 \\
        --tune-remote HOST:9190/rasp4b -o OUT                                           (here)

The key names a type of device, and measurements are kept for it. TVM's servers run whatever they
are sent: they belong in networks where everyone is trusted.
"""

from __future__ import annotations

import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....ir.core.errors import BackendError
from ..compile.kernel import compile_kernel
from ..runtime.linker import link
from ..spec.machine import CpuMachine
from .choice import Choice
from .timing import TimingBench, line_of

_WAIT = 10  # seconds for the tracker to answer, and to give a device
_SESSION = 120  # seconds for all candidates of one operator
_BIG_CORES = 1  # which cores TVM's threads prefer


@dataclass(frozen=True)
class Address:
    """A tracker and the key of its devices, written `host:port/key`."""

    host: str
    port: int
    key: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port/key`; raises BackendError."""
        place, _, key = text.partition("/")
        host, _, port = place.rpartition(":")
        if not host or not key or not port.isdecimal() or not 0 < int(port) < 65536:
            raise BackendError(
                f"tune_remote is '{text}'; write the tracker and the key of the device as "
                "host:port/key, such as 192.168.1.5:9190/rasp4b"
            )
        return cls(host.strip("[]"), int(port), key)

    def __str__(self) -> str:
        """Write the address as `parse` reads it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.key}"


class RemoteMeasurer:
    """A measurer of kernels on a device at `address`, on so many of its `threads`.

    Raises BackendError where the tracker or the device is not there, or stops answering.
    """

    def __init__(self, address: Address, machine: CpuMachine, threads: int, seed: int) -> None:
        self._address = address
        self._machine = machine
        self._threads = threads
        self._seed = seed
        self._count = 0
        self.trouble = ""
        self._tracker = _tracker(address)
        self._check_key()

    def measure(
        self, choice: Choice[Any, Any], op: Any, candidates: list[Any], rounds: int
    ) -> list[float | None]:
        """Return the seconds of the kernel of each candidate, None where it does not run."""
        session = self._session()
        bench = TimingBench(
            lambda kernel: self._sent(session, kernel), session.cpu(0), self._machine, self._seed
        )
        try:
            session.get_function("runtime.config_threadpool")(_BIG_CORES, self._threads)
            for index, candidate in enumerate(candidates):
                kernel = choice.kernel(op, candidate, self._machine)
                bench.add(index, kernel)
            times = bench.times(rounds)
        except BackendError:
            raise
        except Exception as error:  # the session ends with the first thing that fails in it
            raise BackendError(
                f"device '{self._address.key}' of {self._where} failed while kernels ran on it, or "
                f"needed more than {_SESSION} s: {line_of(error)}; what was measured before is "
                "kept: check the device and try again"
            ) from error
        return [times.get(index) for index in range(len(candidates))]

    def close(self) -> None:
        """Leave the tracker."""
        self._tracker.close()

    @property
    def _where(self) -> str:
        return f"the RPC tracker at {self._address.host}:{self._address.port}"

    def _check_key(self) -> None:
        """Refuse a key that no device has: the tracker would let us wait for one for ever."""
        try:
            servers = self._tracker.summary()["server_info"]
        except Exception as error:
            raise _no_tracker(self._address, error) from error
        keys = sorted({server["key"].removeprefix("server:") for server in servers})
        if self._address.key not in keys:
            there = f"it has {', '.join(keys)}" if keys else "it has none at all"
            place = f"{self._address.host}:{self._address.port}"
            raise BackendError(
                f"{self._where} has no device with key '{self._address.key}', {there}; start "
                f"`python -m tvm.exec.rpc_server --tracker {place} --key {self._address.key}` on "
                "the device"
            )

    def _session(self) -> Any:
        self._tracker._sock.settimeout(_WAIT)
        try:
            return self._tracker.request(self._address.key, session_timeout=_SESSION, max_retry=1)
        except Exception as error:
            raise BackendError(
                f"{self._where} gave no device with key '{self._address.key}' within {_WAIT} s: "
                f"{line_of(error)}; all may be in use or gone, try again later"
            ) from error

    def _sent(self, session: Any, kernel: Any) -> Any:
        with tempfile.TemporaryDirectory(prefix="planish-") as folder:
            self._count += 1
            path = Path(folder) / f"kernel{self._count}.so"
            library = compile_kernel(kernel, self._machine, self._threads)
            link(path, self._machine.architecture, [], library)
            session.upload(str(path))
        return session.load_module(path.name)


def _tracker(address: Address) -> Any:
    """Return a session with the tracker; it is looked for first, for TVM would retry a minute."""
    from tvm.rpc import TrackerSession

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_WAIT)
    try:
        socket.create_connection((address.host, address.port)).close()
        return TrackerSession((address.host, address.port))
    except Exception as error:  # what answers there may say anything
        raise _no_tracker(address, error) from error
    finally:
        socket.setdefaulttimeout(before)


def _no_tracker(address: Address, error: Exception) -> BackendError:
    return BackendError(
        f"no RPC tracker answers at {address.host}:{address.port}: {line_of(error)}; start one "
        f"with `python -m tvm.exec.rpc_tracker --port {address.port}`, or correct tune_remote "
        f"'{address}'"
    )
