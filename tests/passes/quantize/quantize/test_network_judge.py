"""Which ranges a whole network is best with, against one that is built anew for each fold."""

import numpy as np
import pytest

from planish import Pipeline
from planish.ir.run.reference import Reference
from planish.passes.quantize.grids.formats import UINT8, IntegerFormat
from planish.passes.quantize.grids.grid import grid_of_range
from planish.passes.quantize.quantize.calibration.observers import Range
from planish.passes.quantize.quantize.calibration.widening import FOLDS, HeldBackRanges
from planish.passes.quantize.quantize.network_judge import MOST_SAMPLES, NetworkJudge
from planish.passes.quantize.quantize.scheme import QuantizationScheme

from tests.helpers import graph_of

# Of what lies far out, the first output shows all and the second next to nothing.
TEXT = """g (float[N, 6] x) => (float[N, 4] y) {
    [fc] h = Gemm<transB = 1>(x, w, b)
    r = Relu(h)
    [last] y = Gemm<transB = 1>(r, v, c)
}"""
SCHEME = QuantizationScheme(IntegerFormat(8, signed=True, narrow=True), UINT8)


def normal(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def network(outer=1.0):
    """Two layers; `outer` is what the last makes of channel 0, where outliers are."""
    w, v = normal(5, 6, seed=0), normal(4, 5, seed=1)
    w[0], w[1:], v[:, 0] = 0, 0.3 * w[1:], outer
    w[0, 0] = 1
    biases = {"b": normal(5, seed=2), "c": normal(4, seed=3)}
    return graph_of(TEXT, {"w": w, "v": v, **biases})


def test_ranges_that_are_the_same_run_once(monkeypatch):
    ranges = {"x": Range(-3.0, 3.0), "r": Range(0.0, 4.0), "y": Range(-4.0, 4.0)}
    wider = {name: Range(2 * one.minimum, 2 * one.maximum) for name, one in ranges.items()}
    choices = [HeldBackRanges(each, {}) for each in (ranges, wider, ranges, wider, ranges)]
    fed = []
    call = Reference.__call__

    def count(run, feeds):
        fed.append(len(feeds))
        return call(run, feeds)

    monkeypatch.setattr(Reference, "__call__", count)
    x = normal(8, 6, seed=4)
    judge = NetworkJudge(
        graph=network(), chosen={"fc", "last"}, scheme=SCHEME, feeds=[{"x": row[None]} for row in x]
    )
    assert judge(choices) in range(len(choices))
    pairs = [count for count in fed if count > 1]
    assert len(fed) - len(pairs) == 8
    assert len(pairs) == 2 * 8


def samples(count, far=20.0):
    """Samples of which one in four lies far out along its first axis."""
    x = normal(count, 6, seed=4)
    x[::4, 0] = far
    return x


def one_by_one(x):
    return [{"x": sample[None]} for sample in x]


def choices(*reaches):
    """Ranges that hold `reach` times what is common, of which others than fold 0 show half."""
    shares = {name: np.ones((FOLDS, 2)) for name in "xr"}
    shares["r"][0] = 0.5
    return [
        HeldBackRanges({"x": Range(-25, 25), "r": Range(0, 3 * reach)}, shares) for reach in reaches
    ]


def judge(graph, feeds, **options):
    chosen = frozenset({"fc", "last"})
    return NetworkJudge(graph=graph, chosen=chosen, scheme=SCHEME, feeds=feeds, **options)


def rounded(values, found):
    return grid_of_range(found.minimum, found.maximum, UINT8).round(values)


def noise_of(graph, x, choice):
    """The log noise of each fold, in plain numpy."""
    weights = {t.name: t.values for n in graph.nodes for t in n.inputs if hasattr(t, "values")}
    noise = []
    for fold in range(min(FOLDS, len(x))):
        ranges, own = choice.of_others(fold), x[fold::FOLDS]
        exact = np.maximum(own @ weights["w"].T + weights["b"], 0) @ weights["v"].T + weights["c"]
        h = rounded(own, ranges["x"]) @ weights["w"].T + weights["b"]
        y = rounded(np.maximum(h, 0), ranges["r"]) @ weights["v"].T + weights["c"]
        noise.append(np.log(np.square(exact - y).sum() / np.square(exact).sum()))
    return np.array(noise)


@pytest.mark.parametrize("outer", [1.0, 0.05, 0.001])
def test_the_ranges_of_least_noise_at_the_outputs(outer):
    graph, x = network(outer), samples(MOST_SAMPLES)
    tried = choices(1, 2, 4, 8)
    noise = [noise_of(graph, x, each).mean() for each in tried]
    assert judge(graph, one_by_one(x))(tried) == int(np.argmin(noise))


@pytest.mark.parametrize("count", [4, 8, 21, MOST_SAMPLES - 1])
@pytest.mark.parametrize("outer", [1.0, 0.05, 0.001])
def test_of_few_samples_the_last_that_they_do_not_tell_from_the_best(outer, count):
    graph, x = network(outer), samples(count)
    tried = choices(1, 2, 4, 4.1, 8)
    noise = [noise_of(graph, x, each) for each in tried]
    best = min(noise, key=np.mean)
    more = [(each - best).mean() for each in noise]
    error = [np.std(each - best, ddof=1) / len(best) ** 0.5 for each in noise]
    decibels = np.log(10) / 10
    alike = [i for i in range(len(tried)) if more[i] <= min(2 * error[i], 2 * decibels)]
    assert judge(graph, one_by_one(x))(tried) == alike[-1]


def test_few_samples_tell_of_what_is_far_worse():
    """All ranges are wide enough here: what is left is the rounding of what they are too wide."""
    for count in (8, MOST_SAMPLES):
        feeds = one_by_one(samples(count, far=0.0))
        assert judge(network(), feeds)(choices(10, 80, 640)) == 0


def test_an_output_that_is_silent_in_a_fold_counts_in_the_others():
    graph = graph_of(
        """g (float[N, 6] x) => (float[N, 6] y, float[N, 6] z) {
            [fc] h = Gemm<transB = 1>(x, w) y = Relu(h) n = Neg(h) z = Relu(n) }""",
        {"w": np.eye(6, dtype=np.float32)},
    )
    x = np.abs(samples(8))
    x[1::2] *= -1  # each output has every other sample alone
    ranges = [
        HeldBackRanges({n: Range(-reach, reach) for n in ("x", "h", "y", "n", "z")}, {})
        for reach in (25, 4000)
    ]
    judged = NetworkJudge(graph=graph, chosen=frozenset({"fc"}), scheme=SCHEME, feeds=one_by_one(x))
    assert judged(ranges) == 0


def test_outliers_are_worth_a_wider_range_where_outputs_show_them():
    tried = choices(2, 40)
    assert judge(network(1.0), one_by_one(samples(16)))(tried) == 1
    assert judge(network(0.001), one_by_one(samples(16)))(tried) == 0


def test_a_batch_is_as_many_samples():
    graph, x = network(), samples(16)
    tried = choices(1, 2, 4, 8)
    batches = [{"x": x[:7]}, {"x": x[7:]}]
    assert judge(graph, batches)(tried) == judge(graph, one_by_one(x))(tried) > 0


def test_what_cannot_be_judged_leaves_the_first():
    tried = choices(1, 7)
    assert judge(network(), one_by_one(samples(3)))(tried) == 0
    fixed = network()
    fixed.inputs[0].shape = [16, 6]
    assert judge(fixed, [{"x": samples(16)}])(tried) == 0


def test_no_more_samples_run_than_it_says():
    graph, x = network(), samples(MOST_SAMPLES + 40)
    read = []

    def feeds():
        for feed in one_by_one(x):
            read.append(feed)
            yield feed

    judge(graph, feeds())(choices(1, 7))
    assert len(read) == MOST_SAMPLES


@pytest.mark.parametrize("calibration", ["mse", "min-max"])
def test_quantize_takes_what_the_network_says(calibration, monkeypatch):
    graph, feeds = (
        network(),
        one_by_one(np.random.default_rng(5).standard_t(2, (16, 6)).astype(np.float32)),
    )
    text = f"quantize{{measure=false,guard=off,calibration={calibration}}}"
    scales = []
    for said in (0, 2):
        monkeypatch.setattr(NetworkJudge, "__call__", lambda self, tried, said=said: said)
        made = Pipeline.parse(text).run(graph, feeds).graph
        scales.append([float(n.inputs[1].values) for n in made.nodes if n.op == "QuantizeLinear"])
    assert (scales[0] != scales[1]) == (calibration == "mse")


@pytest.mark.parametrize(
    "options",
    ["", ",activations=int8", ",activations=uint16", ",activations=uint4", ",symmetric=true"],
)
def test_every_format_is_judged(options, monkeypatch):
    """None makes a graph that does not run, after which the first ranges would be taken."""
    judged = []
    whole = NetworkJudge._noise

    def noise(self, tried):
        found = whole(self, tried)
        judged.append(found.means)
        return found

    monkeypatch.setattr(NetworkJudge, "_noise", noise)
    feeds = one_by_one(np.random.default_rng(5).standard_t(2, (16, 6)).astype(np.float32))
    text = f"quantize{{measure=false,guard=off{options}}}"
    Pipeline.parse(text).run(network(), feeds, verify="off")
    ((least, *others),) = judged
    assert np.isfinite([least, *others]).all()
    assert len({least, *others}) > 1
