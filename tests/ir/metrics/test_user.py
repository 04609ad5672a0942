"""A metric of the user's own, and labels in the feeds."""

import numpy as np
import pytest

import planish
from planish.ir.core.errors import FeedError, RefusedError
from planish.ir.metrics.user import load_user_metric

from tests.helpers import graph_of

SCALE = "g (float[N, 4] x) => (float[N, 4] y) { y = Mul(x, k) }"


def graph(*scale):
    return graph_of(SCALE, {"k": np.array(scale, np.float32)})


def feeds(count=20):
    generator = np.random.default_rng(0)
    drawn = [generator.random((3, 4)).astype(np.float32) for _ in range(count)]
    return [{"x": x, "label": x.argmax(1)} for x in drawn]


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "judge.py").write_text(text, encoding="utf-8")
        return f"{tmp_path}/judge.py:evaluate"

    return write


RIGHT = """
def evaluate(compiled, feeds):
    hits = [
        int(row.argmax() == label)
        for feed in feeds
        for row, label in zip(compiled(feed)["y"], feed["label"])
    ]
    return {}
"""


def right(scale):
    return [
        int((row * scale).argmax() == label)
        for f in feeds()
        for row, label in zip(*f.values(), strict=False)
    ]


@pytest.mark.parametrize("gives", ["sum(hits) / len(hits)", "hits"])
def test_a_function_judges_both_graphs(written, gives):
    options = {"metric": written(RIGHT.format(gives)), "labels": ("label",)}
    a, b = (1, 1, 1, 1), (1, 1, 1, 0.6)
    (found,) = planish.compare(graph(*a), graph(*b), feeds(), **options).metrics
    assert found.reference == 1
    assert found.value == pytest.approx(np.mean(right(b)))
    assert found.drop == pytest.approx(1 - np.mean(right(b)))
    assert (found.low is None) == (gives != "hits")
    assert found.what.startswith("evaluate of ")


def test_other_numbers_drop_in_parts_of_the_float_graphs_own(written):
    options = {
        "metric": written(
            "def evaluate(run, feeds):\n    return 50 * run({'x': ONE})['y'][0, 3]\n"
            "import numpy as np\nONE = np.ones((1, 4), 'f')\n"
        )
    }
    (found,) = planish.compare(
        graph(1, 1, 1, 1), graph(1, 1, 1, 0.9), feeds_without(), **options
    ).metrics
    assert (found.reference, found.value) == (50, pytest.approx(45))
    assert found.drop == pytest.approx(0.1)


def feeds_without():
    return [{"x": feed["x"]} for feed in feeds()]


def test_feeds_that_can_be_read_once_will_do(written):
    options = {"metric": written(RIGHT.format("hits")), "labels": ("label",)}
    once = planish.compare(graph(1, 1, 1, 1), graph(1, 1, 1, 0.6), iter(feeds()), **options)
    often = planish.compare(graph(1, 1, 1, 1), graph(1, 1, 1, 0.6), feeds(), **options)
    assert once.metrics == often.metrics


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def other(compiled, feeds):\n    return 1.0\n", "no function 'evaluate'; it has other"),
        ("raise ValueError('broken')\n", "cannot be read: ValueError: broken"),
    ],
)
def test_files_without_the_function_are_refused(written, text, message):
    with pytest.raises(RefusedError, match=message):
        load_user_metric(written(text))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 1 / 0", "failed: ZeroDivisionError"),
        ("return float('nan')", "return a number"),
        ("return []", "return a number"),
    ],
)
def test_functions_that_give_no_number_are_refused(written, body, message):
    options = {"metric": written(f"def evaluate(compiled, feeds):\n    {body}\n")}
    with pytest.raises(RefusedError, match=message):
        planish.compare(graph(1, 1, 1, 1), graph(1, 1, 1, 1), feeds_without(), **options)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(RefusedError, match=r"there is no file 'no_such\.py'"):
        load_user_metric("no_such.py:evaluate")


def test_labels_say_what_is_right():
    options = {"metric": "classification", "labels": ("label",)}
    a, b = (1, 1, 1, 0.7), (1, 1, 1, 0.5)
    (found,) = planish.compare(graph(*a), graph(*b), feeds(), **options).metrics
    assert found.name == "top-1 accuracy"
    assert found.reference == pytest.approx(np.mean(right(a)))
    assert found.value == pytest.approx(np.mean(right(b)))
    lost = np.array(right(a)) - np.array(right(b))
    error = 1.671 * lost.std(ddof=1) / np.sqrt(60)
    assert found.low == pytest.approx(found.value - error, abs=1e-3)


def test_one_entry_of_labels_is_its_name():
    both = [
        planish.compare(graph(1, 1, 1, 1), graph(1, 1, 1, 0.5), feeds(), labels=labels).metrics
        for labels in ("label", ("label",))
    ]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (["a", "b", "c"], r"strings \[3\]"),
        ([0, 1, 30], r"int64 \[3\], from 0 to 30"),
        ([0, -1, 2], r"int64 \[3\], from -1 to 2"),
        ([0.5, 1, 2], r"float64 \[3\], from 0.5 to 2.0"),
        (np.eye(3, 4), r"float64 \[3, 4\], from 0.0 to 1.0"),
        ([np.nan, 1, 2], r"float64 \[3\], from nan to nan"),
    ],
)
def test_labels_that_cannot_be_right_are_refused(labels, found):
    options = {"metric": "classification", "labels": "label"}
    wrong = [{"x": f["x"], "label": np.array(labels)} for f in feeds()]
    with pytest.raises(FeedError, match=rf"labels 'label' are {found}, .* give .*ind"):
        planish.compare(graph(1, 1, 1, 1), graph(1, 1, 1, 1), wrong, **options)


def test_labels_that_do_not_fit_are_refused():
    options = {"metric": "classification", "labels": ("label",)}
    wrong = [{"x": f["x"], "label": f["label"][:2]} for f in feeds()]
    with pytest.raises(
        FeedError, match=r"labels 'label' are int64 \[2\].*, which does not fit 'y' \[3, 4\]"
    ):
        planish.compare(graph(1, 1, 1, 1), graph(1, 1, 1, 1), wrong, **options)
