"""`planish passes --graph`: a pipeline as it will run."""

import json

from planish.passes.pipeline.pipeline import Pipeline

from tests.cli.common import assert_refused


def test_groups_are_drawn_as_they_run(call):
    text = "repeat(fold-constants,eliminate-dead-code),attempt(quantize,otherwise(fold-pad))"
    code, shown, err = call("passes", "--graph", "-p", text)
    assert (code, err) == (0, "")
    assert shown.splitlines() == [
        "├─ repeat until no pass edits:",
        "│  ├─ 1 fold-constants",
        "│  └─ 2 eliminate-dead-code",
        "└─ attempt, undone as a whole where a pass in it goes back:",
        "   ├─ 3 quantize (approximate)",
        "   └─ otherwise, on the graph as it was before:",
        "      └─ 4 fold-pad",
    ]


def test_every_pass_of_a_preset_is_there_in_order(call):
    def texts(stages):
        for stage in stages:
            if stage["kind"] == "pass":
                yield stage["text"]
            yield from texts(stage["stages"])

    for preset in ("exact", "int8"):
        found = json.loads(call("passes", "--graph", preset, "--json")[1])
        names = [text.partition("{")[0] for text in texts(found["stages"])]
        written = str(Pipeline.parse(preset))
        places = [written.index(name) for name in names[:3]]
        assert places == sorted(places)
        assert len(names) == sum(len(p) for p in _passes(preset))


def _passes(preset):
    from planish.passes.pipeline.attempt import members

    return map(members, Pipeline.parse(preset).passes)


def test_what_a_run_minds_is_told(call):
    shown = call("passes", "--graph", "-p", "exact,quantize")[1]
    assert "(where it edits, the group before it runs once more at the end)" in shown
    assert "once more" not in call("passes", "--graph", "-p", "exact,quantize,exact")[1]
    shown = call("passes", "--graph", "-p", "equalize-ranges,quantize", "-v")[1]
    assert "undone where the pass that it prepares for declines" in shown


def test_odd_lines_are_refused(call):
    assert_refused(call("passes", "--graph", "-p", "fold-constant"), "did you mean")
    assert_refused(call("passes", "-p", "exact"), "--pipeline", "--graph")
    assert_refused(call("passes", "exact", "--graph", "-p", "exact"), "--pipeline")
