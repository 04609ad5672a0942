"""A line that LLVM moves no access to some memory across, and that is no instruction.

    call void asm sideeffect "", "r,~{memory}"(ptr %p)

Every buffer of a kernel has a node of its own in the type-based alias analysis. Where two kernels
are inlined into one function, LLVM takes the buffer that one reads and the buffer that the other
writes for different memory, though both may be one place of an arena. The line is given the
address: parameters are `noalias`, and what it was not told the address of, it cannot touch.

Source: LLVM Language Reference, "Inline Assembler Expressions" (memory clobbers), "tbaa Metadata",
"Pointer Capture".
"""

from __future__ import annotations

from typing import Any

_NAME = "planish_keep_order"
_LINE = f"""
define linkonce_odr void @{_NAME}(ptr %memory) alwaysinline nounwind {{
  call void asm sideeffect "", "r,~{{memory}}"(ptr %memory)
  ret void
}}
"""


def keep_order(pointer: Any) -> None:
    """Emit the line for what `pointer` points into, in the function under construction."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as script

    with script.attr(tirx.const(0, "int32"), "pragma_import_llvm", _LINE):
        script.evaluate(tirx.call_extern("void", _NAME, pointer))
