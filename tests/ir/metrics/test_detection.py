"""Heads of detectors, whatever they look like, against boxes and matching in plain Python."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.ir.metrics.boxes import Boxes, corners_of, iou
from planish.ir.metrics.choose import AUTOMATIC, MetricOptions, choose_metrics
from planish.ir.metrics.detection import DetectionAgreement
from planish.ir.metrics.reading import OutputReading
from planish.ir.metrics.seen import SeenOutput

from tests.effort import examples

CLASSES = 6


def see(samples=2, **outputs):
    feed = {"x": np.zeros((samples, 3, 320, 320), np.float32)}
    return [
        SeenOutput(
            OutputReading(name=n, shape=a.shape, is_float=a.dtype.kind == "f"), a, feed, None
        )
        for n, a in outputs.items()
    ]


def chosen(samples=2, options=AUTOMATIC, **outputs):
    return choose_metrics(see(samples, **outputs), options)


def scene(seed=0, count=400, images=2):
    """Centres in an image of 320 pixels, and scores of which a few are high."""
    generator = np.random.default_rng(seed)
    centres = generator.uniform(20, 300, (images, count, 2))
    sizes = generator.uniform(10, 90, (images, count, 2))
    scores = generator.beta(0.3, 6, (images, count, CLASSES))
    scores[:, ::40] += generator.uniform(0.3, 0.6, (images, len(range(0, count, 40)), CLASSES))
    return np.concatenate([centres, sizes], 2).astype("f"), scores.clip(0, 1).astype("f")


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / either if either > 0 else 0.0


def detections(centres, scores):
    """All boxes of an image as (corners, score, class), the surest first."""
    found = []
    for (x, y, w, h), s in zip(centres.tolist(), scores.tolist(), strict=True):
        best = max(range(len(s)), key=lambda i: (s[i], -i))
        found.append(((x - w / 2, y - h / 2, x + w / 2, y + h / 2), s[best], best))
    return sorted(found, key=lambda d: -d[1])


def agreement(first, second, threshold=0.25):
    """The docstring's equation for one image, in loops."""

    def partners(mine, theirs):
        kept = []
        for box, score, label in mine:
            if score >= threshold and all(
                k[2] != label or overlap(k[0], box) <= 0.45 for k in kept
            ):
                kept.append((box, score, label))
        for box, score, label in kept:
            fits = [
                s
                for b, s, c in theirs
                if s >= threshold / 2 and c == label and overlap(b, box) >= 0.5
            ]
            other = max(fits, default=0.0)
            yield min(score, other) / max(score, other)

    ratios = [*partners(first, second), *partners(second, first)]
    return sum(ratios) / len(ratios) if ratios else 1.0


def noisy(boxes, scores, seed=1):
    generator = np.random.default_rng(seed)
    b = boxes + generator.normal(0, 3, boxes.shape)
    s = (scores * generator.uniform(0.7, 1.1, scores.shape)).clip(0, 1)
    return b.astype("f"), s.astype("f")


def expected(a, b):
    pairs = zip(zip(*a, strict=True), zip(*b, strict=True), strict=True)
    return np.mean([agreement(detections(*x), detections(*y)) for x, y in pairs])


def join(boxes, scores, order):
    """A raw head [N, boxes, 4 + classes] or [N, 4 + classes, boxes]."""
    rows = np.concatenate([boxes, scores], 2)
    return rows if order == "NBF" else rows.transpose(0, 2, 1)


@pytest.mark.parametrize("order", ["NBF", "NFB"])
def test_a_raw_head_in_either_order(order):
    a = scene()
    b = noisy(*a)
    (choice,) = chosen(y=join(*a, order))
    assert choice.kind == "detection"
    metric = choice.make()
    metric.add({"y": join(*a, order)}, {"y": join(*b, order)})
    found = metric.result()
    assert found.value == pytest.approx(expected(a, b), abs=1e-6)
    assert 0.5 < found.value < 0.95
    assert "scores off by" in found.details[1]


def test_objectness_is_seen_where_classes_alone_are_high_everywhere():
    boxes, scores = scene()
    generator = np.random.default_rng(3)
    classes = generator.dirichlet([0.2] * CLASSES, scores.shape[:2]).astype("f")
    objects = scores.max(axis=2, keepdims=True)
    raw = np.concatenate([boxes, objects, classes], 2)
    (choice,) = chosen(y=raw)
    assert "objectness" in choice.why
    (plain,) = chosen(y=join(boxes, scores, "NBF"))
    assert "objectness" not in plain.why


def test_real_sizes_of_heads_are_recognized():
    generator = np.random.default_rng(0)
    boxes = generator.uniform(5, 600, (1, 8400, 4)).astype("f")
    boxes[..., 2:] /= 4
    scores = generator.beta(0.2, 40, (1, 8400, 80)).astype("f")
    objects = generator.beta(0.2, 40, (1, 8400, 1)).astype("f")
    for raw in (
        np.concatenate([boxes, scores], 2).transpose(0, 2, 1),
        np.concatenate([boxes, objects, scores], 2),
    ):
        (choice,) = chosen(1, y=raw)
        assert choice.kind == "detection"


def test_boxes_and_scores_apart():
    a = scene()
    b = noisy(*a)
    (choice,) = chosen(boxes=a[0], scores=a[1])
    assert set(choice.outputs) == {"boxes", "scores"}
    metric = choice.make()
    metric.add(*({"boxes": x, "scores": s} for x, s in (a, b)))
    assert metric.result().value == pytest.approx(expected(a, b), abs=1e-6)


def test_the_class_of_the_background_does_not_count():
    boxes, scores = scene()
    rest = 1 - scores.sum(axis=2, keepdims=True) / CLASSES
    softmax = np.concatenate([rest, scores / CLASSES], 2)
    (choice,) = chosen(boxes=corners_of(boxes) / 320, scores=softmax)
    metric = choice.make()
    other = np.concatenate([softmax[..., :1] * 0.9, softmax[..., 1:]], 2)
    outputs = ({"boxes": corners_of(boxes) / 320, "scores": s} for s in (softmax, other))
    metric.add(*outputs)
    assert metric.result().value == 1


def test_final_detections_of_any_number():
    boxes, scores = scene(images=1, count=60)
    corners, best = corners_of(boxes[0]), scores[0].max(axis=1)
    labels = scores[0].argmax(axis=1)
    (choice,) = chosen(1, boxes=corners, scores=best, labels=labels)
    assert choice.outputs == ("boxes", "scores", "labels")
    metric = choice.make()
    full = {"boxes": corners, "scores": best, "labels": labels}
    metric.add(full, {name: array[10:] for name, array in full.items()})
    kept, lost = (best >= 0.25).sum(), (best[:10] >= 0.25).sum()
    found = metric.result().value
    assert found <= 1 - lost / (2 * kept - lost) + 0.2
    assert found < 1
    assert lost


def test_centers_of_objects():
    generator = np.random.default_rng(0)
    heat = generator.beta(0.1, 20, (2, CLASSES, 16, 16)).astype("f")
    heat[:, 1, 5, 5] = heat[:, 2, 9, 12] = 0.9
    size = generator.uniform(2, 5, (2, 2, 16, 16)).astype("f")
    offset = generator.uniform(0, 1, (2, 2, 16, 16)).astype("f")
    (choice,) = chosen(hm=heat, reg=offset, wh=size)
    assert choice.outputs == ("hm", "wh", "reg")
    metric = choice.make()
    full = {"hm": heat, "reg": offset, "wh": size}
    metric.add(full, {**full, "hm": heat * 0.9})
    assert metric.result().value == pytest.approx(0.9, abs=1e-6)
    assert metric.result().tolerable == 0.05  # scores a tenth less sure are no small loss
    x, y = 12 + offset[0, 0, 9, 12], 9 + offset[0, 1, 9, 12]
    w, h = size[0, :, 9, 12]
    decoded = metric.decode(full)[0].corners[9 * 16 + 12]
    assert decoded == pytest.approx([x - w / 2, y - h / 2, x + w / 2, y + h / 2], abs=1e-5)


@pytest.mark.parametrize(
    "outputs",
    [
        {"y": np.random.default_rng(0).standard_normal((2, 100, 85)).astype("f")},
        {"y": np.random.default_rng(0).dirichlet([1] * 9, (2, 50)).astype("f")},
        {"y": np.random.default_rng(0).random((2, 4)).astype("f")},
        {
            "boxes": np.random.default_rng(0).standard_normal((2, 50, 4)).astype("f"),
            "scores": np.random.default_rng(1).random((2, 50, 7)).astype("f"),
        },
        {"box": np.random.default_rng(0).random((2, 4)).astype("f"), "s": np.ones(2, "f")},
    ],
)
def test_what_is_no_head_is_not_taken_for_one(outputs):
    assert all(choice.kind != "detection" for choice in chosen(**outputs))


def test_a_head_that_was_asked_for_may_have_fractions():
    boxes, scores = scene()
    raw = join(boxes / 320, scores, "NBF")
    assert all(choice.kind != "detection" for choice in chosen(y=raw))
    (choice,) = chosen(options=MetricOptions("detection"), y=raw)
    assert choice.kind == "detection"


@settings(max_examples=examples(20))
@given(st.integers(0, 1000), st.floats(0.01, 1))
def test_the_same_boxes_agree_whatever_they_score(seed, scale):
    boxes, scores = scene(seed, count=80)
    raw = {"y": join(boxes, scores * np.float32(scale), "NBF")}
    (choice,) = chosen(**raw)
    metric = choice.make()
    metric.add(raw, raw)
    assert metric.result().value == 1


def test_a_score_that_crosses_the_threshold_by_little_loses_little():
    corners = np.array([[0.0, 0, 10, 10]])
    a, b = (Boxes(corners, np.array([s]), np.array([0])) for s in (0.2501, 0.2499))
    metric = DetectionAgreement(("y",), lambda outputs: [outputs["y"]], 0.25)
    metric.add({"y": a}, {"y": b})
    assert metric.result().value == pytest.approx(0.2499 / 0.2501)


@pytest.mark.parametrize(
    ("off", "told"), [(1, "1.0 %, one of twenty by 1.0 %"), (2, "2.0 %, one of twenty by 20.0 %")]
)
def test_single_scores_are_told_beside_their_mean(off, told):
    """Of 20 scores one or two are a fifth lower: the 95th percentile of the first lies between."""
    corners = np.array([[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(20)])
    factors = np.array([0.8] * off + [1.0] * (20 - off))
    a, b = (Boxes(corners, 0.9 * scores, np.zeros(20)) for scores in (np.ones(20), factors))
    metric = DetectionAgreement(("y",), lambda outputs: [outputs["y"]], 0.25)
    metric.add({"y": a}, {"y": b})
    assert f"scores off by {told}" in metric.result().details


@given(st.lists(st.tuples(*[st.floats(0, 50)] * 4), min_size=1, max_size=6))
def test_overlaps_are_those_of_single_boxes(drawn):
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in drawn])
    found = iou(boxes, boxes)
    for i, a in enumerate(boxes):
        for j, b in enumerate(boxes):
            own = 1.0 if np.array_equal(a, b) else overlap(a, b)  # without an area too
            assert found[i, j] == pytest.approx(own, abs=1e-9)


ANCHORS = 200
VARIANCES = {"ssd": (0.1, 0.2), "own": (1.0, 1.0)}


def anchors(seed=5):
    """A grid of anchors (cx, cy, w, h) of unlike sizes."""
    generator = np.random.default_rng(seed)
    centres = generator.uniform(0, 320, (ANCHORS, 2))
    return np.concatenate([centres, generator.uniform(20, 120, (ANCHORS, 2))], 1)


def raw(seed, form, kind):
    """Offsets and scores of two images, as a trained network gives them: most anchors are empty."""
    generator = np.random.default_rng(seed)
    spread = 1.0 if kind == "ssd" else 0.15
    offsets = generator.normal(0, spread, (2, ANCHORS, 4)).astype("f")
    sure = generator.random((2, ANCHORS, CLASSES)) < 0.02
    if form == "sigmoid":
        return offsets, np.where(sure, 1.5, -4.0).astype("f") + 0 * offsets[..., :1]
    logits = generator.normal(0, 0.3, (2, ANCHORS, CLASSES + 1))
    logits[..., 0] += 6
    logits[..., 1:][sure] += 8
    return offsets, logits.astype("f")


def decoded(offsets, logits, form, kind):
    """The boxes of an image as (corners, score, class) by anchor, in loops."""
    (a, b), found = VARIANCES[kind], []
    for t, row, (cx, cy, w, h) in zip(offsets, logits, anchors(), strict=True):
        powers = np.exp(row.astype(np.float64))
        p = powers / (1 + powers) if form == "sigmoid" else (powers / powers.sum())[1:]
        x, y = cx + a * t[0] * w, cy + a * t[1] * h
        half = w * np.exp(b * t[2]) / 2, h * np.exp(b * t[3]) / 2
        box = (x - half[0], y - half[1], x + half[0], y + half[1])
        found.append((box, p.max(), int(p.argmax())))
    return found


def by_anchor(first, second, threshold=0.25):
    ratios = []
    for mine, theirs in ((first, second), (second, first)):
        for (box, score, label), (other, s, c) in zip(mine, theirs, strict=True):
            if score >= threshold:
                fits = c == label and s >= threshold / 2 and overlap(box, other) >= 0.5
                ratios.append(min(score, s) / max(score, s) if fits else 0.0)
    return sum(ratios) / len(ratios) if ratios else 1.0


@pytest.mark.parametrize("kind", VARIANCES)
@pytest.mark.parametrize("form", ["sigmoid", "softmax"])
def test_offsets_from_anchors_are_compared_as_the_boxes_they_mean(form, kind):
    """The graph has no anchors; with any, IoU of two predictions of one of them is the same."""
    offsets, logits = raw(0, form, kind)
    generator = np.random.default_rng(1)
    moved = (offsets + generator.normal(0, 2 if kind == "ssd" else 0.2, offsets.shape)).astype("f")
    shifted = (logits + generator.normal(0, 0.7, logits.shape)).astype("f")
    (choice,) = chosen(loc=offsets, conf=logits)
    assert choice.kind == "detection"
    assert choice.outputs == ("loc", "conf")
    assert "matched by anchor" in choice.why
    assert form in choice.why
    assert ("class 0 is no object" in choice.why) == (form == "softmax")
    assert ("variances 0.1 and 0.2" in choice.why) == (kind == "ssd")
    metric = choice.make()
    metric.add({"loc": offsets, "conf": logits}, {"loc": moved, "conf": shifted})
    images = [
        by_anchor(decoded(*a, form, kind), decoded(*b, form, kind))
        for a, b in zip(
            zip(offsets, logits, strict=True), zip(moved, shifted, strict=True), strict=True
        )
    ]
    found = metric.result().value
    assert found == pytest.approx(np.mean(images), abs=1e-6)
    assert 0.2 < found < 0.95


def test_offsets_of_one_class():
    generator = np.random.default_rng(0)
    offsets = generator.normal(0, 1, (1, 896, 4)).astype("f")
    scores = np.where(generator.random((1, 896, 1)) < 0.01, 2.0, -6.0).astype("f")
    (choice,) = chosen(1, regressors=offsets, classificators=scores)
    assert choice.outputs == ("regressors", "classificators")


def test_offsets_beside_probabilities_of_as_many_columns():
    """Three classes and nothing, by a Softmax, are no boxes."""
    generator = np.random.default_rng(0)
    loc = generator.normal(0, 1, (2, 200, 4)).astype(np.float32)
    conf = generator.normal(0, 1, (2, 200, 4)).astype(np.float32) + np.float32([6, 0, 0, 0])
    conf[:, ::40, 1] += 9
    scores = np.exp(conf) / np.exp(conf).sum(2, keepdims=True)
    seen = see(conf=scores, loc=loc)
    seen[0] = replace(seen[0], reading=replace(seen[0].reading, ending=("Softmax", "Reshape")))
    (choice,) = choose_metrics(seen, AUTOMATIC)
    assert choice.outputs == ("loc", "conf")


def test_offsets_where_scores_say_nothing_are_compared_when_asked_to():
    """As of a network that was not trained."""
    generator = np.random.default_rng(0)
    outputs = {
        "loc": generator.normal(0, 1, (2, 90, 4)).astype("f"),
        "conf": generator.normal(0, 0.1, (2, 90, 21)).astype("f"),
    }
    assert all(choice.kind != "detection" for choice in chosen(**outputs))
    (choice,) = chosen(options=MetricOptions("detection"), **outputs)
    assert choice.outputs == ("loc", "conf")


def test_logits_of_which_one_class_is_no_object_are_of_a_softmax():
    """As DETR gives them beside boxes; by its own sigmoid each would be sure of that class."""
    boxes, scores = scene()
    nothing = 1 - scores.sum(axis=2, keepdims=True).clip(0, 0.98)
    whole = np.concatenate([scores, nothing], 2)
    logits = np.log(whole / whole.sum(axis=2, keepdims=True) + 1e-9).astype("f")
    (choice,) = chosen(boxes=boxes, scores=logits)
    assert f"class {CLASSES} is no object" in choice.why
    found = choice.make()
    found.add(*[{"boxes": boxes, "scores": logits}] * 2)
    assert found.result().value == pytest.approx(1.0)
    assert found.result().details[0].startswith("100.0 %")


@pytest.mark.filterwarnings("error")
def test_boxes_without_a_score_have_no_error_of_it():
    boxes, scores = scene()
    metric = DetectionAgreement(("y",), lambda outputs: outputs["y"], 0.0)
    none = [Boxes(corners_of(b), np.zeros(len(b)), np.zeros(len(b))) for b in boxes]
    some = [
        Boxes(corners_of(b), s[:, 0], np.zeros(len(b))) for b, s in zip(boxes, scores, strict=True)
    ]
    metric.add({"y": none}, {"y": some})
    assert not any("inf" in text or "nan" in text for text in metric.result().details)
