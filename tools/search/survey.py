"""The measurements that a search chooses by: costs of every candidate at every site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...ir.core.option_text.options import show_value
from ...ir.files.load import load
from ...passes.pipeline.presets import PRESETS
from ..tasks.journal import TaskJournal
from ..tasks.task import Outcome, Task
from .build import MODEL, build_task
from .clock import profile_task
from .costs import PRECISIONS, SiteCosts, crossing_of, seconds_of
from .errors import alone_task, pruned_alone, quantized_alone
from .plan import BASE, Precision, SitePlan, prune_text
from .request import Request
from .sites import Sites, channels_left, read_sites

AMOUNTS = (0.0, 0.25, 0.5, 0.75)
# Times depend on shapes and not on values: ranges of few feeds do, and nothing is rounded.
_TIMED = {
    "float": "exact",
    "int8": (
        "align-depthwise{multiple=16},lower-conv-transpose,"
        "quantize{measure=false,guard=off,calibration=min-max,correct-bias=false,"
        f"channel-scales=false}},{PRESETS['simplify']}"
    ),
}
_FEW = 4
_FEEDS = 16
_ROUNDS = 30


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a search starts from: files of the model and of feeds to learn from and to judge by."""

    model: Path
    learn: Path
    judge: Path


class Survey:
    """Measures, through `journal`, what `given` costs under each candidate."""

    def __init__(self, journal: TaskJournal, given: Given, request: Request) -> None:
        self._journal = journal
        self._given = given
        self._request = request
        self._labels = request.metric.labels

    def base(self) -> Path:
        """Return the model whose layers and channels are the sites."""
        return self._made(self._given.model, BASE, "simplify")

    def costs(self, base: Path) -> SiteCosts:
        """Measure all candidates of the model at `base`."""
        sites = read_sites(load(base))
        masked = [
            self._build(base, prune_text(amount), f"mask {amount:.0%} of the channels")
            for amount in AMOUNTS[1:]
        ]
        outcomes = self._run(masked)
        models = [base, *(outcome.files[MODEL] for outcome in outcomes)]
        left = self._left(models, sites)
        seconds = np.stack([self._seconds(models, precision, sites) for precision in PRECISIONS])
        quantized, *pruned = self._noise(models, sites)
        return SiteCosts(
            sites=sites,
            amounts=AMOUNTS,
            left=left,
            seconds=seconds,
            quantized=np.array(quantized),
            pruned=np.array([[0.0] * len(sites.groups), *pruned]),
            crossing=self._crossing(base, sites, seconds[:, 0]),
        )

    def _left(self, models: Sequence[Path], sites: Sites) -> np.ndarray:
        channels = np.array([group.channels for group in sites.groups], np.float64)
        counts = [channels_left(load(model), sites) for model in models]
        return np.array(counts) / np.maximum(channels, 1)

    def _seconds(self, models: Sequence[Path], precision: Precision, sites: Sites) -> np.ndarray:
        tasks = [
            self._build(
                model,
                f"shrink-channels{{measure=false}},{_TIMED[precision]}",
                f"{precision} with {amount:.0%} of the channels gone",
                most_feeds=_FEW,
            )
            for amount, model in zip(AMOUNTS, models, strict=True)
        ]
        built = [outcome.files[MODEL] for outcome in self._run(tasks)]
        profiles = self._run([self._profile(path, sites) for path in built])
        return np.stack([seconds_of(outcome.value) for outcome in profiles])

    def _crossing(self, base: Path, sites: Sites, seconds: np.ndarray) -> float:
        """Return the seconds of a value that crosses between integers and floats."""
        plan = SitePlan(
            tuple("int8" if i % 2 else "float" for i in range(len(sites.layers))),
            (0.0,) * len(sites.groups),
        )
        floats = tuple(
            site.name
            for site, precision in zip(sites.layers, plan.precisions, strict=True)
            if precision == "float"
        )
        text = _TIMED["int8"].replace("guard=off", f"guard=off,exclude={show_value(floats)}")
        (built,) = self._run([self._build(base, text, "every second layer int8", most_feeds=_FEW)])
        (profile,) = self._run([self._profile(built.files[MODEL], sites)])
        return crossing_of(sites, plan, float(profile.value["whole"]), seconds)

    def _noise(self, models: Sequence[Path], sites: Sites) -> list[list[float]]:
        feeds = {"feeds": self._given.learn}
        tasks = [
            alone_task(
                quantized_alone,
                sites,
                {"model": models[0], **feeds},
                self._labels,
                _FEEDS,
                "each layer alone on integers",
            )
        ]
        tasks += [
            alone_task(
                pruned_alone,
                sites,
                {"model": models[0], "masked": masked, **feeds},
                self._labels,
                _FEEDS,
                f"{amount:.0%} of each group's channels gone alone",
            )
            for amount, masked in zip(AMOUNTS[1:], models[1:], strict=True)
        ]
        return [outcome.value for outcome in self._run(tasks)]

    def _made(self, model: Path, pipeline: str, what: str) -> Path:
        (outcome,) = self._run([self._build(model, pipeline, what)])
        return outcome.files[MODEL]

    def _build(self, model: Path, pipeline: str, what: str, most_feeds: int | None = None) -> Task:
        return build_task(
            model,
            pipeline,
            self._given.learn,
            labels=self._labels,
            most_feeds=most_feeds,
            target=self._request.runtime.target,
            seed=self._request.seed,
            what=what,
        )

    def _profile(self, model: Path, sites: Sites) -> Task:
        return profile_task(
            model,
            [site.name for site in sites.layers],
            self._given.learn,
            self._labels,
            self._request.runtime,
            rounds=_ROUNDS,
            what="time of each layer",
        )

    def _run(self, tasks: Sequence[Task]) -> list[Outcome]:
        return [outcome.require() for outcome in self._journal.run(tasks)]
