"""Runs of a pipeline until one holds: quickly first, then with copies, then searching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from ...engine.context import Feeds
from ...engine.records import Result
from ..attempt import Item, members
from .failures import CopyNeeded, EndFailed, Refuted
from .options import RunOptions
from .run import Run


def run_passes(
    items: Sequence[Item], original: gs.Graph, feeds: Feeds | None, options: RunOptions
) -> Result:
    """Run `items` over a copy of `original`, which is left untouched.

    Exact passes are quick, and seldom fail: they run without copies to roll back to, and once more
    with them where one is needed. Where verification at the end does not hold, passes run once
    more, compared with the untouched graph after each that edited, and those that break it are
    rolled back. So they do where an input refutes the result, compared on that one as well. With a
    limit of edits, which is how the first wrong one is searched, and in a
    strict run it is an error.
    """
    if not (options.strict or all(each.is_exact for item in items for each in members(item))):
        options = replace(options, copies=True)
    run = Run(items, original, feeds, options)
    try:
        return run.result()
    except CopyNeeded:
        again = replace(options, copies=True)
    except EndFailed as found:
        if options.strict or options.hunt or options.limit is not None:
            raise found.error from found
        again = replace(options, copies=True, hunt=True)
    except Refuted as found:
        if options.refuting is not None:  # no pass is to blame for it by itself
            raise found.error from found
        again = replace(options, copies=True, hunt=True, refuting=found.feed)
    run.discard_dumps()
    return run_passes(items, original, feeds, again)
