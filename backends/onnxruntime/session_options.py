"""Session options and execution providers of ONNX Runtime, by target."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import onnxruntime as ort

from ...ir.core.errors import BackendError, BackendOptionError
from ...ir.core.nearest import nearest
from ...ir.core.target import Target
from ...ir.run.open_session import DISABLED_OPTIMIZERS
from ..contract.threads import require_threads

Optimization = Literal["all", "extended", "basic", "none"]

LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
# Each target's own execution provider first, then what takes over operators it has no kernel for.
PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}
_INSTALL = {
    "cuda": "install the CUDA build: pip install onnxruntime-gpu",
    "tensorrt": "install the CUDA build, pip install onnxruntime-gpu, and TensorRT",
}


@dataclass(frozen=True)
class SessionSettings:
    """What ONNX Runtime is told beside threads.

    `optimization`: how much it optimizes itself; without "all" the layout stays N C H W.
    `spinning`: whether threads that wait for work within a run spin, which other programs notice.
    `pointwise_batch`: input channels that a pointwise convolution of blocked layout takes at once;
    0 for its own choice. `disabled_optimizers`: those of its graph optimizers to leave out.
    """

    optimization: Optimization = "all"
    spinning: bool = True
    pointwise_batch: int = 0
    disabled_optimizers: tuple[str, ...] = ()

    @classmethod
    def of(cls, **given: Any) -> SessionSettings:
        """Return what a person has given, checked. Raises BackendOptionError."""
        disabled = given.get("disabled_optimizers", ())
        names = [disabled] if isinstance(disabled, str) else list(disabled)
        if not all(isinstance(name, str) and name.isidentifier() for name in names):
            raise BackendOptionError(
                f"disabled_optimizers is {disabled!r}; give their names, such as TransposeOptimizer"
            )
        if given.get("optimization", "") is None:  # the word `none`, where options are text
            given["optimization"] = "none"
        found = cls(**{**given, "disabled_optimizers": tuple(names)})
        if found.optimization not in LEVELS:
            hint = nearest(str(found.optimization), get_args(Optimization))
            raise BackendOptionError(f"optimization is '{found.optimization}'{hint}")
        if not isinstance(found.spinning, bool):
            raise BackendOptionError(f"spinning is {found.spinning!r}; give true or false")
        batch = found.pointwise_batch
        if not isinstance(batch, int) or isinstance(batch, bool) or batch < 0:
            raise BackendOptionError(f"pointwise_batch is {batch!r}; give a whole number")
        return found

    @classmethod
    def read(cls, text: str) -> SessionSettings:
        """Return what `str` has written. Raises ValueError, TypeError or BackendError."""
        return cls.of(**json.loads(text))

    def __str__(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    def entries(self) -> dict[str, str]:
        """Return the entries of a session's configuration that say so."""
        found = {}
        if not self.spinning:
            found["session.intra_op.allow_spinning"] = "0"
        # Idle threads would spin for up to 80 ms after a run, on the cores that others work on.
        found["session.force_spinning_stop"] = "1"
        if self.pointwise_batch:
            key = "mlas.nchwc_pointwise_conv_max_input_channel_batch"
            found[key] = str(self.pointwise_batch)
        if self.disabled_optimizers:
            found[DISABLED_OPTIMIZERS] = ";".join(self.disabled_optimizers)
        return found


def session_options(threads: int | None, settings: SessionSettings) -> ort.SessionOptions:
    """Return options with `threads` for one operator, and `settings`."""
    require_threads(threads)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = LEVELS[settings.optimization]
    for key, value in settings.entries().items():
        options.add_session_config_entry(key, value)
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def recipe(threads: int | None, settings: SessionSettings, providers: Sequence[str]) -> str:
    """Return Python code that makes such a session of a model."""
    level = LEVELS[settings.optimization].name
    lines = [
        "import onnxruntime as ort",
        "",
        "options = ort.SessionOptions()",
        f"options.graph_optimization_level = ort.GraphOptimizationLevel.{level}",
    ]
    if threads is not None:
        lines.append(f"options.intra_op_num_threads = {threads}")
    for key, value in settings.entries().items():
        lines.append(f'options.add_session_config_entry("{key}", "{value}")')
    lines.append(
        f'session = ort.InferenceSession("model.onnx", options, providers={list(providers)!r})'
    )
    return "\n".join(lines)


def providers_for(target: Target, asked: Sequence[str] | None) -> list[str]:
    """Return the execution providers of `target`, or those asked for; raises BackendError."""
    if target.kind not in PROVIDERS:
        raise BackendError(
            f"backend 'onnxruntime' has no target '{target.kind}'{nearest(target.kind, PROVIDERS)}"
        )
    available = ort.get_available_providers()
    order = list(asked) if asked is not None else PROVIDERS[target.kind]
    required = order if asked is not None else order[:1]
    for provider in required:
        if provider not in available:
            hint = _INSTALL.get(target.kind, f"choose among {', '.join(available)}")
            raise BackendError(f"this build of ONNX Runtime has no {provider}; {hint}")
    return [provider for provider in order if provider in available]
