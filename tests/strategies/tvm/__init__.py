"""Random graphs for a backend that compiles: single operators and small graphs of them.

Ranks 0 to 5, sizes 1 and odd, every kind of window and pad, integers and booleans, Q/DQ pairs,
shared tensors, inputs and constants as outputs, a batch that is known or not. A node is drawn, run
by ONNX Runtime on what its inputs hold, and dropped where that refuses it: what is left is what
ONNX Runtime computes, and its values are at hand.
"""

from .cases import compiled_graphs, draw_graph

__all__ = ["compiled_graphs", "draw_graph"]
