"""What was done stays done: a folder that holds the outcomes of tasks, by what they were given.

    key = SHA-256 of the function, the options, the content of the files, the versions

A run that is killed and started again finds what it had, and does the rest: where it decides by
nothing but outcomes, it comes to the same end. That holds of measured times as well, and of the
time that was spent, which goes on from where it stood.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...ir.core.errors import SaveError
from .task import Executor, Outcome, Task, named_files

_LINES = "journal.jsonl"
_OWNER = "process"
_MADE = ".made-"  # folders that tasks write to
_FLOAT = "non-finite"
_LATE = Outcome(error="time was up before it", late=True)

Told = Callable[[Task, Outcome | None], None]


class TaskJournal:
    """Outcomes in `folder`, and `executor`, which is asked for those that are not there.

    `told` is called with each task that starts, and again with its outcome. Raises SaveError where
    the folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        executor: Executor,
        versions: Mapping[str, str],
        told: Told = lambda task, outcome: None,
    ) -> None:
        self.folder = folder
        self._executor = executor
        self._versions = dict(versions)
        self._told = told
        self._digests: dict[tuple[Path, int, int], str] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _take(folder / _OWNER)
            for left in folder.glob(f"{_MADE}*"):  # of a run that was killed
                shutil.rmtree(left, ignore_errors=True)
            self._known = _read(folder / _LINES)
        except OSError as error:
            raise SaveError(
                f"cannot use the folder '{folder}': {error.strerror or error}; the journal of a "
                "search lies beside its output, so name an output where a folder can be made"
            ) from error
        self._spent = max((entry["elapsed"] for entry in self._known.values()), default=0.0)
        self._replayed = 0.0
        self._started: float | None = None

    @property
    def spent(self) -> float:
        """The seconds that what was asked for until now took when it was done."""
        return self._replayed

    @property
    def before(self) -> float:
        """The seconds that earlier runs had taken when the journal was opened."""
        return self._spent

    @property
    def resumes(self) -> int:
        """How many outcomes were there when the journal was opened."""
        return len(self._known)

    def run(self, tasks: Sequence[Task], until: float | None = None) -> list[Outcome]:
        """Return the outcomes of `tasks`, each done now or taken from before.

        After `until` seconds, counted as `spent` is, none is begun: what is not there is `late`.
        """
        keys = [self._key(task) for task in tasks]
        missing = [place for place, key in enumerate(keys) if key not in self._known]
        first = dict.fromkeys(keys[place] for place in missing)
        fresh = [keys.index(key) for key in first]
        if fresh:
            self._do([tasks[place] for place in fresh], list(first), until)
        known = [self._known[key]["elapsed"] for key in keys if key in self._known]
        self._replayed = max([self._replayed, *known])
        return [self._outcome(key) if key in self._known else _LATE for key in keys]

    def _do(self, tasks: Sequence[Task], keys: Sequence[str], until: float | None) -> None:
        if self._started is None:
            self._started = time.monotonic() - self._spent
        if self._is_over(until):
            return
        for task in tasks:
            self._told(task, None)
        with contextlib.ExitStack() as stack:
            made = (tempfile.TemporaryDirectory(dir=self.folder, prefix=_MADE) for _ in tasks)
            folders = [Path(stack.enter_context(each)) for each in made]
            done = self._executor.run(tasks, folders)
            for place, outcome in done:
                self._keep(keys[place], tasks[place], outcome, folders[place])
                self._told(tasks[place], outcome)
                if self._is_over(until):
                    break
            # What an executor began beside it ends with its generator.
            if isinstance(done, Generator):
                done.close()

    def _is_over(self, until: float | None) -> bool:
        assert self._started is not None
        return until is not None and time.monotonic() - self._started >= until

    def _keep(self, key: str, task: Task, outcome: Outcome, made: Path) -> None:
        assert self._started is not None
        place = self.folder / key
        names = sorted(named_files(made))
        if names:
            shutil.rmtree(place, ignore_errors=True)  # of a run that was killed here
            made.rename(place)
        entry = {
            "key": key,
            "what": task.what,
            "value": outcome.value,
            "error": outcome.error,
            "files": names,
            "seconds": outcome.seconds,
            "elapsed": time.monotonic() - self._started,
        }
        self._known[key] = entry
        if outcome.error is not None:
            return  # memory that ran out may be there next time
        with (self.folder / _LINES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_strict(entry), allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _outcome(self, key: str) -> Outcome:
        entry = self._known[key]
        return Outcome(
            value=entry["value"],
            error=entry["error"],
            seconds=entry["seconds"],
            files={name: self.folder / key / name for name in entry["files"]},
        )

    def _key(self, task: Task) -> str:
        told = {
            "function": task.function,
            "options": task.options,
            "files": {name: self._digest(path) for name, path in sorted(task.files.items())},
            "versions": self._versions,
        }
        text = json.dumps(told, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def _digest(self, path: Path) -> str:
        stat = path.stat()
        key = (path, stat.st_mtime_ns, stat.st_size)
        if key not in self._digests:
            with path.open("rb") as file:
                self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[key]


def _take(path: Path) -> None:
    """Write the number of this process to `path`; SaveError where another that runs is there."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        owner = int(path.read_text(encoding="utf-8"))
        if owner != os.getpid() and _runs(owner):
            raise SaveError(
                f"process {owner} works in the folder '{path.parent}'; wait for it, or name "
                "another output"
            )
    path.write_text(str(os.getpid()), encoding="utf-8")


def _runs(process: int) -> bool:
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of a journal by key; what was cut off at its end is left out."""
    found: dict[str, dict[str, Any]] = {}
    if not path.exists():
        return found
    lines = path.read_bytes().split(b"\n")
    whole = b"".join(line + b"\n" for line in lines[:-1])
    if lines[-1]:  # it was killed while it wrote
        path.write_bytes(whole)
    for line in lines[:-1]:
        entry = json.loads(line, object_hook=_loose)
        files = [path.parent / entry["key"] / name for name in entry["files"]]
        if all(file.exists() for file in files):
            found[entry["key"]] = entry
    return found


def _strict(value: Any) -> Any:
    """Return `value` with floats that JSON has no number for as objects, which `_loose` reads."""
    if isinstance(value, dict):
        return {key: _strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    return value


def _loose(found: dict[str, Any]) -> Any:
    return float(found[_FLOAT]) if found.keys() == {_FLOAT} else found
