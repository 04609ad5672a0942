"""Files of a person's own, which register passes and backends."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..passes.pipeline.plugins import load_plugin


def load_plugins(paths: Iterable[Path] | None) -> None:
    """Run the files at `paths`; raises PipelineError for one that cannot be run."""
    for path in paths or ():
        load_plugin(path)
