"""planish in onnx_ir and onnxscript: a pipeline is a pass of theirs, their passes are planish's."""

from .convert import to_graph as to_graph
from .convert import to_ir as to_ir
from .from_pass import from_pass as from_pass
from .hosted_pass import as_pass as as_pass
