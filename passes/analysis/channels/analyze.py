"""Channel analysis of a whole graph, with a rule for every operator that channels pass."""

from __future__ import annotations

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


def analyze_channels(context: Context) -> ChannelAnalysis:
    """Return the labels of all tensors of the graph of `context`, and what is sliced along them."""
    return ChannelAnalysis(context, _rule_of)


def _rule_of(node: gs.Node) -> Rule | None:
    recognized = node.domain == FUSED_DOMAIN and node.op in UNARY
    return _RULES.get(node.op) if is_standard(node) or recognized else None
