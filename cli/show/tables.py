"""What the command line shows: tables and progress bars, drawn by Rich."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ...backends.timing.bench import Timing
from ...backends.timing.loadgen import LoadResult
from ...ir.run.compare import Comparison
from ...passes.analysis.cost import GraphCost
from ...passes.analysis.roofline import Machine, Roofline
from ...passes.engine.records import PassRecord, Result
from ...passes.engine.records import Progress as Step

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def scaled(value: float | None, unit: str = "") -> str:
    """Return a number with a metric prefix and three digits, `1.81 G`; None is a question mark."""
    if value is None:
        return "?"
    for factor, prefix in _UNITS:
        if value >= 0.9995 * factor:  # rounds to 1 with three digits
            return f"{value / factor:.3g} {prefix}{unit}".rstrip()
    return f"{value:g} {unit}".rstrip()


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
            f"{1000 * record.seconds:.1f} ms",
            "" if record.error is None else f"{record.error:.1e}",
        )
    idle = [record for record in records if not record.edits]
    if idle:
        names = idle[0].text if len(idle) == 1 else f"{len(idle)} passes without edits"
        seconds = sum(record.seconds for record in idle)
        table.add_row(names, "", "0", f"{1000 * seconds:.1f} ms", "")
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


def verification_line(result: Result) -> str:
    """Say in one line what verification found."""
    remark = f"; {result.note}" if result.note else ""
    if result.verified and result.tolerance is None:
        error = result.error or 0.0
        return f"measured: largest error {error:.1e} of the output's range{remark}"
    if result.verified:
        error = result.error or 0.0
        allowed = f"{result.tolerance:.1e} allowed"
        return f"verified: largest error {error:.1e} of the output's range, {allowed}{remark}"
    return f"NOT verified: {result.note}" if result.note else "not verified (--verify off)"


def timings_table(timings: Sequence[Timing]) -> Table:
    """Return the table of latencies; the first row is what the ratios refer to."""
    table = plain_table("model", ">batch", ">median", ">p90", ">min", ">ratio", ">samples/s")
    for timing in timings:
        table.add_row(
            timing.label,
            str(timing.batch),
            f"{timing.median_ms:.3f} ms",
            f"{timing.p90_ms:.3f} ms",
            f"{timing.min_ms:.3f} ms",
            f"{timing.ratio:.3f}",
            f"{timing.samples_per_second:.1f}",
        )
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Return the table of distances, an output a row."""
    table = plain_table("output", ">max abs", ">max rel", ">SQNR", ">cosine", ">top-1 agreement")
    for output in comparison.outputs:
        agreement = output.top1_agreement
        table.add_row(
            output.name,
            f"{output.max_abs:.3g}",
            f"{output.max_rel:.3g}",
            f"{output.sqnr_db:.1f} dB",
            f"{output.cosine:.6f}",
            "" if agreement is None else f"{100 * agreement:.1f} %",
        )
    return table


def loadgen_table(loads: Sequence[tuple[str, int, LoadResult]]) -> Table:
    """Return the table of LoadGen's results, a run a row."""
    table = plain_table(
        "model", "scenario", ">batch", "result", ">p90", ">samples/s", ">samples", "why"
    )
    for label, batch, load in loads:
        table.add_row(
            label,
            load.scenario,
            str(batch),
            "VALID" if load.valid else "INVALID",
            "" if load.p90_ms is None else f"{load.p90_ms:.3f} ms",
            f"{load.samples_per_second:.1f}",
            str(load.samples),
            " ".join(load.reasons),
        )
    return table


def machine_line(machine: Machine, peak_given: bool, bandwidth_given: bool) -> str:
    """Say in one line which figures of the machine the roofline is drawn from."""
    how = [" (given)" if given else " (measured)" for given in (peak_given, bandwidth_given)]
    return (
        f"machine: {scaled(_three(machine.peak), 'FLOP/s')}{how[0]}, "
        f"{scaled(_three(machine.bandwidth), 'B/s')}{how[1]}; compute-bound from "
        f"{machine.ridge:.1f} FLOP/B on"
    )


def _three(value: float) -> float:
    """Return `value` with three digits, which is what a measurement is good for."""
    return float(f"{value:.3g}")


def cost_table(
    cost: GraphCost, times: Roofline, most: int | None = None, top: int | None = None
) -> Table:
    """Return the table of nodes with their costs and roofline times, and the totals.

    At most the first `most` nodes are shown, or the `top` slowest in falling order.
    """
    columns = ("MACs", "parameters", "bytes moved", "roofline", "share")
    table = plain_table("node", "output", *(f">{name}" for name in columns), "bound")
    table.show_footer = True
    shown = times.nodes if most is None else times.nodes[:most]
    if top is not None:
        shown = tuple(sorted(shown, key=lambda node: -(node.seconds or 0))[:top])
    for node in shown:
        shape = node.cost.output_shape
        table.add_row(
            node.cost.node,
            "?" if shape is None else " x ".join("?" if d is None else str(d) for d in shape),
            "" if node.cost.macs == 0 else scaled(node.cost.macs),
            "" if node.cost.parameters == 0 else scaled(node.cost.parameters),
            scaled(node.cost.bytes_moved, "B"),
            _duration(node.seconds),
            "?" if node.share is None else f"{100 * node.share:.1f} %",
            node.bound or "?",
        )
    if len(shown) < len(cost.nodes):
        table.add_row(f"... {len(cost.nodes) - len(shown)} more", *[""] * 7)
    totals = (
        "total",
        "",
        scaled(cost.macs),
        scaled(cost.parameters),
        scaled(cost.bytes_moved, "B"),
        _duration(times.seconds),
        "",
        "",
    )
    for column, total in zip(table.columns, totals, strict=True):
        column.footer = total
    return table


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    return f"{1e6 * seconds:.3g} us" if seconds < 0.9995e-3 else f"{1e3 * seconds:.3g} ms"


def listing_table(rows: Sequence[tuple[str, ...]], *headers: str) -> Table:
    """Return a plain table of text."""
    table = plain_table(*headers)
    for row in rows:
        table.add_row(*row)
    return table


@contextmanager
def pass_progress(console: Console) -> Iterator[Callable[[Step], None]]:
    """Show a progress bar while passes run; yields the callback for `Pipeline.run`."""
    with progress_bar(console, "") as update:

        def show(step: Step) -> None:
            update(
                (step.index + step.fraction) / max(step.total, 1),
                f"{step.stage} {step.name} {step.note}",
            )

        yield show


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar; yields a function of the fraction done and a word about it."""
    bar = Progress(
        TextColumn("{task.description:<40}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # else it leaves an empty line in logs
    )
    with bar:
        task = bar.add_task(title, total=1.0)
        yield lambda fraction, word: bar.update(task, completed=fraction, description=word or title)


class _PlainTable(Table):
    """A table whose cells are text as it is: names may hold what Rich reads as markup."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add one row."""
        super().add_row(*(Text(c) if isinstance(c, str) else c for c in cells), **options)


def plain_table(*headers: str) -> Table:
    """Return an empty table; a header that starts with `>` is of figures, aligned right."""
    table = _PlainTable(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for header in headers:
        right = header.startswith(">")
        table.add_column(
            header.lstrip(">"),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right,  # figures stay whole where names must fold
        )
    return table
