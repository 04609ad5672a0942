"""planish in torch.fx and torch.export, and passes of torch.fx in planish."""

from .from_pass import from_pass as from_pass
from .hosted_pass import as_pass as as_pass
from .programs import optimize_program as optimize_program
