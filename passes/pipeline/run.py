"""One run of a pipeline over a graph: passes in order, groups to their fixed point, checks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.errors import FeedError, PassError, PlanishError, VerificationError
from ...ir.files.save import save
from ...ir.graph.clone import clone
from ...ir.graph.types import Types
from ...ir.graph.uses import scopes
from ...ir.graph.wellformed import check
from ...ir.run.extra_feeds import FeedsWithout
from ..engine.analyses import Analyses
from ..engine.context import Context, Feeds
from ..engine.contract import Pass
from ..engine.fingerprint import count_changes, fingerprint
from ..engine.records import PassRecord, Progress, Result
from ..trust.reproduce import command, write_reproducer
from ..trust.verify import Verifier
from .repeat import Repeat

# Passes that undo one another would never end; two or three rounds is what networks take.
_MOST_ROUNDS = 20


class Run:
    """The state of one run over a copy of `original`, which is left untouched."""

    def __init__(
        self,
        items: Sequence[Pass | Repeat],
        original: gs.Graph,
        feeds: Feeds | None,
        verify: str,
        target: str,
        seed: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.items = items
        self.passes = [each for item in items for each in _members(item)]
        self.original = original
        self.graph = clone(original)
        _protect_weights(self.graph)
        extra = sorted({name for item in self.passes for name in item.extra_feeds()})
        self.labelled = feeds
        self.feeds = FeedsWithout(feeds, extra) if extra and feeds is not None else feeds
        self.verify = verify
        self.target = target
        self.seed = seed
        self.progress = progress or (lambda event: None)
        self.dump: Path | None = None
        self.reproducer: Path | None = None
        self.limit: int | None = None
        self.dumped: list[Path] = []
        self.records: list[PassRecord] = []
        self.edited: list[Pass] = []
        # How many of records, `edited` and items precede `original`; see `start_over`.
        self.since = (0, 0, 0)
        self.position = 0
        self.verifier: Verifier | None = None
        self.interface: list[tuple[Any, ...]] = []
        # A copy for the reproducer, good until the next pass that edits.
        self.before: gs.Graph | None = None
        self.analyses = Analyses(self.graph)
        self.nodes: int | None = None

    def result(self) -> Result:
        """Run all passes, verify, and return the graph with what is known of it."""
        check(self.graph, sort=True)
        self.interface = _interface(self.graph)
        if self.verify != "off":
            self.tell(0, "verify", 0.0)
            self.verifier = Verifier(self.original, self.feeds, self.seed)
        first = 0
        for position, item in enumerate(self.items):
            self.position = position
            self.settle(first, item)
            first += len(_members(item))
        self.verify_end()
        held = [item for item in self.edited if item.keeps_outputs]
        compared = bool(held) or not self.edited
        verified = self.verifier is not None and self.verifier.active and compared
        exact = all(item.exact for item in held)
        return Result(
            self.graph,
            tuple(self.records),
            verified,
            "" if self.verifier is None else self.verifier.remark,
            self.verifier.tolerance if exact and verified and self.verifier is not None else None,
            tuple(self.dumped),
        )

    def settle(self, first: int, item: Pass | Repeat) -> None:
        """Run a pass, or the passes of a group until each has seen the edits of the others."""
        stale = [True] * len(_members(item))
        latest: dict[int, int] = {}  # the last record of each pass
        for round_ in range(1, _MOST_ROUNDS + 1 if isinstance(item, Repeat) else 2):
            for place in range(len(stale)):
                if not stale[place]:
                    continue
                record = self.step(first + place, round_)
                stale[place] = False
                if record.edits:
                    stale = [other != place for other in range(len(stale))]
                if place in latest:
                    earlier = self.records[latest[place]]
                    declined = () if record.edits else record.declined
                    self.records[latest[place]] = replace(earlier, declined=declined)
                if record.edits or round_ == 1:
                    latest[place] = len(self.records)
                    self.records.append(record)
            if not any(stale):
                break

    def step(self, index: int, round_: int) -> PassRecord:
        """Run one pass and check what it left."""
        item = self.passes[index]
        made = sum(record.edits for record in self.records)
        # Inferred before the pass, since it may change the graph before it asks.
        known = self.analyses.types
        context = Context(
            self.graph,
            self.feeds,
            target=self.target,
            seed=self.seed,
            limit=None if self.limit is None else max(self.limit - made, 0),
            progress=lambda fraction, note="": self.tell(index, "run", fraction, note),
            original=self.original,
            labelled=self.labelled,
            known=self.analyses,
        )
        if not item.keeps_outputs:
            self.verify_end()
        keep = self.verify == "each"
        if keep and self.before is None:
            self.before = clone(self.graph)
        before = self.before
        marks = None if _is_counted(item) else fingerprint(self.graph)
        nodes_before = self.nodes = count_nodes(self.graph) if self.nodes is None else self.nodes
        self.tell(index, "run", 0.0)
        started = time.perf_counter()
        try:
            # A script knows no limit, so that it is run as a whole or not at all.
            if marks is None or context.limit != 0:
                found = item.run(self.graph, context)
                self.graph = self.graph if found is None else found
            edits = context.edits
            if edits or marks is not None:
                self.nodes = count_nodes(self.graph)
            if marks is not None and not edits:
                edits = count_changes(marks, fingerprint(self.graph))
            if marks is not None:  # it may have changed what no index saw
                self.analyses = Analyses(self.graph, None if edits else known)
            if edits or marks is not None:
                check(self.graph, sort=marks is not None)
                self.check_interface()
            if edits:
                self.check_types(known)
        except FeedError as error:  # the data is to blame, not the pass
            raise FeedError(f"{self.place(index)}: {error}") from error
        except PlanishError as error:
            raise self.failed(PassError, index, before, str(error)) from error
        except Exception as error:  # a pass is anybody's code
            what = f"{type(error).__name__}: {error}"
            raise self.failed(PassError, index, before, what) from error
        seconds = time.perf_counter() - started
        if edits:
            self.before = None
            self.edited.append(item)
        measured = None
        if edits and not item.keeps_outputs:
            self.start_over(index, before)
        elif edits and keep and self.verifier is not None and self.verifier.active:
            self.tell(index, "verify", 0.0)
            try:
                measured = self.verifier.check(self.graph, item.exact, self.place(index))
            except VerificationError as error:
                raise self.failed(VerificationError, index, before, str(error)) from error
        if edits and self.dump is not None:
            self.dump.mkdir(parents=True, exist_ok=True)
            path = self.dump / f"{len(self.records) + 1:02d}-{item.name}.onnx"
            save(self.graph, path)
            self.dumped.append(path)
        self.tell(index, "done", 1.0)
        return PassRecord(
            item.name,
            str(item),
            edits,
            seconds,
            nodes_before,
            self.nodes,
            measured,
            context.declined,
            round_,
            context.remarks,
        )

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
        problem = self.analyses.types.problem
        if problem is not None:
            raise PassError(f"types and shapes do not infer any more: {problem}")

    def start_over(self, index: int, before: gs.Graph | None) -> None:
        """Take the present graph for the original: pass `index` changed the outputs by intent."""
        self.original = clone(self.graph)
        within = isinstance(self.items[self.position], Repeat)
        self.since = len(self.records) + 1, len(self.edited), self.position + (not within)
        if self.verifier is not None and self.verifier.active:
            self.tell(index, "verify", 0.0)
            try:
                self.verifier.start_over(self.original, self.place(index))
            except VerificationError as error:
                raise self.failed(VerificationError, index, before, str(error)) from error

    def verify_end(self) -> None:
        """With `verify="end"`, compare the outputs with those of the untouched graph."""
        if self.verify != "end" or self.verifier is None or not self.verifier.active:
            return
        first, first_edited, first_item = self.since
        edited = [i for i in range(first, len(self.records)) if self.records[i].edits]
        if not edited:
            return
        last = edited[-1]
        self.tell(len(self.passes) - 1, "verify", 0.0)
        exact = all(item.exact for item in self.edited[first_edited:])
        names = ", ".join(dict.fromkeys(item.name for item in self.edited[first_edited:]))
        try:
            error = self.verifier.check_end(self.graph, exact, f"the pipeline ({names})")
        except VerificationError as failure:
            text = ",".join(map(str, self.items[first_item:]))
            where = write_reproducer(self.reproducer, self.original, text, self.verifier.feeds)
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
        where = write_reproducer(self.reproducer, before, str(item), feeds)
        return kind(f"{text}; reproduce with\n  {command(where)}")

    def place(self, index: int) -> str:
        """Return the place of pass `index` in words."""
        return f"pass {index + 1} of {len(self.passes)}, '{self.passes[index].name}'"

    def tell(self, index: int, stage: str, fraction: float, note: str = "") -> None:
        """Report progress."""
        name = self.passes[index].name if self.passes else ""
        self.progress(Progress(index, len(self.passes), name, stage, fraction, note))


def _members(item: Pass | Repeat) -> tuple[Pass, ...]:
    return item.passes if isinstance(item, Repeat) else (item,)


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
    """Say whether the pass is planish's own, which edits only through `context.editing()`."""
    return type(item).__module__.startswith((__package__ or "planish").rpartition(".")[0])
