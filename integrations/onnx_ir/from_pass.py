"""Passes of onnx_ir and rewrite rules of onnxscript as functions of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_graphsurgeon as gs
import onnx_ir as ir

from ...ir.core.errors import PassError
from ...ir.core.kind import kind_of
from ..foreign import GraphFunction
from .convert import to_graph, to_ir
from .tensors import Tensors


def from_pass(given: Any) -> GraphFunction:
    """Return a pass of onnx_ir as a function of a graph, which is registered as a pass.

        planish.register_pass(from_pass(CommonSubexpressionEliminationPass()), exact=True)

    `given`: a pass, whose pre- and postconditions are checked, or rewrite rules of onnxscript: a
    `RewriteRuleSet`, a rule or a list of rules. The function is named like the pass, in kebab-case
    and without "Pass" at the end. Weights are not copied. Raises PassError for anything else.
    """
    run = given if isinstance(given, ir.passes.PassBase) else _rewriting(given)

    def changed(graph: gs.Graph) -> gs.Graph | None:
        tensors = Tensors()
        result = run(to_ir(graph, tensors))
        return to_graph(result.model, tensors) if result.modified else None

    name = getattr(given, "name", None) or type(given).__name__
    return GraphFunction(str(name), given.__doc__ or f"{name} of onnx_ir.", changed)


def _rewriting(rules: Any) -> ir.passes.PassBase:
    listed = list(rules) if isinstance(rules, Sequence) else [rules]
    if not listed or not all(hasattr(each, "apply_to_model") for each in listed):
        raise PassError(
            f"{kind_of(rules)} is no pass of onnx_ir and no rewrite rules; give an instance of "
            "onnx_ir.passes.PassBase or an onnxscript.rewriter.pattern.RewriteRuleSet"
        )
    from onnxscript.rewriter import RewritePass

    return RewritePass(rules if hasattr(rules, "rules") else listed)
