"""Kernels in a row on threads that are started once, and claim parts of them until none is left.

    parallel { while (claim a part of f) f(part); wait until f is finished; while (claim ...) ... }

Starting threads for every loop takes over a microsecond, as long as a small layer's work. With
fixed shares and barriers, each kernel would wait for every thread: one that the system lets wait,
because others are busy too, would stop all of them at each kernel. How they tell each other is in
`atomics`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from ..kernels.frame import INDEPENDENT
from ..spec.machine import CpuMachine
from ..spec.open_sizes import sizes_of, variables
from .claim import Claimed, Claims
from .image_parts import MOST_PARTS, images_of, parts_of
from .region import SharedRegion

Call = Callable[..., Any]  # a range of parts, and the image of work of each -> what does them


@dataclass(frozen=True)
class KernelStage:
    """One function of a kernel, which takes a range of `parts`, and may run on many threads.

    Its parameters are the kernel's, then memory for `scratch`, then the first part and the one
    behind the last. `parts` is a number, or computed from the kernel's sizes.
    """

    function: Any
    parts: Any


@dataclass(frozen=True)
class KernelStages:
    """A kernel as stages, each of which needs the one before it; `scratch`: buffers they share."""

    stages: tuple[KernelStage, ...]
    scratch: tuple[Any, ...] = ()


def stages_of(kernel: Any) -> KernelStages | None:
    """Return `kernel` as stages of parts that any thread may do; what has no parallel loop is one.

    None where some of it cannot be told apart, or sizes hang on more than those of its tensors.
    """
    from tvm import tirx

    declared, scratch, loops = [], [], []
    for one in _statements(kernel.body):
        if isinstance(one, tirx.DeclBuffer):
            declared.append(one)
        elif isinstance(one, tirx.AllocBuffer):
            scratch.append(one.buffer)
        elif isinstance(one, tirx.Stmt):
            loops.append(one)
        else:
            scratch.append(one)
    parallel = [one for one in loops if _is_parallel(one)]
    if len(parallel) != _parallel_loops(kernel.body):
        return None  # some are inside others
    if not parallel:
        return KernelStages((_stage(kernel, (), [kernel.body], 1),))
    told = set(sizes_of(kernel))
    sizes = [*(one.extent for one in parallel), *(n for one in scratch for n in one.ty.shape)]
    if not all(told.issuperset(variables(size)) for size in sizes):
        return None
    if len(parallel) == len(loops) and INDEPENDENT in (kernel.attrs or {}):
        groups = [loops]
    elif any(isinstance(one, tirx.Bind | tirx.AttrStmt) for one in loops):
        return None  # what one says of those behind it
    else:
        groups = [[one] for one in loops]
    found = []
    for group in groups:
        parts = _parts([_extent(one) for one in group if _is_parallel(one)])
        found.append(_stage(kernel, scratch, [*declared, *group], parts))
    return KernelStages(tuple(found), tuple(scratch))


def _extent(loop: Any) -> Any:
    """Return how often `loop` is run: a number where it is known."""
    from tvm import tirx

    return int(loop.extent) if isinstance(loop.extent, tirx.IntImm) else loop.extent


def _parts(extents: Sequence[Any]) -> Any:
    """Return the parts of loops of these extents."""
    from tvm import tirx

    if all(isinstance(extent, int) for extent in extents):
        return min(max(extents, default=1), MOST_PARTS)
    wide = [tirx.Cast("int64", extent) for extent in extents]
    return tirx.Cast("int32", tirx.min(reduce(tirx.max, wide), tirx.const(MOST_PARTS, "int64")))


def _stage(kernel: Any, scratch: Sequence[Any], body: Sequence[Any], parts: Any) -> KernelStage:
    from tvm import tirx

    first, last = tirx.Var("first_part", "int32"), tirx.Var("last_part", "int32")
    done = [_range_of(one, first, last, parts) if _is_parallel(one) else one for one in body]
    params = [*kernel.params, *scratch, first, last]
    whole = tirx.SeqStmt(done) if len(done) > 1 else done[0]
    return KernelStage(tirx.PrimFunc(params, whole, kernel.ret_type, kernel.attrs), parts)


@dataclass(frozen=True)
class Work:
    """So many parts that threads claim, and the calls that do a range of them.

    `images`: how many images there are, each of so many parts; None where calls are for all.
    """

    parts: Any
    calls: Sequence[Call]
    images: Any = None

    @property
    def is_single(self) -> bool:
        """Say whether it is one part, or one of each image."""
        return isinstance(self.parts, int) and self.parts == 1

    @property
    def claimed(self) -> Any:
        """The parts that threads claim: of all images; a number, or an int64."""
        from tvm import tirx

        if self.images is not None:
            return parts_of(self.images, self.parts)
        return self.parts if isinstance(self.parts, int) else tirx.Cast("int64", self.parts)


class Team:
    """Threads that work together, in functions of `module`: regions of stages, one after the other.

    `arena`: a pointer to memory, of which they may have what `claims` need.
    """

    def __init__(self, claims: Claims, machine: CpuMachine, module: Any, arena: Any) -> None:
        self._claims = claims
        self._machine = machine
        self._module = module
        self._arena = arena
        self._regions = 0  # so many emitted

    def emit(self, phases: Sequence[Sequence[Work]]) -> Any:
        """Emit a region that threads run, and return what tells of a failure: not 0.

        The stages of a phase do not need each other; all of the phase before are finished. Who runs
        the region has waited for all parts.
        """
        phases = list(_chained(phases))

        def body(state: Any, share: Any, stages: Any, parts: Any) -> None:
            claimed = _claimed(phases)
            for index, (phase, several) in enumerate(zip(phases, claimed, strict=True)):
                if index:
                    self._claims.wait(state, parts + claimed[index - 1][-1].goal)
                for work, stage in zip(phase, several, strict=True):
                    self._emit_stage(state, stage.behind(stages, parts), work, share)

        name = f"planish_region_{self._regions}"
        self._regions += 1
        region = SharedRegion.of(name, self._module, self._claims.shares, body)
        count = sum(map(len, phases)), _narrow(_total(phases))
        return region.run(self._claims, self._module, self._machine, self._arena, count)

    def _emit_stage(self, state: Any, stage: Claimed, work: Work, share: Any) -> None:
        """Emit what one thread does of a stage."""
        from tvm import tirx
        from tvm.tirx.script.builder import ir as script

        zero = tirx.const(0, "int32")
        claimed, failed = script.alloc_buffer((3,), "int32"), script.alloc_buffer((1,), "int32")
        script.buffer_store(claimed, zero, [2])

        def claim() -> None:
            self._claims.claim(state, stage, share, tirx.address_of(claimed[0]))

        claim()
        with script.While(claimed[1] > claimed[0]):
            script.buffer_store(failed, zero, [0])
            with images_of(work.images, work.parts, stage.parts, claimed) as part:
                for call in work.calls:
                    script.buffer_store(failed, failed[0] | call(*part), [0])
            with script.If(failed[0] != zero), script.Then():
                self._claims.fail(state, failed[0])
            claim()


def _claimed(phases: Sequence[Sequence[Work]]) -> list[list[Claimed]]:
    """Return the stages of `phases`, numbered in their order; what is computed is emitted here."""
    found: list[list[Claimed]] = []
    number, finished = 0, 0
    for phase in phases:
        keep = _kept(2 * len(phase) + 1)
        counts = [keep(work.claimed) for work in phase]
        goal = keep(sum(counts, finished))
        stages = []
        for parts in counts:
            number += 1
            finished = keep(finished + parts)
            stages.append(Claimed(number=number, parts=_narrow(parts), until=finished, goal=goal))
        found.append(stages)
    return found


def _total(phases: Sequence[Sequence[Work]]) -> Any:
    """Return the parts of all `phases`."""
    found: Any = 0
    for phase in phases:
        found = _kept(1)(sum((work.claimed for work in phase), found))
    return found


def _narrow(number: Any) -> Any:
    from tvm import tirx

    return number if isinstance(number, int) else tirx.Cast("int32", number)


def _chained(phases: Sequence[Sequence[Work]]) -> Iterator[Sequence[Work]]:
    """Yield `phases`; those in a row that are one part each are one: who does one goes on.

    So are those that are one part of each image.
    """
    single: list[Work] = []
    for phase in [*phases, None]:
        work = phase[0] if phase is not None and len(phase) == 1 and phase[0].is_single else None
        if single and (work is None or (work.images is None) != (single[0].images is None)):
            yield [Work(1, [call for one in single for call in one.calls], single[0].images)]
            single = []
        if work is not None:
            single.append(work)
        elif phase is not None:
            yield phase


def _statements(body: Any) -> Iterator[Any]:
    """Yield the statements of a kernel's outermost block, and the buffers that belong to it."""
    from tvm import s_tir, tirx

    if isinstance(body, s_tir.SBlockRealize):
        block = body.block
        yield from [*block.alloc_buffers, *_statements(block.body)]
    elif isinstance(body, tirx.SeqStmt):
        for one in body.seq:
            yield from _statements(one)
    else:
        yield body


def _is_parallel(statement: Any) -> bool:
    from tvm import tirx

    return isinstance(statement, tirx.For) and statement.kind == tirx.ForKind.PARALLEL


def _parallel_loops(body: Any) -> int:
    """Return the number of parallel loops, wherever they are."""
    import tvm_ffi
    from tvm import tirx

    found: list[Any] = []
    tvm_ffi.structural_walk(body, (tirx.For, lambda one: found.append(one)))
    return sum(map(_is_parallel, found))


def _kept(most: int) -> Callable[[Any], Any]:
    """Return what computes a number once, here, and gives the memory that holds it.

    A variable would be seen through wherever it is read, and so would a buffer with many numbers:
    TVM takes seconds for sums of sums.
    """
    from tvm.tirx.script.builder import ir as script

    held: list[Any] = []
    places = itertools.count()

    def keep(number: Any) -> Any:
        if isinstance(number, int):
            return number
        if not held:
            held.append(script.alloc_buffer((most,), "int64"))
        place = next(places)
        script.buffer_store(held[0], number, [place])
        return held[0][place]

    return keep


def _range_of(loop: Any, first: Any, last: Any, parts: Any) -> Any:
    """Return `loop` over the range from part `first` up to `last` of `parts`, in order."""
    from tvm import tirx

    kind, extent = loop.loop_var.ty.dtype, _extent(loop)

    def turn(part: Any) -> Any:
        """Return `extent` * `part` // `parts`; no number on the way is much larger than both."""
        if not isinstance(parts, int):
            times, count = (tirx.Cast("int64", one) for one in (part, parts))
            return tirx.Cast(kind, tirx.floordiv(tirx.Cast("int64", extent) * times, count))
        if extent == parts:
            return tirx.Cast(kind, part)
        whole, rest = divmod(extent, parts)
        small = tirx.floordiv(rest * part, parts)  # below 2 to the 24
        return whole * tirx.Cast(kind, part) + tirx.Cast(kind, small)

    begin, counter = tirx.Var("begin", kind), tirx.Var("turn", kind)
    inner = tirx.SeqStmt([tirx.Bind(loop.loop_var, loop.min + begin + counter), loop.body])
    if isinstance(parts, int):
        count = turn(last) - begin
        serial = tirx.For(counter, tirx.const(0, kind), count, tirx.ForKind.SERIAL, inner)
        return tirx.SeqStmt([tirx.Bind(begin, turn(first)), serial])
    # In memory: TVM looks through variables wherever they are read, and takes seconds.
    held, places = tirx.decl_buffer((2,), kind, "held"), [tirx.const(i, "int32") for i in (0, 1)]
    count = held[places[1]] - begin
    serial = tirx.For(counter, tirx.const(0, kind), count, tirx.ForKind.SERIAL, inner)
    ends = zip((first, last), places, strict=True)
    stores = [tirx.BufferStore(held, turn(part), [place]) for part, place in ends]
    return tirx.SeqStmt(
        [tirx.AllocBuffer(held), *stores, tirx.Bind(begin, held[places[0]]), serial]
    )
