"""planish inside TVM: importing this gives Relax the pipeline "planish"."""

from .dispatch import LeftOperator, left_to_tvm
from .machine import target
from .pipeline import DispatchToPlanish, build, register
from .program import to_relax

__all__ = ["DispatchToPlanish", "LeftOperator", "build", "left_to_tvm", "target", "to_relax"]

register()
