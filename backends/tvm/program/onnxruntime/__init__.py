"""Operators that a program leaves to ONNX Runtime: a call with a model of the one node.

    y = planish.onnxruntime(model of the node, x...)            sizes are not known, or on a GPU
    planish.onnxruntime.into(model of the node, x..., y...)     a kernel that calls it

What has neither a kernel of ours nor a converter of TVM's that is known to be right is run so: slow
is better than wrong.
"""

from .emit import emit_onnxruntime
from .refusals import OtherRuntimeError

__all__ = ["OtherRuntimeError", "emit_onnxruntime"]
