"""planish: a compiler-style graph transformation toolkit for convolutional networks.

Public names are imported when they are first used, so that a process which only runs what was
compiled before does not wait for the packages that read and change models.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .passes.stopwatch import register_later

if TYPE_CHECKING:
    from .backends.contract import Backend, Compiled
    from .backends.explain.explain import explain_int8
    from .backends.registry import load_compiled, lower, register_backend
    from .ir.compare import Comparison, compare
    from .ir.cost import GraphCost, cost
    from .ir.errors import PlanishError
    from .ir.feed_files import load_feeds
    from .ir.feeds import random_feeds
    from .ir.fx.from_fx import from_fx
    from .ir.fx.to_fx import to_fx
    from .ir.load import load
    from .ir.save import save, to_model
    from .ir.trace import trace
    from .passes.bisect import bisect
    from .passes.channels.groups import find_channel_groups as channel_groups
    from .passes.contract import Pass, Rewrite, RewritePass, need
    from .passes.pipeline import Pipeline
    from .passes.records import PassRecord, Result
    from .passes.recover.recover import recover
    from .passes.registry import register_pass
    from .passes.transfer.transfer_weights import transfer_weights

__version__ = "0.1.0"

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
    "Backend": "backends.contract",
    "Comparison": "ir.compare",
    "Compiled": "backends.contract",
    "GraphCost": "ir.cost",
    "Pass": "passes.contract",
    "PassRecord": "passes.records",
    "Pipeline": "passes.pipeline",
    "PlanishError": "ir.errors",
    "Result": "passes.records",
    "Rewrite": "passes.contract",
    "RewritePass": "passes.contract",
    "bisect": "passes.bisect",
    "channel_groups": "passes.channels.groups:find_channel_groups",
    "compare": "ir.compare",
    "cost": "ir.cost",
    "explain_int8": "backends.explain.explain",
    "from_fx": "ir.fx.from_fx",
    "load": "ir.load",
    "load_compiled": "backends.registry",
    "load_feeds": "ir.feed_files",
    "lower": "backends.registry",
    "need": "passes.contract",
    "random_feeds": "ir.feeds",
    "recover": "passes.recover.recover",
    "register_backend": "backends.registry",
    "register_pass": "passes.registry",
    "save": "ir.save",
    "to_fx": "ir.fx.to_fx",
    "to_model": "ir.save",
    "trace": "ir.trace",
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
register_later(lambda: importlib.import_module(".backends.stopwatch", __name__))
