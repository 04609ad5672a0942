"""Pipelines: an ordered list of passes, as text and as a run over a graph."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ..ir import dtypes
from ..ir.build import paused_gc
from ..ir.clone import clone
from ..ir.errors import FeedError, PassError, PipelineError, PlanishError, VerificationError
from ..ir.infer import Types, infer_types
from ..ir.save import save
from ..ir.uses import Uses, scopes
from ..ir.wellformed import check
from .context import Context, Feeds
from .contract import Pass
from .fingerprint import count_changes, fingerprint
from .grammar import bind, fail, read_items, show_options
from .presets import PRESETS
from .records import PassRecord, Progress, Result
from .registry import all_passes, nearest
from .reproduce import command, write_reproducer
from .verify import Verifier

Verify = Literal["each", "end", "off"]


@dataclass(frozen=True)
class Pipeline:
    """An ordered list of passes with their options."""

    passes: tuple[Pass, ...]

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """Read `fold-constants,quantize{per-channel=true}`; presets and passes mix freely.

        Raises PipelineError, with carets under the place and the nearest known name.
        """
        if not text.strip():
            raise PipelineError("the pipeline is empty; name a pass or preset, such as 'exact'")
        known = all_passes()
        passes: list[Pass] = []
        for item in read_items(text):
            name = item.name.text
            if name in PRESETS:
                if item.options:
                    raise fail(text, item.options[0][0], f"preset '{name}' takes no options")
                passes.extend(cls.parse(PRESETS[name]).passes)
            elif name in known:
                passes.append(bind(known[name], item, text))
            else:
                hint = nearest(name, [*known, *PRESETS])
                raise fail(text, item.name, f"unknown pass '{name}'{hint}")
        return cls(tuple(passes))

    def __str__(self) -> str:
        """Write the pipeline as text that `parse` reads back to an equal one."""
        return ",".join(f"{item.name}{show_options(item)}" for item in self.passes)

    def run(
        self,
        graph: gs.Graph,
        feeds: Feeds | None = None,
        verify: Verify = "end",
        *,
        target: str = "cpu",
        seed: int = 0,
        progress: Callable[[Progress], None] | None = None,
        dump: Path | str | None = None,
        reproducer: Path | str | None = None,
        limit: int | None = None,
    ) -> Result:
        """Run the passes in order over a copy of `graph`, which is left untouched.

        `feeds`: an iterable of name -> array; where None, verification draws inputs from the
        declared shapes with `seed`. `verify`: compare outputs after each pass that edited, once at
        the end, or never; exact passes are held to 1e-5 of the output's range (1e-3 with 16-bit
        floats; for a network whose own rounding is larger, ten times that). `dump`: a folder that
        gets the graph after each pass that changed it. `reproducer`: the folder a failure's
        reproducer goes to, a temporary one by default. `limit`: make only that many edits in all.

        Raises PassError or VerificationError, naming the pass, its position and the worst output;
        FeedError where given feeds do not fit the graph.
        """
        if verify not in ("each", "end", "off"):
            raise PipelineError(f"verify='{verify}' is none of 'each', 'end' and 'off'")
        if feeds is not None:
            if isinstance(feeds, Mapping):
                raise FeedError("feeds are a sequence of dicts, one a batch; write feeds=[...]")
            feeds = list(feeds)
        with paused_gc():
            copy = clone(graph)
            _protect_weights(copy)
        run = _Run(self, copy, feeds, verify, target, seed, progress)
        run.dump = None if dump is None else Path(dump)
        run.reproducer = None if reproducer is None else Path(reproducer)
        run.limit = limit
        with paused_gc():
            return run.result(graph)


class _Run:
    def __init__(
        self,
        pipeline: Pipeline,
        graph: gs.Graph,
        feeds: Feeds | None,
        verify: Verify,
        target: str,
        seed: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.passes = pipeline.passes
        self.graph = graph
        self.feeds = feeds
        self.verify = verify
        self.target = target
        self.seed = seed
        self.progress = progress or (lambda event: None)
        self.dump: Path | None = None
        self.reproducer: Path | None = None
        self.limit: int | None = None
        self.dumped: list[Path] = []
        self.records: list[PassRecord] = []
        self.verifier: Verifier | None = None
        self.interface: list[tuple[Any, ...]] = []
        # A copy for the reproducer, good until the next pass that edits.
        self.before: gs.Graph | None = None
        self.types: Types | None = None
        self.uses: Uses | None = None

    def result(self, original: gs.Graph) -> Result:
        check(self.graph, sort=True)
        self.interface = _interface(self.graph)
        if self.verify != "off":
            self.tell(0, "verify", 0.0)
            self.verifier = Verifier(original, self.feeds, self.seed)
        for index in range(len(self.passes)):
            self.step(index)
        if self.verify == "end" and self.verifier is not None and self.verifier.active:
            self.verify_end(original)
        verified = self.verifier is not None and self.verifier.active
        return Result(
            self.graph,
            tuple(self.records),
            verified,
            "" if self.verifier is None else self.verifier.note,
            self.verifier.tolerance if verified and self.verifier is not None else None,
            tuple(self.dumped),
        )

    def step(self, index: int) -> None:
        item = self.passes[index]
        made = sum(record.edits for record in self.records)
        # Inferred before the pass, since it may change the graph before it asks.
        known = self.types = self.types or infer_types(self.graph)
        context = Context(
            self.graph,
            self.feeds,
            self.target,
            self.seed,
            None if self.limit is None else max(self.limit - made, 0),
            lambda fraction: self.tell(index, "run", fraction),
            self.types,
            self.uses,
        )
        keep = self.verify == "each"
        if keep and self.before is None:
            self.before = clone(self.graph)
        before = self.before
        marks = None if _is_counted(item) else fingerprint(self.graph)
        nodes_before = count_nodes(self.graph)
        self.tell(index, "run", 0.0)
        started = time.perf_counter()
        try:
            # A script knows no limit, so that it is run as a whole or not at all.
            if marks is None or context.limit != 0:
                found = item.run(self.graph, context)
                self.graph = self.graph if found is None else found
            edits = context.edits
            if marks is not None and not edits:
                edits = count_changes(marks, fingerprint(self.graph))
            self.types = known if not edits else None
            self.uses = context.uses if marks is None else None
            if edits or marks is not None:
                check(self.graph, sort=marks is not None)
                self.check_interface()
            if edits:
                self.check_types(known)
        except PlanishError as error:
            raise self.failed(PassError, index, before, str(error)) from error
        except Exception as error:  # a pass is anybody's code
            what = f"{type(error).__name__}: {error}"
            raise self.failed(PassError, index, before, what) from error
        seconds = time.perf_counter() - started
        if edits:
            self.before = None
        measured = None
        if edits and keep and self.verifier is not None and self.verifier.active:
            self.tell(index, "verify", 0.0)
            try:
                measured = self.verifier.check(self.graph, item.exact, self.place(index))
            except VerificationError as error:
                raise self.failed(VerificationError, index, before, str(error)) from error
        if edits and self.dump is not None:
            self.dump.mkdir(parents=True, exist_ok=True)
            path = self.dump / f"{index + 1:02d}-{item.name}.onnx"
            save(self.graph, path)
            self.dumped.append(path)
        self.records.append(
            PassRecord(
                item.name,
                f"{item.name}{show_options(item)}",
                edits,
                seconds,
                nodes_before,
                count_nodes(self.graph),
                measured,
                context.declined,
            )
        )
        self.tell(index, "done", 1.0)

    def check_interface(self) -> None:
        """Raise where names, order, types or input shapes of the interface have changed."""
        for was, now in itertools.zip_longest(self.interface, _interface(self.graph)):
            if was != now:
                raise PassError(
                    f"the interface has changed from {_show_port(was)} to {_show_port(now)}; a "
                    "pass must keep the graph's inputs and outputs as they are"
                )

    def check_types(self, before: Types) -> None:
        """Raise where types and shapes inferred before this pass and do not any more."""
        if before.problem is not None:
            return
        self.types = infer_types(self.graph)
        if self.types.problem is not None:
            raise PassError(f"types and shapes do not infer any more: {self.types.problem}")

    def verify_end(self, original: gs.Graph) -> None:
        assert self.verifier is not None
        edited = [i for i, record in enumerate(self.records) if record.edits]
        if not edited:
            return
        last = edited[-1]
        self.tell(last, "verify", 0.0)
        exact = all(self.passes[i].exact for i in edited)
        names = ", ".join(self.passes[i].name for i in edited)
        try:
            error = self.verifier.check_end(self.graph, exact, f"the pipeline ({names})")
        except VerificationError as failure:
            text = ",".join(f"{p.name}{show_options(p)}" for p in self.passes)
            where = write_reproducer(self.reproducer, original, text, self.verifier.feeds)
            raise VerificationError(
                f"{failure}; find the pass and edit with `planish bisect`, or run\n"
                f"  {command(where)}"
            ) from failure
        self.records[last] = replace(self.records[last], error=error)

    def failed(
        self, kind: type[PassError], index: int, before: gs.Graph | None, message: str
    ) -> PassError:
        """Return the error of pass `index`, with a reproducer where the graph before it is kept."""
        text = message if message.startswith("after ") else f"{self.place(index)}: {message}"
        if before is None:
            return kind(f"{text}; run again with verify='each' for a reproducer")
        item = self.passes[index]
        feeds = self.verifier.feeds if self.verifier is not None else []
        pipeline = f"{item.name}{show_options(item)}"
        where = write_reproducer(self.reproducer, before, pipeline, feeds)
        return kind(f"{text}; reproduce with\n  {command(where)}")

    def place(self, index: int) -> str:
        return f"pass {index + 1} of {len(self.passes)}, '{self.passes[index].name}'"

    def tell(self, index: int, stage: str, fraction: float) -> None:
        name = self.passes[index].name if self.passes else ""
        self.progress(Progress(index, len(self.passes), name, stage, fraction))


def count_nodes(graph: gs.Graph) -> int:
    """Count the nodes of `graph` and its subgraphs."""
    return sum(len(scope.nodes) for scope in scopes(graph))


def _interface(graph: gs.Graph) -> list[tuple[Any, ...]]:
    """Return one entry a graph input or output: what it is, name, type and an input's shape."""
    found: list[tuple[Any, ...]] = []
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for t in tensors:
            dtype = None if t.dtype is None else dtypes.elem_type(t.dtype)
            shape = tuple(t.shape) if kind == "input" and t.shape is not None else None
            found.append((kind, t.name, dtype, shape))
    return found


def _show_port(port: tuple[Any, ...] | None) -> str:
    if port is None:
        return "nothing"
    kind, name, dtype, shape = port
    sizes = "" if shape is None else str(list(shape))
    return f"{kind} '{name}' ({dtypes.type_name(dtype)}{sizes})"


def _protect_weights(graph: gs.Graph) -> None:
    """Make the weights, which the untouched graph shares, read-only in this copy of it."""
    for scope in scopes(graph):
        for node in scope.nodes:
            for tensor in node.inputs:
                held = tensor._values if isinstance(tensor, gs.Constant) else None
                if isinstance(held, np.ndarray) and held.flags.writeable:
                    tensor._values = held.view()
                    tensor._values.flags.writeable = False


def _is_counted(item: Pass) -> bool:
    """Say whether the pass is planish's own, which edits only through `context.edit()`."""
    return type(item).__module__.startswith(__package__ or "planish")
