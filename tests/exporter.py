"""What PyTorch's exporter finds out anew in each export, found out once a process.

The registry of what it translates takes it 0.15 s, longer than a small network.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from typing import Any

from onnxscript import TracedOnnxFunction

# Each export asks for the signatures of 500 functions, which are compiled anew each time.
TracedOnnxFunction.function_ir = property(functools.cache(TracedOnnxFunction.function_ir.fget))


def _share_registry() -> None:
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    made = functools.cache(ONNXRegistry.from_torchlib)

    def from_torchlib(*args: Any, **kwargs: Any) -> Any:
        registry = copy.copy(made(*args, **kwargs))
        registry.functions = {target: [*found] for target, found in registry.functions.items()}
        return registry

    ONNXRegistry.from_torchlib = staticmethod(from_torchlib)


def _share_operators() -> None:
    """Have PyTorch's C++ operators looked up once, not once a namespace and export."""
    from torch._export import utils

    utils._materialize_cpp_cia_ops = functools.cache(utils._materialize_cpp_cia_ops)


for share in (_share_registry, _share_operators):
    with contextlib.suppress(ImportError, AttributeError):  # other versions may have it elsewhere
        share()
