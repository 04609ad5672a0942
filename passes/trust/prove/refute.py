"""Inputs on which two graphs differ, looked for where mistakes show that random numbers hide.

A sum that wraps around differs at the ends of its type, a bound at the numbers beyond it, what
drops a factor at NaN. Finite inputs are judged as verification judges them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx.reference import ReferenceEvaluator

from ....ir.core import dtypes
from ....ir.core.errors import ExecutionError, FeedError, VerificationError
from ....ir.core.variables import dense_values
from ....ir.files.save import to_model
from ....ir.graph.uses import scopes
from ....ir.ops.traits import traits_of
from ....ir.run.feeds import Feed, random_feeds
from ....ir.run.reference import Reference
from ..verify import Verifier
from .refute_terms import wrong_term
from .to_the_bit import differs_to_the_bit

# Of the constants of a graph whose values inputs are given.
_MOST_CONSTANTS = 64
_MOST_TURNS = 8
_MOST_REFERENCE_ELEMENTS = 1 << 16


@dataclass(frozen=True)
class Refutation:
    """A concrete input on which the result differs, and how.

    - `feed`: the input; `kind`: what it is, in words.
    - `output`: the output that differs; `message`: by how much.
    """

    feed: Feed
    kind: str
    output: str
    message: str


def refute(
    before: gs.Graph, after: gs.Graph, seed: int, *, finite: bool = True
) -> Refutation | None:
    """Return an input on which `after` does not compute what `before` does; None if none is found.

    `finite`: whether to try finite inputs: where they are proved to agree there is no need.
    """
    for kind, feed in _suspicious(before, seed, finite):
        if kind == _NAN and _same_numbers(before, after, feed):
            continue
        try:
            verifier = Verifier(before, [feed], seed)
            if verifier.active:
                verifier.check_end(after, True, "the passes")
        except VerificationError as error:
            if kind != _NAN or _reference_agrees(before, after, feed, error.output):
                return Refutation(feed, kind, error.output or "", str(error))
        except FeedError:
            continue
        if kind in _OF_INTEGERS:
            found = differs_to_the_bit(before, after, feed)
            if found is not None:
                return Refutation(feed, kind, *found)
    wrong = wrong_term(before, after, seed) if finite else None
    return None if wrong is None else Refutation(wrong.feed, _FEW, wrong.output, wrong.message)


_OF_INTEGERS = ("integers at the ends of their range", "integers that no float type holds")
_FEW = "numbers that are 0 but at few places"
_NAN = "NaN everywhere"


def _suspicious(graph: gs.Graph, seed: int, finite: bool) -> Iterator[tuple[str, Feed]]:
    """Yield inputs to try, each with what it is."""
    try:
        (plain,) = random_feeds(graph, seed=seed + 1)
    except FeedError:
        return
    random = np.random.default_rng(seed)
    floats = [name for name, array in plain.items() if dtypes.is_float(array.dtype)]
    integers = [name for name, array in plain.items() if array.dtype.kind in "iu"]
    if integers and not _decides_sizes(graph, integers):
        ends = {name: _at_the_ends(random, plain[name]) for name in integers}
        yield _OF_INTEGERS[0], {**plain, **ends}
        if finite:
            odd = {name: _beyond_floats(random, plain[name]) for name in integers}
            yield _OF_INTEGERS[1], {**plain, **odd}
    if finite:
        yield "other random numbers", plain
    if floats and finite:
        constants = random.permutation(_constants(graph))
        for turn in range(_MOST_TURNS):
            at = {name: _beside(constants, plain[name], turn) for name in floats}
            yield "numbers at and beside the constants of the graph", {**plain, **at}
            if all(array.size * (turn + 1) >= 3 * constants.size for array in at.values()):
                break
        sizes = {name: _of_every_size(random, plain[name]) for name in floats}
        yield "numbers of every size", {**plain, **sizes}
        powers = {name: _powers(random, plain[name]) for name in floats}
        yield "powers of two", {**plain, **powers}
    if floats:
        nan = {name: np.full_like(plain[name], np.nan) for name in floats}
        yield _NAN, {**plain, **nan}


def _decides_sizes(graph: gs.Graph, inputs: Sequence[str]) -> bool:
    """Say whether integers of `inputs` may be sizes or indices: large ones take all memory."""
    reached = {id(tensor) for tensor in graph.inputs if tensor.name in inputs}
    for node in graph.nodes:
        places = [at for at, tensor in enumerate(node.inputs) if id(tensor) in reached]
        if not places:
            continue
        traits = traits_of(node, int(graph.opset))
        numbers = traits.elementwise or traits.reduction or traits.selects
        if not numbers or not traits.data_of(len(node.inputs)):
            return True
        if not traits.elementwise and not set(places) <= {*traits.data_of(len(node.inputs))}:
            return True
        reached.update(id(tensor) for tensor in node.outputs)
    return False


def _at_the_ends(random: np.random.Generator, like: np.ndarray[Any, Any]) -> Any:
    low, high = dtypes.integer_limits(like.dtype)
    ends = np.array([low, low + 1, max(low, -1), 0, 1, high - 1, high]).astype(like.dtype)
    return random.choice(ends, like.shape)


def _of_every_size(random: np.random.Generator, like: np.ndarray[Any, Any]) -> Any:
    return (like.astype(np.float64) * 10.0 ** random.uniform(-4, 4, like.shape)).astype(like.dtype)


def _powers(random: np.random.Generator, like: np.ndarray[Any, Any]) -> Any:
    """Return powers of two beyond the range of float16, as far as the type of `like` goes."""
    found = np.ldexp(random.choice((-1.0, 1.0), like.shape), random.integers(15, 21, like.shape))
    with np.errstate(all="ignore"):
        made = found.astype(like.dtype)
    return np.where(np.isfinite(made), made, like).astype(like.dtype)


def _beyond_floats(random: np.random.Generator, like: np.ndarray[Any, Any]) -> Any:
    """Return integers of one bit more than float16, float32 and float64 hold, where they fit."""
    _, high = dtypes.integer_limits(like.dtype)
    found = [n for n in (2**8 + 1, 2**11 + 1, 2**24 + 1, 2**53 + 1) if n <= high]
    return np.resize(random.permutation(np.array(found or [high]).astype(like.dtype)), like.shape)


def _beside(
    constants: np.ndarray[Any, Any],
    like: np.ndarray[Any, Any],
    turn: int,
) -> Any:
    """Return constants and the next numbers on both sides of each: as many as fit, turn by turn."""
    with np.errstate(all="ignore"):
        exact = constants.astype(like.dtype)
    if like.dtype.kind == "f":
        ends = (np.asarray(end, like.dtype) for end in (-np.inf, np.inf))
        exact = np.concatenate([exact, *(np.nextafter(exact, end) for end in ends)])
    return np.resize(np.roll(exact, -turn * like.size), like.shape)


def _constants(graph: gs.Graph) -> np.ndarray[Any, Any]:
    """Return the numbers that small constants of the graph hold, and such as lie beyond them."""
    found = {0.0, 1.0, -1.0, 0.5, -2.5, 100.0}
    for scope in scopes(graph):
        for node in scope.nodes:
            attributes = [value for value in node.attrs.values() if isinstance(value, float)]
            held = [dense_values(tensor) for tensor in node.inputs]
            small = [v for v in held if v is not None and v.size <= 4 and dtypes.is_float(v.dtype)]
            numbers = attributes + [float(each) for values in small for each in values.flat]
            for number in numbers[:_MOST_CONSTANTS]:
                if np.isfinite(number) and abs(number) < 1e30:
                    found.update((number, -number, 2 * number, number / 2))
    return np.array(sorted(found))


def _same_numbers(before: gs.Graph, after: gs.Graph, feed: Feed) -> bool:
    """Say whether the runtime gives NaN at the same places: then there is nothing to look into."""
    try:
        a, b = (Reference(graph, threads=1)(feed) for graph in (before, after))
    except ExecutionError:
        return False
    return a.keys() == b.keys() and all(
        np.array_equal(*(_is_nan(outputs[name]) for outputs in (a, b))) for name in a
    )


def _is_nan(value: Any) -> Any:
    found = np.asarray(value)
    return np.isnan(found) if dtypes.is_float(found.dtype) else np.zeros(found.shape, np.bool_)


def _reference_agrees(before: gs.Graph, after: gs.Graph, feed: Feed, output: str | None) -> bool:
    """Say whether onnx's reference also gives NaN in one graph where the other has a number.

    Kernels differ in what they make of NaN from element to element.
    """
    if sum(array.size for array in feed.values()) > _MOST_REFERENCE_ELEMENTS:
        return False
    try:
        a, b = (
            ReferenceEvaluator(to_model(graph, portable=True)).run([output], feed)[0]
            for graph in (before, after)
        )
    except Exception:  # whatever it does not know
        return False
    return not np.array_equal(np.isnan(a), np.isnan(b))
