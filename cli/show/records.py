"""What a run of a pipeline shows: its passes, what they left alone, and the verification."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from ...ir.core.durations import duration
from ...passes.engine.records import PassRecord, Result
from ...passes.trust.measured import measured_parts, noise_warning
from ...passes.trust.verdict import verdict_line
from .console import warn
from .plain import plain_table


def records_table(records: Sequence[PassRecord]) -> Table:
    """Return the table of passes: nodes before and after, edits, time, largest error measured.

    Passes that made no edit share the last row.
    """
    table = plain_table("pass", ">nodes", ">edits", ">time", ">largest error")
    for record in records:
        if not record.edits:
            continue
        again = f" (round {record.round})" if record.round > 1 else ""
        table.add_row(
            record.text + again,
            f"{record.nodes_before} -> {record.nodes_after}",
            str(record.edits),
            duration(record.seconds),
            "" if record.error is None else f"{record.error:.1e}",
        )
    idle = [record for record in records if not record.edits]
    if idle:
        names = idle[0].text if len(idle) == 1 else f"{len(idle)} passes without edits"
        seconds = sum(record.seconds for record in idle)
        table.add_row(names, "", "0", duration(seconds), "")
    return table


def declined_table(records: Sequence[PassRecord], examples: int = 3) -> Table | None:
    """Return the table of reasons for which passes left sites alone, or None without any."""
    table = plain_table("pass", ">sites", "left alone because", "such as")
    for record in records:
        reasons = Counter(decline.reason for decline in record.declined)
        for reason, count in reasons.most_common():
            nodes = [d.node for d in record.declined if d.reason == reason][:examples]
            table.add_row(record.name, str(count), reason, ", ".join(nodes))
    return table if table.row_count else None


def remark_lines(records: Sequence[PassRecord]) -> list[str]:
    """Return what passes told, a line each."""
    return [f"{record.name}: {remark}" for record in records for remark in record.remarks]


def verification_line(result: Result, *, size: float | None = None) -> str:
    """Say in one line what verification found, and what was measured of what is not exact.

    `size`: that of the result's file, as a part of the file's before.
    """
    if not (result.verified or result.note):
        return "not verified (--verify off)"
    if result.verified and result.comparison is not None:
        parts = measured_parts(result.comparison, result.quality)
        parts += [] if size is None else [f"{size:.2f} of the size"]
        return f"measured: {'; '.join([*parts, *filter(None, [result.note])])}"
    if not (result.verified or result.edits):
        return f"not verified, and no pass edited: {result.note}"
    return verdict_line(result.verified, result.error, result.tolerance, result.note)


def warn_of_noise(result: Result, *, drawn: bool) -> None:
    """Warn where an output is nearly noise; `drawn`: inputs were, as no feeds were given."""
    found = "" if result.comparison is None else noise_warning(result.comparison, drawn=drawn)
    if found:
        warn(found)
