"""What a run of a pipeline found, as JSON has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...ir.run.comparison import Comparison
from ...ir.run.distance import OutputComparison
from ...passes.engine.records import Failure, PassRecord, Result


def run_json(result: Result, drawn: Mapping[str, Sequence[int]] | None) -> dict[str, Any]:
    """Return passes, what verification found, and what was measured.

    `drawn`: shapes of the random inputs, by name; None where there were feeds.
    """
    quality, compared = result.quality, result.comparison
    metrics = list(map(asdict, quality.metrics))
    if not metrics and compared is not None:
        metrics = metrics_json(compared)
    return {
        "passes": list(map(_pass, result.records)),
        "verification": {
            "verified": result.verified,
            "error": result.error,
            "tolerance": result.tolerance,
            "note": result.note,
            "feeds": None if compared is None else compared.feeds,
        },
        "inputs": drawn,
        "outputs": outputs_json(() if compared is None else compared.outputs),
        "metrics": metrics,
        "speedup": quality.speedup,
        "remarks": list(result.remarks),
        "failures": list(map(_failure, result.failures)),
    }


def outputs_json(outputs: Iterable[OutputComparison]) -> list[dict[str, Any]]:
    """Return the distance of each output, without ratios where being equal shows nothing."""
    untold = {"sqnr_db": None, "cosine": None, "top1_agreement": None}
    return [asdict(each) | (untold if each.is_untold else {}) for each in outputs]


def metrics_json(compared: Comparison) -> list[dict[str, Any]]:
    """Return what outputs were judged by, without values where being equal shows nothing."""
    untold = {"value": None, "low": None, "expected": None}
    return [
        asdict(metric) | ({} if compared.is_told(place) else untold)
        for place, metric in enumerate(compared.metrics)
    ]


def _pass(record: PassRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "text": record.text,
        "round": record.round,
        "edits": record.edits,
        "seconds": record.seconds,
        "nodes_before": record.nodes_before,
        "nodes_after": record.nodes_after,
        "error": record.error,
        "remarks": list(record.remarks),
        "touched": list(record.touched),
        "declined": [asdict(decline) for decline in record.declined],
        "undone": record.undone,
    }


def _failure(failure: Failure) -> dict[str, Any]:
    folder = failure.reproducer
    return {**asdict(failure), "reproducer": None if folder is None else str(folder)}
