"""The measurements that a search chooses by: costs of every candidate at every site."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...ir.core.option_text.options import show_value
from ...ir.files.load import load
from ...passes.pipeline.presets import PRESETS
from ..tasks.journal import TaskJournal
from ..tasks.task import Outcome, Task, TaskCall
from ..trials.build import MODEL, build_task
from ..trials.clock import profile_task
from .chains import parameters_of, substitutes_in, tensors_made
from .costs import SiteCosts, crossing_of, seconds_of
from .errors import alone_task, pruned_alone, quantized_alone, substituted_alone, weights_alone
from .plan import BASE, SitePlan, prune_text
from .request import Request
from .sites import Sites, channels_left, read_sites
from .solver import Array
from .treatments import FLOAT, SUBSTITUTES, TREATMENTS, Substitute, Treatment

AMOUNTS = (0.0, 0.25, 0.5, 0.75)
# Times depend on shapes and not on values: ranges of few feeds do, and nothing is rounded.
_INT8 = (
    "align-depthwise{multiple=16},lower-conv-transpose,"
    "quantize{measure=false,guard=off,calibration=min-max,correct-bias=false,channel-scales=false"
)
_TIMED = {
    "float": PRESETS["exact"],
    "int8": f"{_INT8}}},{PRESETS['simplify']}",
    "weights4": "exact,quantize-weights{bits=4}",
}
# Which channels go does not matter to time, and a little to what is lost.
_CRITERION = "activation"
_FEW = 4
_FEEDS = 16
_ROUNDS = 30

Names = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a search starts from: files of the model and of feeds to learn from and to judge by.

    `judge` is None where nothing is judged.
    """

    model: Path
    learn: Path
    judge: Path | None = None


class Survey:
    """Measures, through `journal`, what `given` costs under each candidate.

    Time is asked for before each step. `left_out`: the steps that were too late for it; `failed`:
    those that came to no end, and why. What they would have told of is no choice, and of crossings
    nothing is counted.
    """

    def __init__(self, journal: TaskJournal, given: Given, request: Request) -> None:
        self._journal = journal
        self._given = given
        self._request = request
        self._labels = request.metric.labels
        self.left_out: list[str] = []
        self.failed: list[tuple[str, str]] = []

    def costs(self) -> SiteCosts | None:
        """Measure all candidates; None where the layers were not even timed as given."""
        (simple,) = self._run([self._build(self._given.model, BASE, "simplify")])
        if simple is None:
            return None
        base = simple.files[MODEL]
        graph = load(base)
        sites = read_sites(graph)
        masked = [base, *self._masked(base)]
        substituted = self._substituted(base)
        names, parameters = self._substitutes(base, sites, substituted)
        left = _left(masked, sites)
        seconds = self._seconds(masked, substituted, sites, names)
        if not np.isfinite(seconds[0, 0]).all():
            return None
        noise = self._noise(base, sites, substituted)
        pruned = self._pruned(masked, sites)
        levels = _whole_levels(seconds[0], pruned)
        return SiteCosts(
            sites=sites,
            amounts=AMOUNTS[:levels],
            left=left[:levels],
            seconds=seconds[:, :levels],
            parameters=parameters,
            noise=noise,
            pruned=pruned[:levels],
            crossing=self._crossing(base, sites, seconds[:, 0]),
            tensors=tensors_made(graph),
        )

    def _masked(self, base: Path) -> list[Path]:
        """Return the masked models, by amount, as far as there was time for them."""
        tasks = [
            self._build(
                base,
                prune_text(amount, _CRITERION),
                f"mask {amount:.0%} of the channels",
                _FEEDS,
            )
            for amount in AMOUNTS[1:]
        ]
        done = itertools.takewhile(lambda outcome: outcome is not None, self._run(tasks))
        return [outcome.files[MODEL] for outcome in done if outcome is not None]

    def _substituted(self, base: Path) -> dict[Substitute, Path]:
        tasks = [
            self._build(base, substitute.text(), f"{substitute.name} everywhere", _FEEDS)
            for substitute in SUBSTITUTES
        ]
        outcomes = self._outcomes(tasks)
        return {
            substitute: outcome.files[MODEL]
            for substitute, outcome in zip(SUBSTITUTES, outcomes, strict=True)
            if outcome.error is None
        }

    def _substitutes(
        self, base: Path, sites: Sites, substituted: Mapping[Substitute, Path]
    ) -> tuple[Names, Array]:
        """Return the names of the nodes of substitutes, and the numbers of all weights."""
        known = tensors_made(load(base))
        own = [float(site.parameters) for site in sites.layers]
        names, parameters = {}, np.array([own] * len(TREATMENTS))
        for substitute, path in substituted.items():
            chains = substitutes_in(load(path), sites.layers, known)
            names[substitute.name] = {
                layer: [node.name for node in nodes] for layer, nodes in chains.items()
            }
            counts = [
                float(parameters_of(chains[site.name])) if site.name in chains else np.inf
                for site in sites.layers
            ]
            for place, treatment in enumerate(TREATMENTS):
                if treatment.substitute == substitute:
                    parameters[place] = counts
        return names, parameters

    def _seconds(
        self,
        masked: Sequence[Path],
        substituted: Mapping[Substitute, Path],
        sites: Sites,
        names: Names,
    ) -> Array:
        """Return the seconds [treatments, amounts, layers]; infinite where nothing was built."""
        builds: dict[tuple[int, int], Task] = {}
        for place, treatment in enumerate(TREATMENTS):
            amounts = range(len(masked)) if treatment in (FLOAT, Treatment("int8")) else [0]
            if treatment.substitute is not None and not names.get(treatment.substitute.name):
                continue
            for level in amounts:
                shrink = "shrink-channels{measure=false}," if level else ""
                model = masked[level]
                if treatment.substitute is not None:
                    model = substituted[treatment.substitute]
                builds[place, level] = self._build(
                    model,
                    f"{shrink}{_timed(treatment)}",
                    f"{treatment.name} everywhere, {AMOUNTS[level]:.0%} of the channels gone",
                    _FEW,
                )
        outcomes = zip(builds, self._outcomes(list(builds.values())), strict=True)
        built = {key: outcome for key, outcome in outcomes if outcome.error is None}
        profiles = self._run(
            [
                self._profile(outcome.files[MODEL], sites, _nodes(TREATMENTS[place], names))
                for (place, _), outcome in built.items()
            ]
        )
        found = np.full((len(TREATMENTS), len(masked), len(sites.layers)), np.inf)
        for (place, level), profile in zip(built, profiles, strict=True):
            if profile is not None:
                found[place, level] = seconds_of(profile.value)
        return _scaled(found)

    def _crossing(self, base: Path, sites: Sites, seconds: Array) -> float:
        """Return the seconds of a value that crosses between integers and floats."""
        if not np.isfinite(seconds[1]).all():
            return 0.0
        plan = SitePlan(
            tuple(Treatment("int8") if i % 2 else FLOAT for i in range(len(sites.layers))),
            (0.0,) * len(sites.groups),
        )
        floats = [s.name for s, t in zip(sites.layers, plan.treatments, strict=True) if t == FLOAT]
        text = _TIMED["int8"].replace(_INT8, f"{_INT8},exclude={show_value(floats)}")
        (built,) = self._run([self._build(base, text, "every second layer int8", _FEW)])
        if built is None:
            return 0.0
        (profile,) = self._run([self._profile(built.files[MODEL], sites)])
        if profile is None:
            return 0.0
        return crossing_of(sites, plan, float(profile.value["whole"]), seconds)

    def _noise(self, base: Path, sites: Sites, substituted: Mapping[Substitute, Path]) -> Array:
        """Return the noise [treatments, layers] of each layer alone."""
        tasks: dict[int, Task] = {}
        for place, treatment in enumerate(TREATMENTS):
            what = f"{treatment.name}, each layer alone"
            if treatment == Treatment("int8"):
                tasks[place] = self._alone(quantized_alone, sites, what, model=base)
            elif treatment == Treatment("weights4"):
                tasks[place] = self._alone(weights_alone, sites, what, model=base)
            elif treatment.substitute in substituted and treatment.precision == "float":
                assert treatment.substitute is not None
                path = substituted[treatment.substitute]
                tasks[place] = self._alone(
                    substituted_alone, sites, what, model=base, substituted=path
                )
        found = np.full((len(TREATMENTS), len(sites.layers)), np.inf)
        found[0] = 0.0
        for place, outcome in zip(tasks, self._run(list(tasks.values())), strict=True):
            if outcome is not None:
                found[place] = outcome.value
        for place, treatment in enumerate(TREATMENTS):
            if treatment.substitute is not None and treatment.precision == "int8":
                floats = TREATMENTS.index(Treatment("float", treatment.substitute))
                found[place] = found[floats] + found[TREATMENTS.index(Treatment("int8"))]
        return found

    def _pruned(self, masked: Sequence[Path], sites: Sites) -> Array:
        tasks = [
            self._alone(
                pruned_alone,
                sites,
                f"{amount:.0%} of the channels of each group gone alone",
                model=masked[0],
                masked=path,
            )
            for amount, path in zip(AMOUNTS[1:], masked[1:], strict=False)
        ]
        found = np.full((len(masked), len(sites.groups)), np.inf)
        found[0] = 0.0
        for level, outcome in enumerate(self._run(tasks), 1):
            if outcome is not None:
                found[level] = outcome.value
        return found

    def _alone(
        self, function: Callable[[TaskCall], list[float]], sites: Sites, what: str, **files: Path
    ) -> Task:
        files = {**files, "feeds": self._given.learn}
        return alone_task(function, sites, files, self._labels, _FEEDS, what)

    def _build(self, model: Path, pipeline: str, what: str, most: int | None = None) -> Task:
        return build_task(
            model,
            pipeline,
            self._given.learn,
            labels=self._labels,
            most_feeds=most,
            target=self._request.runtime.target,
            seed=self._request.seed,
            what=what,
        )

    def _profile(
        self, model: Path, sites: Sites, nodes: Mapping[str, Sequence[str]] | None = None
    ) -> Task:
        """Return the task that times each layer; `nodes`: of substitutes, by the layer's name."""
        layers = [
            [*dict.fromkeys((*(nodes or {}).get(site.name, ()), site.name, site.result))]
            for site in sites.layers
        ]
        return profile_task(
            model,
            layers,
            self._given.learn,
            self._labels,
            self._request.runtime,
            rounds=_ROUNDS,
            what="time of each layer",
        )

    def _run(self, tasks: Sequence[Task]) -> list[Outcome | None]:
        """Return the outcomes, None where time was up, or a task failed."""
        return [None if each.error is not None else each for each in self._outcomes(tasks)]

    def _outcomes(self, tasks: Sequence[Task]) -> list[Outcome]:
        found = self._journal.run(tasks, until=self._request.seconds)
        for task, outcome in zip(tasks, found, strict=True):
            if outcome.late:
                self.left_out.append(task.what)
            elif outcome.error is not None:
                self.failed.append((task.what, outcome.error))
        return found


def _timed(treatment: Treatment) -> str:
    """Return the passes behind which a network is timed in which all layers have `treatment`.

    The factors of one layer are not composed with those of the next, whose time theirs would be.
    """
    text = _TIMED[treatment.precision]
    return text if treatment.substitute is None else text.replace("compose-linear,", "")


def _nodes(treatment: Treatment, names: Names) -> Mapping[str, Sequence[str]]:
    """Return how the substitutes of a network in which all layers have `treatment` call nodes."""
    return {} if treatment.substitute is None else names[treatment.substitute.name]


def _left(models: Sequence[Path], sites: Sites) -> Array:
    """Return the part [amounts, groups] of channels that the masks of `models` leave."""
    channels = np.array([group.channels for group in sites.groups], np.float64)
    counts = np.array([channels_left(load(model), sites) for model in models], np.float64)
    return np.asarray(counts / np.maximum(channels, 1)).reshape(len(models), -1)


def _whole_levels(seconds: Array, pruned: Array) -> int:
    """Return how many amounts, from none on, are known of: [amounts, layers], [amounts, groups]."""
    rows = zip(seconds, pruned, strict=True)
    known = (bool(np.isfinite(times).all() and np.isfinite(noise).all()) for times, noise in rows)
    return sum(itertools.takewhile(bool, known))


def _scaled(seconds: Array) -> Array:
    """Return `seconds` where other treatments than float and int8 go with amounts as these do.

    int8 goes with those that it was not timed for as float does.
    """
    int8 = seconds[TREATMENTS.index(Treatment("int8"))]
    floats = seconds[TREATMENTS.index(FLOAT)]
    if np.isfinite(int8[0]).all():
        int8[:] = np.where(np.isfinite(int8), int8, int8[:1] * _growth(floats))
    for place, treatment in enumerate(TREATMENTS):
        if treatment in (FLOAT, Treatment("int8")):
            continue
        plain = Treatment("int8" if treatment.precision == "int8" else "float")
        like = seconds[TREATMENTS.index(plain)]
        # Factors move more than they multiply: their time goes by channels rather than by pairs.
        power = 1.0 if treatment.substitute is None else 0.5
        seconds[place] = seconds[place, :1] * _growth(like) ** power
    return seconds


def _growth(seconds: Array) -> Array:
    """Return `seconds` [amounts, layers] over those of the first amount; 1 where they are none."""
    known = np.isfinite(seconds[:1]) & (seconds[:1] > 0)
    return np.where(known, seconds / np.where(known, seconds[:1], 1.0), 1.0)
