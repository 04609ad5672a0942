"""planish and onnxoptimizer: its passes, by name, are passes of planish."""

from .from_pass import from_pass as from_pass
