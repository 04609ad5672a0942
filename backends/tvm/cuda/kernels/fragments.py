"""Warp matrix instructions in place of loops over 16x16 elements.

    fill: C = 0    load: fragment = tile of shared memory    sync: C += A * B    store: tile = C

A block marked with the name of an instruction keeps what it reads and writes and gets a new body.
`Schedule.tensorize` would do this, and check it; in TVM 0.27 it ends the process, and importing its
instructions takes a minute.

Source: CUDA C++ Programming Guide, "Warp Matrix Functions".
"""

from __future__ import annotations

from typing import Any

FRAGMENT = 16
_MARK = "planish.fragment"


def mark(schedule: Any, block: Any, name: str) -> None:
    """Ask for the instruction `name`: fill, load_a, load_b, sync or store."""
    schedule.annotate(block, _MARK, name)


def with_instructions(function: Any) -> Any:
    """Return `function` with an instruction for every marked block."""
    import tvm_ffi
    from tvm import s_tir

    def replaced(block: Any, mutator: Any) -> Any:
        name = block.annotations.get(_MARK) if block.annotations else None
        return mutator.default_mutate(block) if name is None else _instruction(block, str(name))

    return tvm_ffi.structural_mutate(function, [(s_tir.SBlock, replaced)])


def _instruction(block: Any, name: str) -> Any:
    from tvm import s_tir, tirx

    written = block.writes[0]
    read = [region for region in block.reads if not region.source.same_as(written.source)]
    regions = [written, *read]
    matched = [_match(region) for region in regions]
    call = _call(name, [match.buffer for match in matched])
    annotations = {key: value for key, value in block.annotations.items() if key != _MARK}
    return s_tir.SBlock(
        block.iter_vars,
        block.reads,
        block.writes,
        block.name_hint,
        tirx.Evaluate(call),
        match_buffers=matched,
        annotations=annotations,
    )


def _match(region: Any) -> Any:
    """Return a 16x16 buffer bound to `region`, whatever stands around it."""
    from tvm import s_tir, tirx

    source = region.source
    buffer = tirx.decl_buffer(
        (FRAGMENT, FRAGMENT),
        source.dtype,
        f"{source.name}_fragment",
        strides=[tirx.Var("s1", "int64"), tirx.Var("s0", "int64")],
        elem_offset=tirx.Var("offset", "int64"),
        scope=source.scope(),
        data_alignment=64,
        offset_factor=FRAGMENT,
    )
    return s_tir.MatchBufferRegion(buffer, region)


def _call(name: str, buffers: list[Any]) -> Any:
    from tvm import tirx

    sizes = [FRAGMENT] * 3
    first = buffers[0]
    if name == "fill":
        zero = tirx.const(0.0, "float32")
        return _intrinsic("tvm_fill_fragment", first.data, *sizes, _index(first), zero)
    if name == "sync":
        pairs = [part for one in (first, *buffers[1:], first) for part in (one.data, _index(one))]
        return _intrinsic("tvm_mma_sync", *pairs)
    if name == "store":
        fragment, memory, layout, access = buffers[1], first, "row_major", "w"
    else:
        fragment, memory, access = first, buffers[1], "r"
        layout = "row_major" if name == "load_a" else "col_major"
    kind = "tvm_store_matrix_sync" if name == "store" else "tvm_load_matrix_sync"
    pointer = memory.access_ptr(access, ptr_type=memory.dtype)
    return _intrinsic(
        kind, fragment.data, *sizes, _index(fragment), pointer, memory.strides[0], layout
    )


def _index(buffer: Any) -> Any:
    """Return the number of a fragment in its array: fragments are stored row by row."""
    row = buffer.strides[0]
    down, across = buffer.elem_offset // row // FRAGMENT, buffer.elem_offset % row // FRAGMENT
    return down * (row // FRAGMENT) + across


def _intrinsic(name: str, *args: Any) -> Any:
    from tvm import tirx

    return tirx.call_intrin("handle", f"tirx.{name}", *args)
