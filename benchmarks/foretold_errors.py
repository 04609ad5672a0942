"""Which error of single layers foretells that of all together: noise, or Kullback-Leibler.

    noise = sum |f(x) - f'(x)|^2 / sum |f(x)|^2        KL = mean over x of sum p log(p / q)

    python -m benchmarks.foretold_errors MODEL.onnx FEEDS.npz [--plans 60] [--samples 128]

The model gives scores of classes. Each layer and group of channels has each choice of a search
alone, then plans that are drawn with a seed have many at once. `rank`: Spearman's correlation over
the plans of the sum with the joint error; `off`: the standard deviation of log(joint / sum), which
says by what factor the sum is wrong; `flips`: Spearman's correlation with the share of samples
whose first class changes.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

import planish
from planish.ir.run.reference import Reference
from planish.tools.search.chains import layers_in, tensors_made
from planish.tools.search.plan import BASE, SitePlan, uniform
from planish.tools.search.sites import read_sites
from planish.tools.search.survey import AMOUNTS
from planish.tools.search.treatments import TREATMENTS

Array = np.ndarray[Any, Any]
_CALIBRATION = 16


@dataclass(frozen=True)
class Errors:
    """What a candidate does to the scores: noise over signal, nats, share of first classes."""

    noise: float
    divergence: float
    flips: float


class Candidates:
    """Plans over `given`, built and compared on `feeds`."""

    def __init__(self, given: gs.Graph, feeds: Sequence[dict[str, Array]]) -> None:
        self.base = planish.Pipeline.parse(BASE).run(given, verify="off").graph
        self.sites = read_sites(self.base)
        self._known = tensors_made(self.base)
        self._feeds = feeds
        self._expected = self._outputs(self.base)

    def errors(self, plan: SitePlan) -> Errors | None:
        """Return what `plan` does; None where it cannot be built, or changes nothing."""
        few = self._feeds[:_CALIBRATION]
        graph, nodes = self.base, None
        try:
            if first := plan.shape_text(self.sites):
                graph = planish.Pipeline.parse(first).run(graph, few, "off", strict=True).graph
                nodes = layers_in(graph, self.sites.layers, self._known)
            last = planish.Pipeline.parse(plan.numbers_text(self.sites, nodes))
            found = self._outputs(last.run(graph, few, "off", strict=True).graph)
        except planish.PlanishError:
            return None
        own = self._expected
        noise = float(((own - found) ** 2).sum() / (own**2).sum())
        p, q = _log_softmax(own), _log_softmax(found)
        divergence = float((np.exp(p) * (p - q)).sum(1).mean())
        flips = float(np.mean(own.argmax(1) != found.argmax(1)))
        return Errors(noise, divergence, flips) if noise > 1e-9 else None

    def _outputs(self, graph: gs.Graph) -> Array:
        """Return the scores of all samples, [samples, classes]."""
        run = Reference(graph, optimized=True)
        rows = [next(iter(run(feed).values())).reshape(-1) for feed in self._feeds]
        return np.stack(rows).astype(np.float64)


def main() -> None:
    """Print a row an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("feeds", type=Path)
    parser.add_argument("--plans", type=int, default=60)
    parser.add_argument("--samples", type=int, default=128)
    options = parser.parse_args()
    graph = planish.load(options.model)
    feeds = planish.load_feeds(options.feeds, graph)
    candidates = Candidates(graph, [dict(f) for f in itertools.islice(feeds, options.samples)])
    alone = alone_errors(candidates)
    sums, joint = [], []
    for seed in range(options.plans):
        chosen = drawn(random.Random(seed), alone)
        found = candidates.errors(planned(candidates, chosen))
        if found is None or not chosen:
            continue
        parts = [alone[choice] for choice in chosen]
        sums.append((sum(e.noise for e in parts), sum(e.divergence for e in parts)))
        joint.append((found.noise, found.divergence, found.flips))
    told, seen = np.array(sums), np.array(joint)
    print(
        f"{len(told)} plans, first classes changed {seen[:, 2].min():.0%} to {seen[:, 2].max():.0%}"
    )
    for place, name in enumerate(("noise", "KL")):
        off = np.log(seen[:, place] / told[:, place])
        print(
            f"{name:6} rank {_spearman(told[:, place], seen[:, place]):.3f}  off {off.std():.2f}  "
            f"flips {_spearman(told[:, place], seen[:, 2]):.3f}, of the joint error "
            f"{_spearman(seen[:, place], seen[:, 2]):.3f}"
        )


# A layer and its treatment, or a group and its amount: what of the plan it is, place, choice.
Choice = tuple[str, int, int]


def alone_errors(candidates: Candidates) -> dict[Choice, Errors]:
    """Return the errors of each choice that can be, alone."""
    layers, groups = len(candidates.sites.layers), len(candidates.sites.groups)
    choices: list[Choice] = [
        *(("layer", i, k) for i in range(layers) for k in range(1, len(TREATMENTS))),
        *(("group", i, k) for i in range(groups) for k in range(1, len(AMOUNTS))),
    ]
    found = {each: candidates.errors(planned(candidates, [each])) for each in choices}
    return {each: errors for each, errors in found.items() if errors is not None}


def planned(candidates: Candidates, choices: Sequence[Choice]) -> SitePlan:
    """Return the plan that has the choices, and leaves the rest alone."""
    plain = uniform(candidates.sites)
    treatments, amounts = list(plain.treatments), list(plain.amounts)
    for what, place, choice in choices:
        if what == "layer":
            treatments[place] = TREATMENTS[choice]
        else:
            amounts[place] = AMOUNTS[choice]
    return SitePlan(tuple(treatments), tuple(amounts))


def drawn(generator: random.Random, known: dict[Choice, Errors]) -> list[Choice]:
    """Return at most one choice a layer and group, of all kinds or of few, for many or few."""
    kept = {"layer": generator.random(), "group": generator.random() * generator.randint(0, 1)}
    wild = generator.random()  # how often a layer is replaced rather than in other numbers
    by_place: dict[tuple[str, int], list[Choice]] = {}
    for choice in known:
        by_place.setdefault(choice[:2], []).append(choice)
    found = []
    for (what, _), choices in by_place.items():
        if generator.random() >= kept[what]:
            continue
        plain = [c for c in choices if what == "group" or TREATMENTS[c[2]].substitute is None]
        found.append(generator.choice(choices if generator.random() < wild else plain or choices))
    return found


def _log_softmax(scores: Array) -> Array:
    moved = scores - scores.max(1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(1, keepdims=True)))


def _spearman(a: Array, b: Array) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


if __name__ == "__main__":
    main()
