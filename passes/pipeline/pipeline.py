"""Pipelines: an ordered list of passes, as text and as a run over a graph."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs

from ...ir.core.counted import counted
from ...ir.core.environment import is_off
from ...ir.core.errors import PipelineError
from ...ir.core.garbage_collection import paused_gc
from ...ir.core.kind import kind_of
from ...ir.core.nearest import nearest
from ...ir.core.option_text.items import Item as Written
from ...ir.core.option_text.items import fail, read_items
from ...ir.core.option_text.options import bind
from ...ir.core.seed import require_seed
from ...ir.core.shown import Shown, Summary, shortened
from ...ir.files.given import Model, as_graph
from ...ir.files.unchanged import unchanged
from ...ir.run.given_feeds import require_feeds
from ...ir.run.replay import replayable
from ..engine.context import Feeds
from ..engine.contract import Pass
from ..engine.records import Progress, Result
from .attempt import Attempt, Item, members, with_each
from .preset_options import with_preset_options
from .presets import ATTEMPT, GROUPS, OTHERWISE, PRESETS, REPEAT
from .registry import find_pass, pass_names
from .repeat import Repeat
from .run.options import RunOptions, Verify
from .run.retries import run_passes

_STRICT = "PLANISH_STRICT"


@dataclass(frozen=True, repr=False)
class Pipeline(Shown):
    """An ordered list of passes with their options, and of groups of them."""

    passes: tuple[Item, ...]

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """Read `fold-constants,quantize{per-channel=true}`; presets and passes mix freely.

        `repeat(a,b)` runs its passes until none of them edits; a group inside it comes to its own
        end before what stands behind it runs. `attempt(a,b,otherwise(c))` runs a and b, and where
        one of them finds that what they are for does not come about, such as integers that are
        faster than floats, c on the graph as it was before them; inside another group, its passes
        alone count. Raises PipelineError, with carets under the place and
        the nearest known name.
        """
        if not isinstance(text, str):
            raise PipelineError(f"the pipeline is {kind_of(text)}; give its text, such as 'exact'")
        if not text.strip():
            raise PipelineError("the pipeline is empty; name a pass or preset, such as 'exact'")
        return cls(_bound(read_items(text, GROUPS), text))

    def __str__(self) -> str:
        """Write the pipeline as text that `parse` reads back to an equal one."""
        return ",".join(map(str, self.passes))

    def _summary(self) -> Summary:
        passes = [each for item in self.passes for each in members(item)]
        line = f"of {counted(len(passes), 'pass', 'passes')}: {shortened(str(self))}"
        rows = [(str(each), "exact" if each.is_exact else "approximate") for each in passes]
        return Summary(line, rows, ("pass", "kind"))

    def extra_feeds(self) -> frozenset[str]:
        """Return the names of entries of the feeds, such as labels, that passes read."""
        passes = itertools.chain.from_iterable(map(members, self.passes))
        return frozenset(itertools.chain.from_iterable(each.extra_feeds() for each in passes))

    @property
    def is_exact(self) -> bool:
        """Whether every pass computes the same function, up to rounding; see `Pass.is_exact`."""
        return all(each.is_exact for item in self.passes for each in members(item))

    @property
    def keeps_outputs(self) -> bool:
        """Whether no pass changes by intent what the outputs mean; see `Pass.keeps_outputs`."""
        passes = itertools.chain.from_iterable(map(members, self.passes))
        return all(each.keeps_outputs for each in passes)

    def behind_interface(self, graph: gs.Graph) -> gs.Graph:
        """Return the graph that feeds are for, behind the passes at the begin that change inputs.

        `graph` is left untouched. Raises what these passes raise.
        """
        first: list[Item] = []
        for item in self.passes:
            if isinstance(item, Repeat | Attempt) or item.keeps_interface:
                break
            first.append(item)
        return Pipeline(tuple(first)).run(graph, verify="off").graph if first else graph

    def with_options(self, **options: Any) -> Pipeline:
        """Return the pipeline with `options` set on every pass that has them; None sets nothing.

        Raises PipelineError where no pass has one of them.
        """
        given = {name: value for name, value in options.items() if value is not None}
        taken: set[str] = set()

        def changed(item: Pass) -> Pass:
            own = {field.name for field in fields(item)} & given.keys()
            taken.update(own)
            return replace(item, **{name: given[name] for name in own}) if own else item

        passes = tuple(with_each(item, changed) for item in self.passes)
        missing = sorted(name.replace("_", "-") for name in given.keys() - taken)
        if missing:
            raise PipelineError(
                f"no pass of the pipeline takes {' or '.join(missing)}; add one that does, such as "
                "quantize"
            )
        return Pipeline(passes)

    def run(
        self,
        graph: Model,
        feeds: Feeds | None = None,
        verify: Verify = "end",
        *,
        target: str = "cpu",
        seed: int = 0,
        progress: Callable[[Progress], None] | None = None,
        dump: Path | str | None = None,
        reproducer: Path | str | None = None,
        limit: int | None = None,
        signed_zeros: bool = False,
        strict: bool | None = None,
    ) -> Result:
        """Run the passes in order over a copy of `graph`, which is left untouched.

        `graph`: what `load` or `trace` returned, or the path of an ONNX file.
        `feeds`: an iterable of name -> array, read anew by every pass that needs them; what can be
        read only once, such as a generator, is kept in a temporary file while the run lasts. They
        may have entries beyond the graph's inputs, such as labels, where a pass asks for them.
        Where None, verification draws inputs from the declared shapes with `seed`. `verify`:
        compare outputs after each pass that edited, once at the end, once at the end with a proof
        of every edit beside it (`Result.certificate`), or never; exact passes are
        held to 1e-5 of the output's range (1e-3 with 16-bit floats; for a network whose own
        rounding is larger, ten times that). `dump`: a folder that gets the graph after each pass
        that changed it. `reproducer`: the folder a failure's reproducer goes to, a temporary one by
        default. `limit`: make only that many edits in all.

        `signed_zeros`: tell 0.0 and -0.0 apart, which 1 / x does. By default their sign counts for
        nothing, as under `nsz` of LLVM: x + 0.0 is x, of which 0.0 is made where x is -0.0.

        What goes wrong in a pass does not lose the run: the site where a rewrite raises is left as
        it was; a pass that raises otherwise, leaves a malformed graph or breaks verification is
        rolled back (with `verify="end"` it is searched for first); and `Result.failures` says so.
        `strict` makes an error of it: PassError or VerificationError, naming the pass, its position
        and the worst output. By default a run is not strict, unless the environment variable
        PLANISH_STRICT is 1.

        Raises LoadError where a file in which weights of `graph` lie was written to meanwhile,
        FeedError where given feeds do not fit the graph, RefusedError where an option or the
        graph does not allow what was asked of a pass; with `limit`, VerificationError where
        verification at the end does not hold.
        """
        if verify not in ("each", "end", "prove", "off"):
            raise PipelineError(f"verify='{verify}' is none of 'each', 'end', 'prove' and 'off'")
        if verify == "prove":
            self._require_provable()
        require_seed(seed)
        graph = as_graph(graph)
        require_feeds(feeds, graph)
        with paused_gc(), replayable(feeds) as data, unchanged(graph):
            options = RunOptions(
                verify=verify,
                target=target,
                seed=seed,
                limit=limit,
                dump=None if dump is None else Path(dump),
                reproducer=None if reproducer is None else Path(reproducer),
                progress=progress,
                signed_zeros=signed_zeros,
                strict=strict_by_default() if strict is None else strict,
            )
            return run_passes(self.passes, graph, data, options)

    def _require_provable(self) -> None:
        """Raise PipelineError where a pass is there that changes the function by intent."""
        for each in (each for item in self.passes for each in members(item)):
            if not (each.is_exact and each.keeps_outputs and each.keeps_interface):
                raise PipelineError(
                    f"nothing can be proved across '{each.name}', which changes what the graph "
                    "computes, takes or gives; prove a pipeline of exact passes, such as 'exact'"
                )


def strict_by_default() -> bool:
    """Say whether the environment asks for planish's own mistakes to be raised."""
    return os.environ.get(_STRICT, "") != "" and not is_off(_STRICT)


def _bound(items: Sequence[Written], text: str) -> tuple[Item, ...]:
    passes: list[Item] = []
    for item in items:
        name = item.name.text
        if item.group is not None:
            passes.append(_group(item, item.group, text))
        elif name in PRESETS:
            passes.extend(with_preset_options(_passes_of(name), item, text))
        else:
            passes.append(bind(_pass_called(name, item, text), item, text))
    return tuple(passes)


@functools.cache
def _passes_of(preset: str) -> tuple[Item, ...]:
    """Return what a preset stands for: passes that come with planish, which nobody changes."""
    return Pipeline.parse(PRESETS[preset]).passes


def _group(item: Written, group: tuple[Written, ...], text: str) -> Item:
    if item.name.text == OTHERWISE:
        raise fail(
            text, item.name, f"'{OTHERWISE}(...)' stands last in '{ATTEMPT}(...)', behind a pass"
        )
    if item.name.text == REPEAT:
        return Repeat(_without_attempts(_bound(group, text)))
    last = group[-1]
    if last.name.text != OTHERWISE or last.group is None or len(group) == 1:
        return Attempt(_without_attempts(_bound(group, text)))
    return Attempt(
        _without_attempts(_bound(group[:-1], text)), _without_attempts(_bound(last.group, text))
    )


def _without_attempts(items: tuple[Item, ...]) -> tuple[Pass | Repeat, ...]:
    """Return `items` with the passes of an attempt in its place, those of `otherwise` left out."""
    found: list[Pass | Repeat] = []
    for item in items:
        found.extend(item.passes if isinstance(item, Attempt) else (item,))
    return tuple(found)


def _pass_called(name: str, item: Written, text: str) -> type[Pass]:
    found = find_pass(name)
    if found is None:
        hint = nearest(name, [*pass_names(), *PRESETS])
        raise fail(text, item.name, f"unknown pass '{name}'{hint}")
    return found
