"""The front as a document: all that a report or another program wants of a search, in JSON."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.core.atomic import replacing
from .costs import SiteCosts
from .front import Point, misses
from .request import Request
from .search import Found
from .treatments import TREATMENTS

FORMAT = "planish-search-1"


def document(found: Found, request: Request, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked, measured and found; `told`: model, output, command, versions."""
    front = [found.points.index(point) for point in found.front]
    return {
        "format": FORMAT,
        **told,
        "machine": platform.processor() or platform.machine(),
        "budget": asdict(request.budget),
        "runtime": asdict(found.runtime),
        "seed": request.seed,
        "baseline_seconds": found.baseline,
        "points": [_point(point, request, found) for point in found.points],
        "front": front,
        "best": found.points.index(found.best),
        "misses": misses(found.best, request.budget),
        "foresight": asdict(found.foresight),
        "failed": [{"pipeline": text, "error": error} for text, error in found.failed],
        "left_out": list(found.left_out),
        "sites": None if found.costs is None else _sites(found.costs),
    }


def write_document(path: Path, told: Mapping[str, Any]) -> None:
    """Write the document, whole or not at all."""
    with replacing(path) as file:
        file.write(json.dumps(_finite(told), indent=1).encode())


def _point(point: Point, request: Request, found: Found) -> dict[str, Any]:
    sites: dict[str, Any] = {}
    if point.plan is not None and found.costs is not None:
        names = found.costs.sites
        sites = {
            "treatments": {
                site.name: treatment.name
                for site, treatment in zip(names.layers, point.plan.treatments, strict=True)
            },
            "amounts": {
                group.name: amount
                for group, amount in zip(names.groups, point.plan.amounts, strict=True)
                if amount
            },
        }
    return {**point.to_json(), "misses": misses(point, request.budget), "sites": sites}


def _sites(costs: SiteCosts) -> dict[str, Any]:
    sites = costs.sites
    return {
        "amounts": list(costs.amounts),
        "layers": [
            {
                "name": site.name,
                "op": site.op,
                "treatments": {
                    treatment.name: {
                        "seconds": costs.seconds[k, :, i].tolist(),
                        "noise": float(costs.noise[k, i]),
                        "parameters": float(costs.parameters[k, i]),
                    }
                    for k, treatment in enumerate(TREATMENTS)
                    if np.isfinite(costs.noise[k, i])
                },
            }
            for i, site in enumerate(sites.layers)
        ],
        "groups": [
            {
                "name": group.name,
                "layers": list(group.layers),
                "channels": group.channels,
                "left": costs.left[:, g].tolist(),
                "noise": costs.pruned[:, g].tolist(),
            }
            for g, group in enumerate(sites.groups)
        ],
        "crossing_seconds_per_value": costs.crossing,
    }


def _finite(value: Any) -> Any:
    """Return `value` with numbers that JSON has not as text."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
