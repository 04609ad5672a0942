"""What `torch.compile(..., options={...})` may say to planish."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch

from ...backends.contract.backend_text import BackendText
from ...backends.contract.registry import get_backend
from ...ir.core.errors import PipelineError
from ...ir.core.kind import kind_of
from ...ir.core.nearest import nearest
from ...passes.pipeline.pipeline import Pipeline

# What modes of torch.compile set. CUDA graphs, which some are named after, have no meaning here;
# what they are for, less work around each call, has.
_MODES: dict[str, dict[str, Any]] = {
    "default": {},
    "reduce-overhead": {"watch": False},
    "max-autotune": {"runtime": "auto"},
    "max-autotune-no-cudagraphs": {"runtime": "auto"},
}

# What `lower` takes that is set by other options, or that planish itself hands over.
_OWN = frozenset({"graph", "backend", "threads", "feeds"})


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """The options of `torch.compile`.

    `pipeline`: passes as text. `runtime`: the backend that runs the result, as text; `auto`
    measures what is installed. `threads`: of one operator; by default as many as PyTorch has.
    `feeds`: for passes that learn from samples, in the order of the graph's tensors: an iterable of
    tuples of tensors or arrays. `check`: compare the first run with eager PyTorch, and stay there
    where it differs by more than rounding. `watch`: look at weights in every call; else those of
    the first call count. `cache`: keep compiled networks on disk: in the usual folder, in the one
    that is named, or not. `lower`: options of the runtime's backend.
    """

    pipeline: str = "exact"
    runtime: str = "onnxruntime"
    threads: int | None = None
    feeds: Any = None
    check: bool = True
    watch: bool = True
    cache: bool | str | os.PathLike[str] = True
    lower: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Mapping[str, Any] | None, mode: str | None) -> CompileOptions:
        """Return the options that were given. Raises PipelineError or BackendError."""
        known = [each.name for each in fields(cls)]
        for name in options or {}:
            if name not in known:
                raise PipelineError(
                    f"torch.compile's options have '{name}', which planish does not know"
                    f"{nearest(name, known)}"
                )
        of_mode = _MODES.get("default" if mode is None else mode)
        if of_mode is None:
            raise PipelineError(f"torch.compile's mode is '{mode}'{nearest(str(mode), _MODES)}")
        for name in of_mode:
            if name in (options or {}):
                raise PipelineError(
                    f"torch.compile's mode '{mode}' sets the option '{name}'; leave one of them out"
                )
        found = cls(**{**of_mode, **(options or {})})
        found._check_types()
        Pipeline.parse(found.pipeline)
        get_backend(BackendText.parse(found.runtime).name)
        if found.feeds is None:
            return found
        # They are read again where weights have changed.
        samples = list(found.feeds)
        _check_samples(samples)
        return replace(found, feeds=samples)

    def _check_types(self) -> None:
        whole = isinstance(self.threads, int) and not isinstance(self.threads, bool)
        if self.threads is not None and (not whole or self.threads < 1):
            raise PipelineError(
                f"torch.compile's option 'threads' is {self.threads!r}; give 1 or more"
            )
        for name in ("check", "watch"):
            if not isinstance(value := getattr(self, name), bool):
                raise PipelineError(f"torch.compile's option '{name}' is {value!r}; give a bool")
        if self.feeds is not None and not isinstance(self.feeds, Iterable):
            raise PipelineError(
                f"torch.compile's option 'feeds' is {kind_of(self.feeds)}; give tuples of tensors"
            )
        if not isinstance(self.cache, bool | str | os.PathLike) or self.cache == "":
            raise PipelineError(
                f"torch.compile's option 'cache' is {self.cache!r}; give a bool, or a folder"
            )
        for name, kind in (("pipeline", str), ("runtime", str), ("lower", Mapping)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise PipelineError(f"torch.compile's option '{name}' is {kind_of(value)}")
        for name in self.lower:
            if not isinstance(name, str) or name in _OWN:
                raise PipelineError(
                    f"torch.compile's option 'lower' has {name!r}; give options of the runtime's "
                    "backend"
                )


def _check_samples(samples: Sequence[Any]) -> None:
    if not samples:
        raise PipelineError("torch.compile's option 'feeds' is empty; give tuples of tensors")
    for index, sample in enumerate(samples):
        if not isinstance(sample, tuple | list) or not sample:
            raise PipelineError(
                f"sample {index} of torch.compile's option 'feeds' is {kind_of(sample)}; give a "
                "tuple of tensors, one for each input"
            )
        for each in sample:
            if not isinstance(each, torch.Tensor) and np.asarray(each).dtype.kind not in "biufc":
                raise PipelineError(
                    f"sample {index} of torch.compile's option 'feeds' has {kind_of(each)}; give "
                    "tensors or arrays of numbers"
                )
