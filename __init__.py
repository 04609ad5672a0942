"""planish: a compiler-style graph transformation toolkit for convolutional networks."""

from .ir.compare import Comparison, compare
from .ir.errors import PlanishError
from .ir.feeds import load_feeds, random_feeds
from .ir.load import load
from .ir.save import save, to_model
from .passes.bisect import bisect
from .passes.contract import Pass, Rewrite, RewritePass, need
from .passes.pipeline import Pipeline
from .passes.records import PassRecord, Result
from .passes.registry import register_pass

__all__ = [
    "Comparison",
    "Pass",
    "PassRecord",
    "Pipeline",
    "PlanishError",
    "Result",
    "Rewrite",
    "RewritePass",
    "bisect",
    "compare",
    "load",
    "load_feeds",
    "need",
    "random_feeds",
    "register_pass",
    "save",
    "to_model",
]
