"""What `torch.compile(..., options={...})` may say to planish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ...backends.contract.registry import get_backend
from ...ir.core.errors import PipelineError
from ...ir.core.kind import kind_of
from ...ir.core.nearest import nearest
from ...passes.pipeline.pipeline import Pipeline

# Those of torch.compile that planish has; others would ask for what it does not do.
_MODES = ("default",)


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """The options of `torch.compile`.

    `pipeline`: passes as text. `runtime`: the backend that runs the result. `threads`: of one
    operator; by default as many as PyTorch has. `feeds`: for passes that learn from samples, in the
    order of the graph's tensors: an iterable of tuples of tensors or arrays. `check`: compare the
    first run with eager PyTorch, and stay there where it differs by more than rounding.
    `lower`: options of the runtime's backend.
    """

    pipeline: str = "exact"
    runtime: str = "onnxruntime"
    threads: int | None = None
    feeds: Any = None
    check: bool = True
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
        if mode is not None and mode not in _MODES:
            raise PipelineError(f"torch.compile's mode is '{mode}'{nearest(mode, _MODES)}")
        found = cls(**(options or {}))
        found._check_types()
        Pipeline.parse(found.pipeline)
        get_backend(found.runtime)
        return found

    def _check_types(self) -> None:
        whole = isinstance(self.threads, int) and not isinstance(self.threads, bool)
        if self.threads is not None and (not whole or self.threads < 1):
            raise PipelineError(
                f"torch.compile's option 'threads' is {self.threads!r}; give 1 or more"
            )
        if not isinstance(self.check, bool):
            raise PipelineError(f"torch.compile's option 'check' is {self.check!r}; give a bool")
        for name, kind in (("pipeline", str), ("runtime", str), ("lower", Mapping)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise PipelineError(f"torch.compile's option '{name}' is {kind_of(value)}")
