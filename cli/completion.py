"""What the shell may put in place of a word that is typed in part."""

from __future__ import annotations

import re

from ..backends.contract.registry import all_backends
from ..ir.core.option_text.options import option_fields
from ..passes.pipeline.pipeline import Pipeline
from ..passes.pipeline.preset_options import options_of as preset_options
from ..passes.pipeline.presets import PRESETS
from ..passes.pipeline.registry import all_passes

# What comes before the last word of a pipeline that is being typed, and the pass whose braces that
# word stands in, if any.
_TYPED = re.compile(r"(?P<before>.*?(?:(?P<name>[\w-]+)\{(?:[^{}]*,)?|[,(]|^))(?P<word>[\w-]*)")

Completions = list[tuple[str, str]]


def complete_pass(incomplete: str) -> Completions:
    """Return the passes and presets whose names go on as typed, each with what it does."""
    known = {name: item.summary() for name, item in all_passes().items()}
    known |= dict.fromkeys(PRESETS, "a preset")
    return [(name, text) for name, text in sorted(known.items()) if name.startswith(incomplete)]


def complete_pipeline(incomplete: str) -> Completions:
    """Return what the last pass, or option in braces, of a pipeline may be."""
    typed = _TYPED.fullmatch(incomplete)
    if typed is None:
        return []
    if typed["name"] is None:
        return [(typed["before"] + name, text) for name, text in complete_pass(typed["word"])]
    return [(typed["before"] + option, "") for option in _options(typed["name"], typed["word"])]


def complete_backend(incomplete: str) -> Completions:
    """Return the backends whose names go on as typed, each with what it is."""
    known = all_backends()
    return [(name, item.summary) for name, item in known.items() if name.startswith(incomplete)]


def _options(name: str, word: str) -> list[str]:
    return [f"{option}=" for option in _options_of(name) if option.startswith(word)]


def _options_of(name: str) -> list[str]:
    if name in PRESETS:
        return sorted(preset_options(Pipeline.parse(name).passes))
    found = all_passes().get(name)
    return [] if found is None else list(option_fields(found))
