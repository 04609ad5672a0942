"""planish in onnxsim: a pipeline is a `custom_rewriter`, and a `custom_rewriter` is planish's."""

from .rewriter import as_rewriter as as_rewriter
from .rewriter import from_rewriter as from_rewriter
