"""Progress bars, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ...passes.engine.records import Progress as Step
from ..supervise import doing
from .time_left import TimeLeft


@contextmanager
def pass_progress(console: Console) -> Iterator[Callable[[Step], None]]:
    """Show a progress bar while passes run; yields the callback for `Pipeline.run`.

    Of a pass that takes long it tells the time left.
    """
    left = TimeLeft()
    with progress_bar(console, "") as update:

        def show(step: Step) -> None:
            update(
                (step.index + step.fraction) / max(step.total, 1),
                " ".join(filter(None, (step.stage, step.name, step.note, left.words(step)))),
            )

        yield show


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar; yields a function of the fraction done and a word about it.

    The word is also what a message says of a process that ends here.
    """
    bar = Progress(
        TextColumn("{task.description:<40}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # else it leaves an empty line in logs
    )
    with bar:
        task = bar.add_task(title, total=1.0)

        def update(fraction: float, word: str) -> None:
            doing(word or title)
            bar.update(task, completed=fraction, description=word or title)

        doing(title)
        yield update


@contextmanager
def status_line(console: Console, title: str) -> Iterator[Callable[[str], None]]:
    """Show a line that changes; yields a function of the next words, as for `progress_bar`."""
    with console.status(title) as status:

        def update(word: str) -> None:
            doing(word)
            status.update(word)

        doing(title)
        yield update
