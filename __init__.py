"""planish: a compiler-style graph transformation toolkit for convolutional networks.

Public names are imported when they are first used, so that a process which only runs what was
compiled before does not wait for the packages that read and change models.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .passes.engine.stopwatch import register_later

if TYPE_CHECKING:
    from .backends.contract.backend import Backend, Compiled
    from .backends.contract.registry import load_compiled, lower, register_backend
    from .backends.onnxruntime.explain.explain import explain_int8
    from .ir.core.decline import need
    from .ir.core.errors import PlanishError
    from .ir.files.load import load
    from .ir.files.save import save, to_model
    from .ir.run.compare import Comparison, compare
    from .ir.run.feed_files import load_feeds
    from .ir.run.feeds import random_feeds
    from .ir.torch.from_fx import from_fx
    from .ir.torch.to_fx import to_fx
    from .ir.torch.trace import trace
    from .passes.analysis.channels.find_groups import find_channel_groups as channel_groups
    from .passes.analysis.cost import GraphCost, cost
    from .passes.engine.contract import Pass
    from .passes.engine.records import PassRecord, Result
    from .passes.engine.rewrite import Rewrite, RewritePass
    from .passes.pipeline.pipeline import Pipeline
    from .passes.pipeline.registry import register_pass
    from .passes.recover.recover import recover
    from .passes.transfer.transfer_weights import transfer_weights
    from .passes.trust.bisect import bisect

__version__ = "0.2.0"

__all__ = [
    "Backend",
    "Comparison",
    "Compiled",
    "GraphCost",
    "Pass",
    "PassRecord",
    "Pipeline",
    "PlanishError",
    "Result",
    "Rewrite",
    "RewritePass",
    "bisect",
    "channel_groups",
    "compare",
    "cost",
    "explain_int8",
    "from_fx",
    "load",
    "load_compiled",
    "load_feeds",
    "lower",
    "need",
    "random_feeds",
    "recover",
    "register_backend",
    "register_pass",
    "save",
    "to_fx",
    "to_model",
    "trace",
    "transfer_weights",
]

_PACKAGES = frozenset({"backends", "ir", "passes"})
_MODULES = {
    "Backend": "backends.contract.backend",
    "Comparison": "ir.run.compare",
    "Compiled": "backends.contract.backend",
    "GraphCost": "passes.analysis.cost",
    "Pass": "passes.engine.contract",
    "PassRecord": "passes.engine.records",
    "Pipeline": "passes.pipeline.pipeline",
    "PlanishError": "ir.core.errors",
    "Result": "passes.engine.records",
    "Rewrite": "passes.engine.rewrite",
    "RewritePass": "passes.engine.rewrite",
    "bisect": "passes.trust.bisect",
    "channel_groups": "passes.analysis.channels.find_groups:find_channel_groups",
    "compare": "ir.run.compare",
    "cost": "passes.analysis.cost",
    "explain_int8": "backends.onnxruntime.explain.explain",
    "from_fx": "ir.torch.from_fx",
    "load": "ir.files.load",
    "load_compiled": "backends.contract.registry",
    "load_feeds": "ir.run.feed_files",
    "lower": "backends.contract.registry",
    "need": "ir.core.decline",
    "random_feeds": "ir.run.feeds",
    "recover": "passes.recover.recover",
    "register_backend": "backends.contract.registry",
    "register_pass": "passes.pipeline.registry",
    "save": "ir.files.save",
    "to_fx": "ir.torch.to_fx",
    "to_model": "ir.files.save",
    "trace": "ir.torch.trace",
    "transfer_weights": "passes.transfer.transfer_weights",
}


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    module, _, attribute = _MODULES[name].partition(":")
    found = getattr(importlib.import_module(f".{module}", __name__), attribute or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})


# Passes stand below backends: what measures latency is imported where it is first asked for.
register_later(lambda: importlib.import_module(".backends.onnxruntime.stopwatch", __name__))
