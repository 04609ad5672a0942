"""Which of several ranges the whole network is best with, on samples held back.

    min over ranges  of  mean over folds f, outputs o of  log( |y_o - y^_o|_f^2 / |y_o|_f^2 )

The samples of fold f run through the network with the pairs of its activations in place, on the
ranges that the other samples show; y is what it gives without pairs. A tensor's own error says how
wide its range should be where all errors count alike. How far that of one sample far outside of the
others reaches, and what the rounding of all others costs beside it, only the outputs show. Few
samples hardly do: what a fresh one loses outside of a range is more than what one a little too wide
costs. Of ranges that fewer than `MOST_SAMPLES` do not tell apart, the ones that reach furthest are
taken.

Scales and zero points are inputs of one graph, which is made ready once. At most `MOST_SAMPLES`
samples run, once for each of the ranges and once more in float; which is best depends on nothing
else.

Source: Stone, "Cross-validatory choice and assessment of statistical predictions" (1974).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import ExecutionError, FeedError
from ....ir.core.variables import dense_values, node_key
from ....ir.graph.clone import clone
from ....ir.graph.types import TensorType
from ....ir.graph.uses import scopes
from ....ir.run.reference import Reference
from ...engine.context import Context, Feeds, Report, report_nothing
from ..grids.grid import grid_of_range
from ..qdq.scoped_views import ScopedViews
from ..qdq.units import Unit
from .calibration.observers import Range
from .calibration.widening import FOLDS, HeldBackRanges
from .placement import place
from .scheme import QuantizationScheme
from .tensor_pairs import TensorPairs
from .units import read_units

Array = np.ndarray[Any, Any]
Feed = Mapping[str, Array]

MOST_SAMPLES = 32
# With fewer samples the ranges of the others say too little.
_LEAST_SAMPLES = 4
# Few samples do not tell ranges apart whose noise differs by at most so many standard errors of the
# difference, and by 2 dB.
_ALIKE, _MOST_ALIKE = 2.0, 0.2 * math.log(10)
# Errors below this part of the signal are as good as none.
_LEAST_NOISE = 1e-12


@dataclass(frozen=True, kw_only=True)
class NetworkJudge:
    """Says with which ranges `graph` is best, the nodes called `chosen` on integers.

    Ranges come in the order in which they reach further. `left_out`: movements that stay float
    between them. `report` is told how far it is. The first ranges are best where nothing can be
    said: with few samples, with batches that cannot be split, with bodies, or without outputs of
    floats.
    """

    graph: gs.Graph
    chosen: Collection[str]
    scheme: QuantizationScheme
    feeds: Feeds
    left_out: Collection[str] = ()
    report: Report = report_nothing

    def __call__(self, choices: Sequence[HeldBackRanges]) -> int:
        """Return the index of the best of `choices`."""
        if len(list(scopes(self.graph))) > 1:
            return 0
        try:
            noise = self._noise(choices)
        except (ExecutionError, FeedError):  # a batch may be written into the graph
            return 0
        return 0 if noise is None else noise.best()

    def _noise(self, choices: Sequence[HeldBackRanges]) -> _LogNoise | None:
        """Return the log noise of `choices`; None where nothing can be said."""
        copy = clone(self.graph)
        pairs = self._pairs(copy, choices[0].ranges)
        network, floats = Reference(copy), Reference(self.graph)
        grids = [
            [_grids(pairs, c.of_others(f), self.scheme) for f in range(FOLDS)] for c in choices
        ]
        signal: list[Array] = []
        error: list[Array] = []
        for number, sample in enumerate(itertools.islice(self._samples(), MOST_SAMPLES)):
            wanted = floats(sample)
            self.report(number / MOST_SAMPLES, "which ranges are best")
            tried = [each[number % FOLDS] for each in grids]
            found = _with_each(tried, network, sample)
            names = [name for name, array in wanted.items() if dtypes.is_float(array.dtype)]
            signal.append(np.array([_power(wanted[n]) for n in names]))
            error.append(np.array([[_distance(wanted[n], y[n]) for n in names] for y in found]))
        if len(signal) < _LEAST_SAMPLES:
            return None
        return _LogNoise.of(np.stack(signal), np.stack(error, axis=1))

    def _samples(self) -> Iterator[Feed]:
        """Yield the samples of the feeds one by one, as far as their batches can be split."""
        inputs = [t for t in self.graph.inputs if dense_values(t) is None]
        for feed in self.feeds:
            sizes = {feed[t.name].shape[:1] for t in inputs if t.name in feed}
            if len(sizes) != 1 or sizes <= {(1,), ()}:
                yield feed
                continue
            if any(t.shape is None or isinstance(t.shape[0], int) for t in inputs):
                return
            ((size,),) = sizes
            for index in range(size):
                split = {t.name: feed[t.name][index : index + 1] for t in inputs if t.name in feed}
                yield {**feed, **split}

    def _pairs(self, graph: gs.Graph, ranges: Mapping[str, Range]) -> list[_Pair]:
        """Put pairs on the activations of `graph`, with scales and zero points that are inputs."""
        context = Context(graph)
        form = self.scheme.activations.dtype
        types = TensorType(np.dtype(np.float32), ()), TensorType(form, ())
        found: list[_Pair] = []
        given: list[gs.Tensor] = []
        with context.editing() as edit:
            views = ScopedViews(graph, context)
            pairs = TensorPairs(edit, views)
            for group in place(self._units(graph, context), views, ranges).groups:
                fresh = [t for t in group if views.of_tensor(t).constant(t) is None]
                fresh = [t for t in fresh if pairs.quantizes(t) is None]
                if not fresh:
                    continue
                names = f"{fresh[0].name}_scale", f"{fresh[0].name}_zero_point"
                scale, zero = (edit.variable(n, t) for n, t in zip(names, types, strict=True))
                for tensor in fresh:
                    pairs.pair(tensor, [graph], (scale, zero))
                given += [scale, zero]
                found.append(_Pair(tuple(t.name for t in group), scale.name, zero.name))
        graph.inputs.extend(given)
        return found

    def _units(self, graph: gs.Graph, context: Context) -> list[Unit]:
        units = read_units(graph, context, self.left_out)
        return [u for u in units if u.is_follower or node_key(u.node) in self.chosen]


@dataclass(frozen=True)
class _Pair:
    """The inputs of a graph that hold the scale and zero point of the tensors called `names`."""

    names: tuple[str, ...]
    scale: str
    zero: str


def _grids(
    pairs: Sequence[_Pair], ranges: Mapping[str, Range], scheme: QuantizationScheme
) -> dict[str, Array]:
    """Return what the inputs of `pairs` are on `ranges`."""
    feed: dict[str, Array] = {}
    for pair in pairs:
        known = [ranges[name] for name in pair.names]
        low, high = min(r.minimum for r in known), max(r.maximum for r in known)
        grid = grid_of_range(low, high, scheme.activations, symmetric=scheme.symmetric)
        feed[pair.scale] = np.asarray(grid.scale, np.float32)
        feed[pair.zero] = np.asarray(grid.zero_point).astype(grid.format.dtype)
    return feed


@dataclass(frozen=True)
class _LogNoise:
    """The log noise of each choice, fold and output [n, F, O], where those have a signal [F, O]."""

    values: Array
    told: Array
    samples: int

    @classmethod
    def of(cls, signal: Array, error: Array) -> _LogNoise | None:
        """Return that of `error` [n, samples, O] over `signal` [samples, O], None without any."""
        folds = range(min(FOLDS, len(signal)))
        power = np.stack([signal[fold::FOLDS].sum(axis=0) for fold in folds])
        noise = np.stack([error[:, fold::FOLDS].sum(axis=1) for fold in folds], axis=1)
        told = power > 0
        ratio = noise / np.where(told, power, 1.0)
        known = cls(np.log(np.maximum(ratio, _LEAST_NOISE)), told, len(signal))
        return known if told.any() else None

    @property
    def means(self) -> Array:
        """The mean log noise of each choice, [n]."""
        return np.asarray(self.values[:, self.told].mean(axis=1))

    def best(self) -> int:
        """Return the choice of least noise; of few samples, the last that is not told from it."""
        least = int(self.means.argmin())
        if self.samples >= MOST_SAMPLES:
            return least
        folds = self.told.any(axis=1)
        more = np.where(self.told, self.values - self.values[least], 0.0)[:, folds].sum(axis=2)
        more /= self.told[folds].sum(axis=1)
        error = more.std(axis=1, ddof=1) / np.sqrt(more.shape[1]) if folds.sum() > 1 else np.inf
        alike = more.mean(axis=1) <= np.minimum(_ALIKE * error, _MOST_ALIKE)
        return int(np.flatnonzero(alike)[-1])


def _with_each(
    grids: Sequence[Feed], network: Callable[[Feed], Feed], sample: Feed
) -> Iterator[Feed]:
    """Yield what `network` gives for `sample` with each of `grids`; the same ones run once."""
    known: list[tuple[Feed, Feed]] = []
    for grid in grids:
        found = next((out for one, out in known if _are_same(one, grid)), None)
        if found is None:
            found = network({**sample, **grid})
            known.append((grid, found))
        yield found


def _are_same(a: Feed, b: Feed) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def _power(values: Array) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def _distance(wanted: Array, found: Array) -> float:
    """Return the squared error, that of zeros where the sizes differ or a value is no number."""
    if wanted.shape == found.shape:
        error = _power(wanted.astype(np.float64) - found)
        if np.isfinite(error):
            return error
    return _power(wanted)
