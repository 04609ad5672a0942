"""What the process that asks and that of a candidate tell each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Registered:
    """A backend that another module than planish's own registers: where its class is."""

    name: str
    module: str
    qualname: str
    file: str | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a candidate has to do: lower the model for the backend, run it, save it.

    `model`: its file, or one that the backend has saved. `backend` is text with options; `artifact`
    the file to save it to.
    """

    model: str
    backend: str
    target: str
    threads: int | None
    feeds: Sequence[Arrays]
    artifact: str
    registered: Registered | None = None


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The outputs for each feed; `seconds` it took to lower; `saved`: whether the file is there."""

    outputs: Sequence[Arrays]
    seconds: float
    saved: bool


@dataclass(frozen=True)
class NotLowered:
    """Why there is nothing to run."""

    reason: str
