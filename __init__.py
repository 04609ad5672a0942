"""planish: a compiler-style graph transformation toolkit for convolutional networks."""

from .backends import stopwatch as _stopwatch  # noqa: F401 (lets passes measure latency)
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
