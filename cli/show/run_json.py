"""What a run of a pipeline found, as JSON has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ...ir.metrics.result import MetricResult
from ...ir.run.compare import OutputComparison
from ...passes.engine.records import Failure, PassRecord, Result


def run_json(result: Result) -> dict[str, Any]:
    """Return passes, what verification found, and what was measured."""
    quality, compared = result.quality, result.comparison
    metrics = quality.metrics or (() if compared is None else compared.metrics)
    return {
        "passes": list(map(_pass, result.records)),
        "verification": {
            "verified": result.verified,
            "error": result.error,
            "tolerance": result.tolerance,
            "note": result.note,
        },
        "outputs": outputs_json(() if compared is None else compared.outputs),
        "metrics": metrics_json(metrics),
        "speedup": quality.speedup,
        "remarks": list(result.remarks),
        "failures": list(map(_failure, result.failures)),
    }


def outputs_json(outputs: Iterable[OutputComparison]) -> list[dict[str, Any]]:
    """Return the distance of each output, without ratios where being equal shows nothing."""
    untold = {"sqnr_db": None, "cosine": None, "top1_agreement": None}
    return [asdict(each) | (untold if each.is_untold else {}) for each in outputs]


def metrics_json(metrics: Iterable[MetricResult]) -> list[dict[str, Any]]:
    """Return what outputs were judged by."""
    return [asdict(metric) for metric in metrics]


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
        "declined": [asdict(decline) for decline in record.declined],
        "undone": record.undone,
    }


def _failure(failure: Failure) -> dict[str, Any]:
    folder = failure.reproducer
    return {**asdict(failure), "reproducer": None if folder is None else str(folder)}
