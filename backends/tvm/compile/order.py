"""A line that LLVM moves no access to memory across, and that is no instruction.

    define void @f() alwaysinline { call void asm sideeffect "", "~{memory}"()  ret void }

Every buffer of a kernel has a node of its own in the type-based alias analysis. Where two kernels
are inlined into one function, LLVM takes the buffer that one reads and the buffer that the other
writes for different memory, though both may be one place of an arena.

Source: LLVM Language Reference, "Inline Assembler Expressions" (memory clobbers), "tbaa Metadata".
"""

from __future__ import annotations

_NAME = "planish_keep_order"
_LINE = f"""
define linkonce_odr void @{_NAME}() alwaysinline nounwind {{
  call void asm sideeffect "", "~{{memory}}"()
  ret void
}}
"""


def keep_order() -> None:
    """Emit the line into the function under construction."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as script

    with script.attr(tirx.const(0, "int32"), "pragma_import_llvm", _LINE):
        script.evaluate(tirx.call_extern("void", _NAME))
