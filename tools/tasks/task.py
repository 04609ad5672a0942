"""What a piece of work is, what comes of it, and who does it.

A task names a function and gives it options and files; it is all that the function knows, so that
it can run in another process, on another machine, or not at all where it ran before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ...ir.core.errors import PlanishError


class TaskError(PlanishError):
    """A task did not come to its end: what it raised, or how its process ended."""


@dataclass(frozen=True)
class TaskCall:
    """What the function of a task is given: its options, its files, and a folder to write to."""

    options: Mapping[str, Any]
    files: Mapping[str, Path]
    out: Path


@dataclass(frozen=True, kw_only=True)
class Task:
    """A call of `function`, `module:name`, which takes a `TaskCall` and returns what JSON can hold.

    `files` are read alone. `exclusive`: it measures time, and nothing else is to run beside it on
    its machine. `what`: what people are told of it.
    """

    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    exclusive: bool = False
    what: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a task: its `value` and the `files` it wrote, by name, or an `error`.

    `late`: it was not begun, since time was up.
    """

    value: Any = None
    files: Mapping[str, Path] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    late: bool = False

    def require(self) -> Outcome:
        """Return itself. Raises TaskError where the task failed."""
        if self.error is not None:
            raise TaskError(self.error)
        return self


class Executor(Protocol):
    """Runs tasks."""

    def run(self, tasks: Sequence[Task], folders: Sequence[Path]) -> Iterator[tuple[int, Outcome]]:
        """Yield the outcome of each of `tasks`, by its place, as they end.

        The files of each lie in its folder of `folders`, which is there and empty.
        """


def named_files(folder: Path) -> dict[str, Path]:
    """Return the files in `folder`, by name, in order of name."""
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
