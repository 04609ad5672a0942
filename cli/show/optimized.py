"""What `planish optimize` says of a model when it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...ir.core.counted import counted
from ...ir.core.scaled import scaled
from ...passes.engine.records import PassRecord, Result
from .certificates import certificate_json, certificate_table, open_lines
from .console import is_verbose, out, print_plain
from .failures import failure_lines
from .graph_size import GraphSize, operators_table, size_line
from .records import (
    declined_table,
    records_table,
    remark_lines,
    verification_line,
    warn_of_noise,
)
from .run_json import run_json


@dataclass(frozen=True, kw_only=True)
class OptimizedModel:
    """One model, before and after: `bytes_before` and `after` None of streams and of no file.

    `drawn`: shapes of the random inputs, by name; None where there were feeds. `nodes`: those of
    the result, where fused operators are one node each.
    """

    model: Path
    output: Path | None
    certificate: Path | None
    result: Result
    drawn: Mapping[str, Sequence[int]] | None
    before: GraphSize
    after: GraphSize
    bytes_before: int | None
    bytes_after: int | None
    nodes: int

    @property
    def size_ratio(self) -> float | None:
        """The size of the file as a part of what it was; None where one is not known."""
        if self.bytes_before is None or self.bytes_after is None:
            return None
        return self.bytes_after / max(self.bytes_before, 1)


def show_optimized(run: OptimizedModel, *, why: bool, drawn: bool) -> None:
    """Print passes, remarks, what was left alone, and what came of it all.

    `drawn`: there were no feeds.
    """
    records = run.result.records
    out.print(records_table(records))
    for line in (*remark_lines(records), *run.result.remarks):
        print_plain(line)
    declined = declined_table(records) if why else None
    if declined is not None:
        out.print()
        out.print(declined)
    if is_verbose():
        out.print()
        out.print(operators_table(run.before, run.after))
    out.print()
    print_plain(verification_line(run.result, size=run.size_ratio))
    warn_of_noise(run.result, drawn=drawn)
    _show_proofs(run.result)
    print_plain(size_line(run.before, run.after, run.nodes))
    if not why and (left := _left_alone(records)):
        print_plain(left)
    print_plain(_written(run))
    for line in failure_lines(run.result.failures):
        print_plain(line)


def optimized_json(run: OptimizedModel) -> dict[str, Any]:
    """Return all that is known of the run as JSON has it."""
    return {
        "model": str(run.model),
        "output": None if run.output is None else str(run.output),
        "certificate": _certificate(run),
        **run_json(run.result, run.drawn),
        "before": {**asdict(run.before), "nodes": run.before.nodes, "bytes": run.bytes_before},
        "after": {**asdict(run.after), "nodes": run.after.nodes, "bytes": run.bytes_after},
    }


def _certificate(run: OptimizedModel) -> dict[str, Any] | None:
    certificate, file = run.result.certificate, run.certificate
    if certificate is None:
        return None
    return {"file": None if file is None else str(file), **certificate_json(certificate)}


def _show_proofs(result: Result) -> None:
    """Print what is proved, where that was asked for."""
    if result.certificate is None:
        return
    print_plain(result.certificate.verdict())
    for line in open_lines(result.certificate):
        print_plain(line)
    if is_verbose():
        out.print(certificate_table(result.certificate))


def _left_alone(records: Sequence[PassRecord]) -> str:
    sites = sum(len(record.declined) for record in records)
    return f"left alone: {counted(sites, 'site')}; --why says which, and why" if sites else ""


def _written(run: OptimizedModel) -> str:
    before = str(run.model)
    if run.bytes_before is not None:
        before += f": {scaled(run.bytes_before, 'B')}"
    if run.output is None:
        return f"{before} -> nothing was written; add -o FILE"
    size = "" if run.bytes_after is None else f": {scaled(run.bytes_after, 'B')}"
    beside = "" if run.certificate is None else f"; {run.certificate}"
    return f"{before} -> {run.output}{size}{beside}"
