"""Tasks on the machines of a Ray cluster; what measures time on those alone that are tagged for it.

A machine is tagged where it is started with the resource `planish-latency`:

    ray start --address HEAD:6379 --resources '{"planish-latency": 1}'

One task at a time takes it, and none that may run beside others runs meanwhile.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...ir.core.errors import RefusedError
from .task import Outcome, Task, TaskCall, named_files
from .worker import perform

RESOURCE = "planish-latency"
LOCAL = "local"
_PATIENCE = 10.0  # seconds for an address to answer


class RayNodes:
    """Runs tasks on the cluster at `address`; `local` starts one on this machine.

    Raises RefusedError where none answers there, or no machine of it is tagged.
    """

    def __init__(self, address: str) -> None:
        import ray

        self._ray = ray
        here: dict[str, Any] = {"include_dashboard": False, "resources": {RESOURCE: 1}}
        where = here if address == LOCAL else {"address": address}
        try:
            _require_listener(address)
            ray.init(ignore_reinit_error=True, log_to_driver=False, **where)
        except (OSError, RuntimeError, ValueError) as error:
            raise RefusedError(
                f"--ray is '{address}', and no cluster of Ray answers there: {error}; start one "
                "with `ray start --head`, or give 'local'"
            ) from error
        if not ray.cluster_resources().get(RESOURCE):
            raise RefusedError(
                f"no machine of the cluster is tagged to measure time; start one with ray start "
                f"--address {address} --resources '{{\"{RESOURCE}\": 1}}'"
            )
        self._files: dict[Path, Any] = {}
        self._remote = ray.remote(_perform)

    def run(self, tasks: Sequence[Task], folders: Sequence[Path]) -> Iterator[tuple[int, Outcome]]:
        """Yield the outcome of each task as it ends: first those that others may run beside."""
        for exclusive in (False, True):
            chosen = [i for i, task in enumerate(tasks) if task.exclusive is exclusive]
            waiting = {self._submit(tasks[place]): place for place in chosen}
            try:
                while waiting:
                    (done,), _ = self._ray.wait(list(waiting), num_returns=1)
                    place = waiting.pop(done)
                    yield place, self._outcome(done, folders[place])
            finally:
                for left in waiting:
                    self._ray.cancel(left, force=True)

    def _submit(self, task: Task) -> Any:
        named = {name: self._put(path) for name, path in task.files.items()}
        options: dict[str, Any] = {"max_retries": 1}
        if task.exclusive:
            options["resources"] = {RESOURCE: 1}
        names, contents = list(named), list(named.values())
        return self._remote.options(**options).remote(
            task.function, dict(task.options), names, *contents
        )

    def _put(self, path: Path) -> Any:
        if path not in self._files:
            self._files[path] = self._ray.put(path.read_bytes())
        return self._files[path]

    def _outcome(self, done: Any, folder: Path) -> Outcome:
        try:
            found, made = self._ray.get(done)
        except self._ray.exceptions.RayError as error:
            return Outcome(error=f"a machine of the cluster lost it: {_first_line(error)}")
        for name, content in made.items():
            (folder / name).write_bytes(content)
        return Outcome(
            value=found.get("value"),
            error=found.get("error"),
            seconds=found["seconds"],
            files=named_files(folder),
        )


def _require_listener(address: str) -> None:
    """Raise OSError where nothing listens at `address`: Ray tries again for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), _PATIENCE).close()


def _perform(
    function: str, options: Mapping[str, Any], names: Sequence[str], *contents: bytes
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Run a task on a machine of the cluster: files come, and go, as what they hold."""
    with tempfile.TemporaryDirectory(prefix="planish-task-") as name:
        given, out = Path(name) / "given", Path(name) / "out"
        given.mkdir()
        out.mkdir()
        files = {}
        for number, (key, content) in enumerate(zip(names, contents, strict=True)):
            files[key] = given / f"{number}.{key}"
            files[key].write_bytes(content)
        found = perform(function, TaskCall(options, files, out))
        return found, {key: path.read_bytes() for key, path in named_files(out).items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
