"""How often each rewrite fired: one that never does in many graphs is a hole in what draws them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

from planish.passes.engine.rewrite import Rewrite, RewritePass
from planish.passes.pipeline.pipeline import Pipeline
from planish.passes.pipeline.registry import find_pass, pass_names

FIRED: Counter[str] = Counter()


def count_rewrites() -> None:
    """Count from here on, in `FIRED`, each rewrite that is made; once a process."""
    for name in pass_names():
        find_pass(name)  # which imports it
    for kind in _kinds(Rewrite):
        own = kind.__dict__.get("rewrite")
        if own is not None and not hasattr(own, "__wrapped__"):
            kind.rewrite = _counted(kind, own)


def rewrites_of(pipeline: str) -> set[str]:
    """Return the names of all rewrites that the passes of a pipeline have."""
    found = set()
    for item in Pipeline.parse(pipeline).passes:
        for each in _members(item):
            if isinstance(each, RewritePass):
                found |= {name_of(type(rewrite)) for rewrite in each.rewrites()}
    return found


def name_of(kind: type) -> str:
    """Return the name of a rewrite: its module within `passes`, and its class."""
    return f"{kind.__module__.partition('passes.')[2]}.{kind.__name__}"


def _members(item: Any) -> Iterator[Any]:
    inner = getattr(item, "passes", None)
    if inner is None:
        yield item
    else:
        for each in inner:
            yield from _members(each)


def _counted(kind: type, own: Any) -> Any:
    @functools.wraps(own)
    def rewrite(self: Any, site: Any, edit: Any) -> None:
        own(self, site, edit)
        FIRED[name_of(type(self))] += 1

    return rewrite


def _kinds(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)
