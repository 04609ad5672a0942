"""The text of pipelines: it reads back, and every mistake points at its place."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish import Pass, Pipeline, register_pass
from planish.ir.core.errors import PipelineError
from planish.passes.pipeline import registry
from planish.passes.pipeline.attempt import members
from planish.passes.pipeline.presets import PRESETS

from tests.effort import examples


@dataclass(frozen=True)
class Grammar(Pass):
    """Takes an option of every type. Second sentence."""

    name: ClassVar[str] = "grammar-test"
    whole: int = 1
    real: float = 0.5
    flag: bool = False
    text: str = "word"
    many: tuple[int, ...] = ()
    texts: tuple[str, ...] = ("a",)
    pair: tuple[int, float] = (1, 2.0)
    nested: tuple[tuple[int, ...], ...] = ()
    maybe: float | None = None
    maybe_text: str | None = None
    either: int | str = 0
    mode: Literal["none", "a b", "all"] = "all"
    bits: Literal[4, 8] = 8

    def run(self, graph, context):
        """Do nothing."""


@dataclass(frozen=True)
class Demanding(Pass):
    """Has an option without a default, and checks it."""

    name: ClassVar[str] = "grammar-demanding"
    size: int

    def __post_init__(self):
        if self.size < 0:
            raise ValueError(f"size is {self.size}; give a positive one")

    def run(self, graph, context):
        """Do nothing."""


@pytest.fixture(autouse=True, scope="module")
def _registered():
    for item in (Grammar, Demanding):
        register_pass(item)
    yield
    for item in (Grammar, Demanding):
        del registry.REGISTERED[item.name]


tricky = st.sampled_from(
    [
        "",
        "none",
        "true",
        "false",
        "1e-5",
        "5",
        "inf",
        "a,b",
        "{}",
        "[x]",
        '"',
        "\\",
        "é",
        "日本",
        "a=b",
    ]
)
texts = tricky | st.text(max_size=8)
reals = st.sampled_from([1e-5, 1e300, -0.0, math.inf, -math.inf]) | st.floats(allow_nan=False)
items = st.builds(
    Grammar,
    whole=st.integers(),
    real=reals,
    flag=st.booleans(),
    text=texts,
    many=st.lists(st.integers(), max_size=3).map(tuple),
    texts=st.lists(texts, max_size=3).map(tuple),
    pair=st.tuples(st.integers(), reals),
    nested=st.lists(st.lists(st.integers(), max_size=2).map(tuple), max_size=2).map(tuple),
    maybe=st.none() | reals,
    maybe_text=st.none() | texts,
    either=st.integers() | texts,
    mode=st.sampled_from(["none", "a b", "all"]),
    bits=st.sampled_from([4, 8]),
) | st.builds(Demanding, size=st.integers(min_value=0))


@given(st.lists(items, min_size=1, max_size=3))
@settings(max_examples=examples(60))
def test_text_reads_back(passes):
    pipeline = Pipeline(tuple(passes))
    found = Pipeline.parse(str(pipeline))
    assert found == pipeline
    for a, b in zip(found.passes, passes, strict=True):
        if isinstance(a, Grammar):
            assert type(a.either) is type(b.either)
            assert type(a.bits) is int


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("real=1e-5", Grammar(real=1e-5)),
        ("real=inf", Grammar(real=math.inf)),
        ("flag", Grammar(flag=True)),
        ("flag=false", Grammar(flag=False)),
        (' text = "a\\"b, {c}" ', Grammar(text='a"b, {c}')),
        ("text=1e-5", Grammar(text="1e-5")),
        ("many=[1,2]", Grammar(many=(1, 2))),
        ("many=[]", Grammar(many=())),
        ("many=3", Grammar(many=(3,))),
        ("maybe=none", Grammar()),
        ("maybe=2", Grammar(maybe=2.0)),
        ('maybe-text="none"', Grammar(maybe_text="none")),
        ("mode=none", Grammar(mode="none")),
        ("bits=4", Grammar(bits=4)),
        ("either=5", Grammar(either=5)),
        ('either="5"', Grammar(either="5")),
    ],
)
def test_reads(options, expected):
    assert Pipeline.parse(f"grammar-test{{{options}}}").passes == (expected,)


def test_defaults_are_not_written():
    assert str(Pipeline((Grammar(), Demanding(2)))) == "grammar-test,grammar-demanding{size=2}"


def test_numpy_numbers_are_written_as_numbers():
    pipeline = Pipeline((Grammar(whole=np.int64(3), real=np.float64(0.25), flag=np.bool_(True)),))
    assert str(pipeline) == "grammar-test{whole=3,real=0.25,flag=true}"


def test_presets_and_passes_mix():
    found = Pipeline.parse("grammar-test , cleanup,\n fold-batchnorm")
    assert found.passes[0] == Grammar()
    assert ",".join(map(str, found.passes[1:-1])) == PRESETS["cleanup"]
    assert found.passes[-1].name == "fold-batchnorm"


def _carets(text):
    with pytest.raises(PipelineError) as caught:
        Pipeline.parse(text)
    message, shown, carets = str(caught.value).split("\n")
    assert carets.strip(" ^") == ""
    start = carets.index("^")
    assert len(shown) == len(text) + 2
    return message, text[start - 2 : len(carets) - 2]


@pytest.mark.parametrize(
    ("text", "under", "says"),
    [
        ("cleanup,fold-batchnrm", "fold-batchnrm", "did you mean 'fold-batchnorm'?"),
        ("grammar-test,exakt", "exakt", "did you mean 'exact'?"),
        ("grammar-test{hole=1}", "hole", "did you mean 'whole'?"),
        ("fold-batchnorm{x=1}", "x", "has no option 'x'; it has none"),
        ("grammar-test{whole=1,whole=1}", "whole", "given twice"),
        ("grammar-test{whole=1.5}", "1.5", "takes a whole number"),
        ('grammar-test{whole="1"}', '"1"', "takes a whole number"),
        ('grammar-test{real="\\u00e9é"}', '"\\u00e9é"', "takes a number"),
        ("grammar-test{flag=yes}", "yes", "takes true or false"),
        ("grammar-test{whole}", "whole", "needs a value"),
        ("grammar-test{whole=[1]}", "whole", "one value, not a list"),
        ("grammar-test{pair=[1]}", "pair", "takes 2 values, not 1"),
        ("grammar-test{many=[1,x]}", "x", "takes a whole number"),
        ("grammar-test{mode=al}", "al", "did you mean 'all'?"),
        ("grammar-test{bits=5}", "5", "known are 4, 8"),
        ("grammar-test{real=none}", "none", "takes a number"),
        ('grammar-test{text="open}', '"', "not closed"),
        ('grammar-test{text="\\x"}', '"\\x"', "not valid JSON"),
        ("grammar-test}", "}", "expected ','"),
        ("grammar-test,,cleanup", ",", "expected a pass name"),
        ("grammar-test{=1}", "=", "expected an option name"),
        ("grammar-test{whole=,}", ",", "expected a value"),
        ("exact{whole=1}", "whole", "no pass of preset 'exact' has an option 'whole'"),
        ("int8{calibratoin=mse}", "calibratoin", "did you mean 'calibration'?"),
        ("int8{calibration=minmax}", "minmax", "did you mean 'min-max'?"),
        ("int8{min-sqnr=a}", "a", "takes a number"),
        ("cleanup{limit=3,limit=4}", "limit", "given twice"),
        ("cleanup,grammar-demanding", "grammar-demanding", "needs option 'size'"),
        ("grammar-demanding{size=-1}", "grammar-demanding", "give a positive one"),
    ],
)
def test_mistakes_show_their_place(text, under, says):
    message, shown = _carets(text)
    assert shown == under
    assert says in message


@pytest.mark.parametrize(
    "text", ["grammar-test{", "grammar-test{whole=1", "grammar-test{many=[1,", "grammar-test,"]
)
def test_unfinished_text_points_at_its_end(text):
    with pytest.raises(PipelineError, match="found the end of the text") as caught:
        Pipeline.parse(text)
    assert str(caught.value).split("\n")[2] == " " * (len(text) + 2) + "^"


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_empty_text(text):
    with pytest.raises(PipelineError, match="the pipeline is empty; name a pass or preset"):
        Pipeline.parse(text)


def test_deep_lists_are_refused_without_exhausting_the_stack():
    with pytest.raises(PipelineError, match="nested over"):
        Pipeline.parse("grammar-test{many=" + "[" * 50_000)


pieces = st.sampled_from(
    [
        "grammar-test",
        "exact",
        "whole",
        "many",
        "{",
        "}",
        "[",
        "]",
        ",",
        "=",
        '"',
        "\\",
        "1",
        "none",
        " ",
    ]
)


@given(st.text(max_size=30) | st.lists(pieces, max_size=12).map("".join))
@settings(max_examples=examples(300))
def test_random_text_parses_or_raises_a_pipeline_error(text):
    try:
        found = Pipeline.parse(text)
    except PipelineError:
        return  # any other error fails the test
    assert Pipeline.parse(str(found)) == found


def test_an_option_of_a_preset_goes_to_every_pass_that_has_it():
    text = "int8{calibration=min-max,min-sqnr=25,exclude=[a],limit=7,multiple=8}"
    made = Pipeline.parse(text)
    assert Pipeline.parse(str(made)) == made
    for inside, plain in zip(_passes(made), _passes(Pipeline.parse("int8")), strict=True):
        given = {"calibration": "min-max", "min_sqnr": 25.0, "exclude": ("a",), "limit": 7}
        given["multiple"] = 8  # the preset has set it itself
        own = {f.name for f in dataclasses.fields(plain)} & given.keys()
        assert inside == dataclasses.replace(plain, **{name: given[name] for name in own})


def test_an_option_of_a_preset_stays_with_it():
    made = Pipeline.parse("cleanup{limit=3},cleanup")
    limits = [each.limit for each in _passes(made) if each.name == "inline-functions"]
    assert limits[0] == 3
    assert limits[1] != 3


def _passes(pipeline):
    return [each for item in pipeline.passes for each in members(item)]
