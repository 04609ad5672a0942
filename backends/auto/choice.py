"""What was measured, and what was taken."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from typing import Any

from ...ir.core.counted import counted
from ...ir.core.cpu import cpu_name
from ...ir.core.extras import installed_version

_PACKAGES = ("onnxruntime", "openvino", "apache-tvm", "ncnn", "ai-edge-litert", "tensorrt", "numpy")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The time of a candidate by that of another, `beside`, with a 95 % bound on either side."""

    beside: str
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        """Write it as `0.52 of tvm (0.51 to 0.53)`."""
        return f"{self.ratio:.2f} of {self.beside} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One backend with options, and what was found of it.

    `seconds` of a run; `error`: the largest of its outputs, by their range. `compared`: with what
    it was timed in turns, as the challenger; nothing where it was the first. `refused`: why it
    cannot be taken, "" where it can.
    """

    backend: str
    seconds: float | None = None
    error: float | None = None
    compared: tuple[Compared, ...] = ()
    lowering_seconds: float | None = None
    refused: str = ""

    def __str__(self) -> str:
        """Write it in a line."""
        if self.refused or self.seconds is None:
            return f"{self.backend}: {self.refused}"
        return ", ".join([f"{self.backend}: {1e3 * self.seconds:.3g} ms", *map(str, self.compared)])


@dataclass(frozen=True, kw_only=True)
class RuntimeChoice:
    """The `backend` that was taken, as text that lowers so again, and how it was found.

    `candidates` in the order in which they were tried. `inputs`: shapes that were measured.
    `replayed`: the file or text that it was taken from, where nothing was measured now.
    """

    backend: str
    target: str
    threads: int | None
    candidates: tuple[Candidate, ...] = ()
    inputs: dict[str, list[int]] = field(default_factory=dict)
    note: str = ""
    cpu: str = field(default_factory=cpu_name)
    versions: dict[str, str] = field(default_factory=lambda: installed_versions())
    replayed: str = ""

    def lines(self) -> list[str]:
        """Say what was taken and, candidate by candidate, why."""
        if self.replayed:
            head = f"backend {self.backend}, as chosen in {self.replayed}"
            return [head, *self._moved()]
        right = sum(not each.refused for each in self.candidates)
        head = f"backend {self.backend}, the fastest of {right} that are right"
        shapes = ", ".join(f"{name} {sizes}" for name, sizes in self.inputs.items())
        where = f"measured on {shapes or 'no inputs'} with {self._threads()} on {self.cpu}"
        return [head, where, *filter(None, [self.note]), *map(str, self.candidates)]

    def _threads(self) -> str:
        if self.threads is None:
            return "threads of the backend's choice"
        return counted(self.threads, "thread")

    def _moved(self) -> list[str]:
        """Say what is other than where it was measured."""
        now, here = installed_versions(), cpu_name()
        told = [] if here == self.cpu else [f"it was measured on {self.cpu}, and this is {here}"]
        for name, version in self.versions.items():
            if now.get(name) != version:
                told.append(
                    f"it was measured with {name} {version}; here is {now.get(name, 'none')}"
                )
        return told

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> RuntimeChoice:
        """Return what `as_json` has written. Raises TypeError or KeyError for anything else."""
        return cls(**{**told, "candidates": tuple(map(_candidate, told["candidates"]))})


def _candidate(told: dict[str, Any]) -> Candidate:
    return Candidate(**{**told, "compared": tuple(Compared(**c) for c in told["compared"])})


def installed_versions() -> dict[str, str]:
    """Return the versions of what candidates run on."""
    known = {name: installed_version(name) for name in _PACKAGES}
    found = {name: version for name, version in known.items() if version}
    return {**found, "python": platform.python_version()}
