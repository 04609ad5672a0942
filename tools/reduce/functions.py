"""Local functions: inlined where the fault shows without the call, else with less inside.

f(x) = tail(middle(head(x)))  becomes a call of `middle` alone, beside the nodes of head and tail.

What is moved out of a function so is reduced as the nodes of a graph are, with known types.
"""

from __future__ import annotations

import graphlib
from dataclasses import dataclass
from typing import Any

import onnx
import onnx.inliner

from .apart import Limits, run_apart
from .case import Case, graphs_of_node, reads, scopes_of
from .known import learn
from .search import DeltaSearch, each_alone, shortest

Key = tuple[str, str]


def inline_functions(search: DeltaSearch, limits: Limits | None, seed: int) -> None:
    """Put the bodies of functions in the place of their calls, all of them or those that can go."""
    before = search.best

    def attempt(keys: list[Key]) -> bool:
        return search.attempt(_inlined(search.best, keys, limits), "inlined functions")

    each_alone([_key(each) for each in before.model.functions], attempt)
    if search.best is not before:
        search.best, search.known = learn(search.best, limits, seed)


def reduce_functions(search: DeltaSearch, limits: Limits | None, seed: int) -> None:
    """Take nodes out of the functions whose calls are needed."""
    before = search.best
    for key in [_key(each) for each in search.best.model.functions]:
        _fewer_outputs(search, key)
        _only_middle(search, key, limits)
        _bypass(search, key)
    if search.best is not before:
        search.best, search.known = learn(search.best, limits, seed)


def _only_middle(search: DeltaSearch, key: Key, limits: Limits | None) -> None:
    """Halve a body from both ends."""
    whole = search.best

    def end_outside(count: int) -> bool:
        return search.attempt(_with_part(whole, key, (0, count), limits), "less in a function")

    function = _find(whole.model, key)
    kept = 0 if function is None else shortest(len(function.node), end_outside)
    last = search.best

    def begin_outside(count: int) -> bool:
        part = (kept - count, kept)
        return search.attempt(_with_part(last, key, part, limits), "less in a function")

    shortest(kept, begin_outside)


def _inlined(case: Case, keys: list[Key], limits: Limits | None) -> Case | None:
    """Return the case with the bodies of these functions in the place of their calls.

    In a process of its own, for it is native code. None where that fails.
    """

    def work() -> bytes:
        inlined: bytes = onnx.inliner.inline_selected_functions(
            case.model, keys
        ).SerializeToString()
        return inlined

    made = None if _calls_itself(case.model) else run_apart(work, limits).value
    return None if made is None else Case(onnx.ModelProto.FromString(made), case.feed)


def _with_part(case: Case, key: Key, part: tuple[int, int], limits: Limits | None) -> Case | None:
    """Return the case whose function `key` has these nodes alone, and its callers the others."""
    made = case.copy()
    function = _find(made.model, key)
    if function is None:
        return None
    pieces = _Pieces.of(function, part)
    for scope in scopes_of(made.model):
        pieces.call_in(scope.node)
    functions = [pieces.middle, *(f for f in made.model.functions if _key(f) != key)]
    copies = [onnx.FunctionProto.FromString(f.SerializeToString()) for f in functions]
    outer = [each for each in (pieces.head, pieces.tail) if each.node]
    del made.model.functions[:]
    made.model.functions.extend([*copies, *outer])
    return _inlined(made, [_key(each) for each in outer], limits) if outer else made


@dataclass
class _Pieces:
    """A function in three that are called one after the other."""

    function: onnx.FunctionProto
    head: onnx.FunctionProto
    middle: onnx.FunctionProto
    tail: onnx.FunctionProto
    calls: int = 0

    @classmethod
    def of(cls, function: onnx.FunctionProto, part: tuple[int, int]) -> _Pieces:
        start, stop = part
        nodes = list(function.node)
        pieces = [nodes[:start], nodes[start:stop], nodes[stop:]]
        made = []
        for at, piece in enumerate(pieces):
            names = {name for node in piece for name in node.output if name}
            later = set().union(*(reads(n) for p in pieces[at + 1 :] for n in p))
            read = set().union(*map(reads, piece)) - names
            one = onnx.FunctionProto()
            one.CopyFrom(function)
            one.name = function.name if at == 1 else f"{function.name} part {at}"
            for field in ("node", "input", "output", "value_info"):
                one.ClearField(field)
            one.node.extend(piece)
            one.input.extend(sorted(read))
            one.output.extend(sorted(names & (later | set(function.output))))
            made.append(one)
        return cls(function, *made)

    def call_in(self, nodes: Any) -> None:
        """Have the calls of the function in `nodes`, a field of a protobuf, call its parts."""
        key = _key(self.function)
        if not any((node.domain, node.op_type) == key for node in nodes):
            return
        found: list[onnx.NodeProto] = []
        for node in nodes:
            found += self._calls(node) if (node.domain, node.op_type) == key else [node]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in found]
        del nodes[:]
        nodes.extend(copies)

    def _calls(self, call: onnx.NodeProto) -> list[onnx.NodeProto]:
        given = [*call.input, *[""] * (len(self.function.input) - len(call.input))]
        names = dict(zip(self.function.input, given, strict=True))
        outputs = zip(self.function.output, call.output, strict=False)
        names |= {own: name for own, name in outputs if name}
        self.calls += 1
        found = []
        for piece in (self.head, self.middle, self.tail):
            if not piece.node:
                continue
            node = onnx.NodeProto()
            node.CopyFrom(call)
            node.op_type = piece.name
            inner = f"{self.function.name} {self.calls} "
            node.input[:] = [names.get(name, inner + name) for name in piece.input]
            node.output[:] = [names.get(name, inner + name) for name in piece.output]
            found.append(node)
        return found


def _bypass(search: DeltaSearch, key: Key) -> None:
    """Have what reads a node of the body read one of its operands."""
    function = _find(search.best.model, key)
    names = [] if function is None else [n for node in function.node for n in node.output if n]
    for old in reversed(names):
        function = _find(search.best.model, key)
        nodes = [] if function is None else list(function.node)
        operands = [n for node in nodes if old in node.output for n in node.input if n]
        for new in dict.fromkeys(operands):
            if search.attempt(_read_instead(search.best, key, old, new), "bypass in a function"):
                break


def _fewer_outputs(search: DeltaSearch, key: Key) -> None:
    function = _find(search.best.model, key)
    for name in [] if function is None else list(function.output):
        search.attempt(_with_outputs(search.best.copy(), key, without=name), "fewer outputs")


def _read_instead(case: Case, key: Key, old: str, new: str) -> Case | None:
    made = case.copy()
    function = _find(made.model, key)
    if function is None:
        return None
    for node in function.node:
        for part in [node, *(n for g in graphs_of_node(node) for n in g.node)]:
            part.input[:] = [new if name == old else name for name in part.input]
    function.output[:] = [new if name == old else name for name in function.output]
    return _with_outputs(made, key)


def _with_outputs(made: Case, key: Key, *, without: str = "") -> Case | None:
    """Return a case whose function has the nodes that its outputs need; None where it has none."""
    function = _find(made.model, key)
    if function is None:
        return None
    outputs = [name for name in function.output if name != without]
    needed, alive = set(outputs), []
    for node in reversed(function.node):
        if needed & set(node.output):
            needed |= reads(node)
            alive.append(onnx.NodeProto.FromString(node.SerializeToString()))
    if not alive or len(set(outputs)) < len(outputs) or set(outputs) & set(function.input):
        return None
    function.output[:] = outputs
    del function.node[:]
    function.node.extend(reversed(alive))
    return _with_part(made, key, (0, len(alive)), None)


def _find(model: onnx.ModelProto, key: Key) -> onnx.FunctionProto | None:
    return next((each for each in model.functions if _key(each) == key), None)


def _key(function: onnx.FunctionProto) -> Key:
    return function.domain, function.name


def _calls_itself(model: onnx.ModelProto) -> bool:
    called = {
        _key(each): {
            (node.domain, node.op_type) for scope in scopes_of(each) for node in scope.node
        }
        for each in model.functions
    }
    try:
        graphlib.TopologicalSorter(called).prepare()
    except graphlib.CycleError:
        return True
    return False
