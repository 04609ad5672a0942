"""From the kernels of a network to the candidates that measured best."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ....ir.core.cpu import cpu_name
from ....ir.core.errors import BackendError
from ..kernels.settings import Settings
from ..spec.machine import CpuMachine, runs_here
from .cache import Cache, Entry, Key, default_path
from .choice import Choice, candidates
from .columns import ColumnChoice
from .key import key_of
from .options import Tuning
from .tiles import TileChoice

CHOICES: tuple[Choice[Any, Any], ...] = (TileChoice(), ColumnChoice())

_ROUNDS = 10
# What is measured differs by so much for no reason: the cost model's choice stays.
_NOISE = 0.02


class Measurer(Protocol):
    """Times kernels on some device."""

    trouble: str

    def measure(
        self, choice: Choice[Any, Any], op: Any, candidates: list[Any], rounds: int
    ) -> list[float | None]:
        """Return the seconds of the kernel of each candidate, None where it does not run."""

    def close(self) -> None:
        """Let go of the device."""


@dataclass
class TunedChoices:
    """The candidates that were chosen, by kind of choice and operator."""

    chosen: dict[tuple[str, Any], Any] = field(default_factory=dict)

    def of(self, name: str) -> Callable[[Any], Any]:
        """Return what gives the candidate of an operator, None where there is none."""
        return lambda op: self.chosen.get((name, op))

    def settings(self, base: Settings) -> Settings:
        """Return `base` with kernels made as chosen."""
        return replace(
            base, tile_of=self.of(TileChoice.name), columns_of=self.of(ColumnChoice.name)
        )


@dataclass(frozen=True)
class TuningTask:
    """A choice to be made for one operator."""

    choice: Choice[Any, Any]
    op: Any
    key: Key


def tune(ops: Iterable[Any], machine: CpuMachine, threads: int, tuning: Tuning) -> TunedChoices:
    """Return the best candidates for `ops`, from the cache where it knows them.

    What is measured is written at once, so that an interruption loses one operator. Raises
    BackendError where the target cannot be measured.
    """
    trials = tuning.tune_trials
    assert trials is not None
    cache = Cache(tuning.tune_cache or default_path())
    device = _device(machine, tuning)
    found = TunedChoices()
    jobs = _jobs(ops, machine, threads, device)
    waiting = [job for job in jobs if not _recall(cache, job, machine, trials, found)]
    if not waiting or not trials:
        return found
    with closing(_measurer(machine, threads, tuning)) as measurer:
        for done, job in enumerate(waiting):
            tuning.progress(done / len(waiting), f"measuring {job.choice.name} {done + 1}")
            entry = _measure(measurer, job, machine, trials, tuning.tune_seed)
            if entry is not None:
                cache.put(job.key, entry)
                _recall(cache, job, machine, trials, found)
        tuning.progress(1.0, "")
    return found


def _jobs(ops: Iterable[Any], machine: CpuMachine, threads: int, device: str) -> list[TuningTask]:
    return [
        TuningTask(choice, op, key_of(choice.name, op, machine, threads, device))
        for op in ops
        for choice in CHOICES
        if choice.covers(op)
    ]


def _recall(
    cache: Cache, job: TuningTask, machine: CpuMachine, trials: int, found: TunedChoices
) -> bool:
    """Take what the cache knows; say whether it is from as many trials."""
    entry = cache.get(job.key)
    if entry is None or entry.trials < trials:
        return False
    try:
        chosen = job.choice.from_json(entry.candidate, job.op, machine)
    except ValueError:
        return False
    found.chosen[job.choice.name, job.op] = chosen
    return True


def _measure(
    measurer: Measurer, job: TuningTask, machine: CpuMachine, trials: int, seed: int
) -> Entry | None:
    options = candidates(job.choice, job.op, machine, trials, seed)
    times = measurer.measure(job.choice, job.op, options, _ROUNDS)
    ran = [index for index, seconds in enumerate(times) if seconds is not None]
    if not ran:
        warnings.warn(
            f"no candidate for the {job.choice.name} of a kernel could be measured: "
            f"{measurer.trouble or 'no reason is known'}; the cost model chooses",
            stacklevel=2,
        )
        return None

    def handicapped(index: int) -> float:
        seconds = times[index]
        assert seconds is not None
        return seconds if index else seconds * (1 - _NOISE)

    best = min(ran, key=handicapped)
    seconds = times[best]
    assert seconds is not None
    return Entry(job.choice.to_json(options[best]), seconds, trials)


def _device(machine: CpuMachine, tuning: Tuning) -> str:
    """Return the name of what is measured on; raises BackendError where there is nothing."""
    if tuning.tune_remote is not None:
        from .remote import Address

        return str(Address.parse(tuning.tune_remote).key)
    if tuning.tune_trials and not runs_here(machine.isa):
        raise BackendError(
            f"kernels for isa '{machine.isa}' cannot be measured here; name a machine that has it "
            "with tune_remote='host:port/key'"
        )
    return cpu_name()


def _measurer(machine: CpuMachine, threads: int, tuning: Tuning) -> Any:
    if tuning.tune_remote is not None:
        from .remote import Address, RemoteMeasurer

        return RemoteMeasurer(Address.parse(tuning.tune_remote), machine, threads, tuning.tune_seed)
    from .local import LocalMeasurer

    return LocalMeasurer(machine, threads, tuning.tune_seed)
