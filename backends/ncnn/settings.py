"""How ncnn is told to compute: its threads, and nothing less exact than was asked for.

Winograd's convolutions stay on but for F(6x6, 3x3), whose transforms lose most: the error grows
exponentially with the tile (Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd
Convolution for Deep Neural Networks", 2020). ncnn then takes F(4x4, 3x3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from ...ir.core.errors import BackendOptionError
from ...ir.core.nearest import nearest
from ..contract.threads import require_threads

NcnnPrecision = Literal["float32", "bfloat16", "float16"]

_HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic")
_BRAIN = ("use_bf16_packed", "use_bf16_storage")
_NEVER = (
    "use_vulkan_compute",
    "use_tensor_storage",
    "use_int8_packed",
    "use_int8_storage",
    "use_winograd63_convolution",
)


@dataclass(frozen=True, kw_only=True)
class NcnnSettings:
    """What a network is loaded with; None threads are ncnn's own choice."""

    precision: str = "float32"
    threads: int | None = None

    @classmethod
    def of(cls, precision: str, threads: int | None) -> NcnnSettings:
        """Return settings; raises BackendOptionError where one is unknown."""
        if precision not in get_args(NcnnPrecision):
            hint = nearest(str(precision), get_args(NcnnPrecision))
            raise BackendOptionError(f"precision is '{precision}'{hint}")
        require_threads(threads)
        return cls(precision=precision, threads=threads)

    def apply(self, option: Any) -> None:
        """Set ncnn's `option`, whose defaults are those of speed: 16 bits where the CPU can."""
        asked = {"float16": _HALF, "bfloat16": _BRAIN}.get(self.precision, ())
        for name in (*_HALF, *_BRAIN, *_NEVER):
            setattr(option, name, name in asked)
        option.use_int8_inference = True
        option.use_int8_arithmetic = False
        if self.threads is not None:
            option.num_threads = self.threads
