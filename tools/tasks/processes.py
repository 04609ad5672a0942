"""Tasks in processes of this machine: what measures time runs alone, the others beside another."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from ...backends.timing.processes import command_of
from .task import Outcome, Task, named_files
from .worker import JOB, RESULT

_PROGRAM = f"{__package__}.worker"
_LAST = 300  # characters of what a process printed that ended without an answer


class LocalProcesses:
    """Runs each task in a process of its own, at most `count` at once."""

    def __init__(self, count: int = 1) -> None:
        self._count = count
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(self, tasks: Sequence[Task], folders: Sequence[Path]) -> Iterator[tuple[int, Outcome]]:
        """Yield the outcome of each task as it ends: first those that others may run beside."""
        alone = [place for place, task in enumerate(tasks) if task.exclusive]
        shared = [place for place, task in enumerate(tasks) if not task.exclusive]
        pool = ThreadPoolExecutor(max_workers=self._count)
        try:
            waiting: dict[Future[Outcome], int] = {
                pool.submit(self._one, tasks[place], folders[place]): place for place in shared
            }
            while waiting:
                for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(done), done.result()
            for place in alone:
                yield place, self._one(tasks[place], folders[place])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(self._running):
                process.kill()

    def _one(self, task: Task, out: Path) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="planish-task-") as name:
            folder = Path(name)
            files = {key: str(path.resolve()) for key, path in task.files.items()}
            told = {
                "function": task.function,
                "options": dict(task.options),
                "files": files,
                "out": str(out.resolve()),
            }
            (folder / JOB).write_text(json.dumps(told), encoding="utf-8")
            log = folder / "log"
            with log.open("wb") as printed:
                process = subprocess.Popen(
                    command_of(_PROGRAM, name),
                    stdin=subprocess.PIPE,
                    stdout=printed,
                    stderr=printed,
                )
                self._running.add(process)
                try:
                    code = process.wait()
                finally:
                    process.kill()
                    process.wait()
                    self._running.discard(process)
            answer = folder / RESULT
            if not answer.exists():
                return Outcome(error=_how_it_ended(code, log))
            found = json.loads(answer.read_text(encoding="utf-8"))
        return Outcome(
            value=found.get("value"),
            files=named_files(out),
            seconds=found["seconds"],
            error=found.get("error"),
        )


def _how_it_ended(code: int, log: Path) -> str:
    how = f"with exit code {code}" if code >= 0 else f"by a signal: {signal.strsignal(-code)}"
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return f"its process ended {how}" + (f": {last[-_LAST:]}" if last else "")
