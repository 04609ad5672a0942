"""What is said of passes and presets: complete for each of them, and read from the source."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import pytest

import planish
from planish.ir.core.decline import need
from planish.ir.core.errors import PipelineError
from planish.passes.pipeline.describe import describe
from planish.passes.pipeline.presets import PRESETS
from planish.passes.pipeline.registry import REGISTERED, all_passes

BUILT_IN = [name for name, kind in all_passes().items() if kind.__module__.startswith("planish.")]


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_pass_says_what_it_does(name):
    kind, found = all_passes()[name], describe(name)
    assert found.name == name
    assert found.exact == kind.exact
    assert len(found.summary) > 20
    assert not found.summary.endswith(".")
    assert found.equation
    assert "\n\n" not in found.equation
    options = [field.name.replace("_", "-") for field in dataclasses.fields(kind) if field.init]
    assert [option.name for option in found.options] == options
    for option in found.options:
        assert option.text.endswith("."), option
        assert "see above" not in option.text
        assert "`see" not in option.text


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_is_said_of_options_is_of_options_that_exist(name):
    kind = all_passes()[name]
    said = [line.strip() for line in (kind.__doc__ or "").splitlines() if "- `" in line[:8]]
    fields = {field.name.replace("_", "-") for field in dataclasses.fields(kind)}
    for line in said:
        assert line.split("`")[1] in fields


def test_a_pass_in_full():
    found = describe("align-channels")
    assert found.equation == (
        "Conv(x, W) = Conv(Pad(x, zeros), [W, 0]) = Slice(Conv(x, [W; 0]), channels of W)"
    )
    assert found.text.startswith("Instructions for 8-bit integers multiply")
    assert found.text.endswith("and those that make few positions.")
    assert [(o.name, o.type, o.default) for o in found.options] == [
        ("multiple", "whole number", "4"),
        ("fewest", "whole number", "256"),
    ]
    assert set(found.declines) == {
        "Pad and Slice take types other than float from opset 11 on",
        "its weight is ...",
        "the shape of its result is unknown",
        "it makes only ... positions",
        "its bias is not constant",
    }


def test_types_and_defaults_are_written_as_in_pipelines():
    options = {option.name: option for option in describe("quantize-weights").options}
    assert options["bits"].type == "2 | 3 | 4 | 8"
    assert options["block-size"].type == "auto | whole number | none"
    assert (
        options["operators"].type
        == "[Conv | ConvTranspose | Gemm | MatMul | Gather | GRU | LSTM | RNN, ...]"
    )
    assert options["operators"].default == "[Conv,ConvTranspose,Gemm,MatMul,Gather,GRU,LSTM,RNN]"
    assert options["signed"].default == "true"
    (classes, _) = describe("replace-head").options
    assert classes.default == ""


def test_options_of_a_base_class_are_described_where_it_is_not_said_anew():
    inner, outer = (
        {option.name: option.text for option in describe(name).options}
        for name in ("decompose-svd", "decompose-tucker")
    )
    assert inner["ratio"] == outer["ratio"]
    assert "core" in outer["rank"]
    assert "core" not in inner["rank"]


def test_reasons_are_found_wherever_they_stand():
    # In a helper of the room, of ir.ops, behind a constant, handed on by a method of the pass.
    assert "the result of ... after ... has other readers" in describe("fold-batchnorm").declines
    assert "it is in training mode" in describe("fold-batchnorm").declines
    assert any("single weights" in reason for reason in describe("prune").declines)
    assert "the size of its result cannot be told beforehand" in describe("fold-constants").declines


def test_a_preset_is_written_out():
    for name in PRESETS:
        found = describe(name)
        assert planish.Pipeline.parse(found.pipeline) == planish.Pipeline.parse(name)
        assert found.summary


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(PipelineError, match=r"'exakt' \(did you mean 'exact'\?\)"):
        describe("exakt")
    with pytest.raises(PipelineError, match="did you mean 'quantize'"):
        describe("quantise")


@dataclass(frozen=True)
class Own(planish.Pass):
    """Do nothing, and say so. Or rather nothing much.

    - `how-much`: nothing at all.
    - `a`, `b`: two
      of a kind.
    """

    name: ClassVar[str] = "own-of-test"
    how_much: float = 0.5
    a: int | None = None
    b: tuple[int, float] = (1, 2.0)
    silent: str = "x y"

    def run(self, graph, context):
        need(len(graph.nodes) == 0, f"it has {len(graph.nodes)} nodes")


def test_a_pass_of_another_distribution(monkeypatch):
    monkeypatch.setitem(REGISTERED, "own-of-test", Own)
    found = describe("own-of-test")
    assert found.summary == "Do nothing, and say so"
    assert found.equation == ""  # this module opens with none
    assert found.text == "Or rather nothing much."
    assert [(o.name, o.type, o.default, o.text) for o in found.options] == [
        ("how-much", "number", "0.5", "nothing at all."),
        ("a", "whole number | none", "none", "two of a kind."),
        ("b", "[whole number, number]", "[1,2.0]", "two of a kind."),
        ("silent", "text", '"x y"', ""),
    ]
    assert found.declines == ("it has ... nodes",)


def test_a_pass_made_of_a_function(monkeypatch):
    def shout(graph, loud: bool = True):
        """Rename every node in capitals."""

    monkeypatch.setattr("planish.passes.pipeline.registry.REGISTERED", {**REGISTERED})
    planish.register_pass(shout)
    found = describe("shout")
    assert found.summary == "Rename every node in capitals"
    assert [(option.name, option.default) for option in found.options] == [("loud", "true")]
