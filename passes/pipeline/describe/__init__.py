"""What a pass or preset is, as data: for `planish passes NAME` and the pages of the documentation.

Everything is read from the pass itself: its docstrings, the fields of its dataclass, and the
reasons in its source.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ....ir.core.errors import PipelineError
from ....ir.core.nearest import nearest
from ...engine.contract import Pass
from ...engine.rewrite import RewritePass
from ..examples import Example, read_example
from ..pipeline import Pipeline
from ..preset_options import options_of as preset_options
from ..presets import PRESETS, SUMMARIES
from ..registry import all_passes
from .declines import reasons_of
from .docstrings import body_of, law_of, rest_of
from .options import OptionDescription, options_of

__all__ = ["OptionDescription", "PassDescription", "PresetDescription", "describe"]


@dataclass(frozen=True, kw_only=True)
class PassDescription:
    """What is to be known of a pass before it is run.

    - `name`: as pipelines have it.
    - `summary`: what it does, in one sentence without its full stop.
    - `exact`: whether it computes the same function up to floating-point rounding.
    - `equation`: the law it rests on, in lines of plain text; empty where its module has none.
    - `text`: paragraphs on how, why and when, in Markdown.
    - `options`: in the order of the fields.
    - `declines`: reasons for which it leaves a site alone, `...` for what depends on the site.
    - `example`: a small graph before and after; None for passes of other distributions.
    """

    name: str
    summary: str
    exact: bool
    equation: str
    text: str
    options: tuple[OptionDescription, ...]
    declines: tuple[str, ...]
    example: Example | None


@dataclass(frozen=True)
class PresetDescription:
    """A preset: its name, what it is for, and the passes that it stands for, as a pipeline.

    `options`: what its braces take, by name, each with the passes that are given it.
    """

    name: str
    summary: str
    pipeline: str
    options: dict[str, tuple[str, ...]]


def describe(name: str) -> PassDescription | PresetDescription:
    """Describe the pass or preset called `name`; raises PipelineError with the nearest known."""
    if name in PRESETS:
        made = Pipeline.parse(name)
        return PresetDescription(name, SUMMARIES[name], str(made), preset_options(made.passes))
    passes = all_passes()
    if name not in passes:
        raise PipelineError(f"unknown pass '{name}'{nearest(name, [*passes, *PRESETS])}")
    found = passes[name]
    module = sys.modules[found.__module__].__doc__ or ""
    equation = law_of(module)
    texts = [rest_of(module) if equation else "", *map(body_of, _classes(found))]
    return PassDescription(
        name=name,
        summary=found.summary(),
        exact=found.exact,
        equation=equation,
        text="\n\n".join(text for text in texts if text),
        options=options_of(found),
        declines=reasons_of(found),
        example=read_example(name),
    )


def _classes(found: type[Pass]) -> list[type[Pass]]:
    """Return the class of a pass and those of its bases that are about it, not about any pass."""
    return [
        base for base in found.__mro__ if issubclass(base, Pass) and base not in (Pass, RewritePass)
    ]
