"""What a person may say about tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ....ir.core.errors import BackendOptionError

Progress = Callable[[float, str], None]
NAMES = ("tune_trials", "tune_cache", "tune_remote", "tune_seed", "progress")


def silent(fraction: float, word: str) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Tuning:
    """How kernels are chosen by measuring.

    `tune_trials`: candidates for each operator; 0 takes what the cache knows and measures nothing,
    None leaves every choice to the cost model and the cache unread. `tune_cache`: its file;
    default: PLANISH_CACHE, or one in the user's folder for caches. `tune_remote`: measure on a
    device of an RPC tracker, `host:port/key`. `tune_seed` draws candidates. `progress` is told the
    fraction done and what is being measured.
    """

    tune_trials: int | None = None
    tune_cache: str | Path | None = None
    tune_remote: str | None = None
    tune_seed: int = 0
    progress: Progress = silent

    def __post_init__(self) -> None:
        trials = self.tune_trials
        if trials is None:
            for name in ("tune_cache", "tune_remote"):
                if getattr(self, name) is not None:
                    raise BackendOptionError(
                        f"{name} is '{getattr(self, name)}' and nothing is tuned; add tune_trials, "
                        "0 to take only what the cache knows"
                    )
        elif type(trials) is not int or trials < 0:
            raise BackendOptionError(f"tune_trials is {trials!r}; give a whole number, 0 or more")
