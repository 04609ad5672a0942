"""Channel analysis of a whole graph, with a rule for every operator that channels pass."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import onnx_graphsurgeon as gs

from ....ir.core.variables import FUSED_DOMAIN, is_standard
from ....ir.ops.traits.groups import UNARY
from ...engine.context import Context
from .analysis import ChannelAnalysis, Rule
from .rules import elementwise, growth, linear, movement, recurrent, windows

_RULES: dict[str, Rule] = {
    name: rule
    for rules in (elementwise, growth, linear, movement, recurrent, windows)
    for name, rule in rules.RULES.items()
}


def analyze_channels(context: Context, *, across_layernorm: bool = False) -> ChannelAnalysis:
    """Return the labels of all tensors of the graph of `context`, and what is sliced along them.

    `across_layernorm`: channels may go where a LayerNormalization or RMSNormalization takes its
    statistics over them, which is no longer the same function then.
    """
    rules = _RULES | windows.ACROSS_LAYERNORM if across_layernorm else _RULES
    return ChannelAnalysis(context, functools.partial(_rule_of, rules))


def _rule_of(rules: Mapping[str, Rule], node: gs.Node) -> Rule | None:
    recognized = node.domain == FUSED_DOMAIN and node.op in UNARY
    return rules.get(node.op) if is_standard(node) or recognized else None
