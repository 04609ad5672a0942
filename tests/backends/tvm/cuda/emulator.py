"""Networks for GPUs run on the CPU: their CUDA source, compiled as C++."""

from __future__ import annotations

import ctypes
import functools
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from planish.backends.contract.prepare import prepare
from planish.backends.tvm.cuda.compile.build import kernels_of
from planish.backends.tvm.cuda.compile.compiler import find_nvcc
from planish.backends.tvm.cuda.program.emit_graph import ChannelsLastEmitter
from planish.backends.tvm.cuda.spec.gpu import Gpu
from planish.backends.tvm.program.lowering import Lowered, lower_graph

from tests.shared import shared

Array = np.ndarray[Any, Any]
_MEETS = re.compile("__sync|__shfl|wmma")  # what threads of a block wait for each other in
_AXES = {"x": 0, "y": 1, "z": 2}


def is_possible() -> bool:
    """Say whether there are CUDA's headers and a C++ compiler."""
    return find_nvcc() is not None and shutil.which("g++") is not None


class Emulated:
    """A graph lowered for a GPU, or as it is `lowered`, whose kernels run here."""

    def __init__(
        self, graph: gs.Graph, folder: Path, arch: str = "sm_80", lowered: Lowered | None = None
    ) -> None:
        lowered = lowered or lower_graph(ChannelsLastEmitter(prepare(graph)))
        self.graph = graph
        self.constants = lowered.constants
        self.module, self.source = kernels_of(lowered.module, Gpu(arch))
        self._library = _compiled(self.source, folder)
        self._kernels = {
            str(v.name_hint): _Kernel(
                str(v.name_hint), f, self._signature(str(v.name_hint)), self._library
            )
            for v, f in self.module.functions_items()
            if str(v.name_hint) != "main"
        }

    def _signature(self, name: str) -> list[str]:
        found = re.search(rf"\b{name}_kernel\((.*?)\);", self.source)
        assert found is not None, name
        return [part.split()[-1] for part in found.group(1).split(",")]

    def __call__(self, feeds: dict[str, Array], *, backwards: bool = False) -> dict[str, Array]:
        """Run the program, one kernel after the other."""
        import tvm
        from tvm import relax

        main = self.module["main"]
        given = [np.ascontiguousarray(feeds[t.name]) for t in self.graph.inputs]
        values: dict[Any, Any] = dict(zip(main.params, [*given, *self.constants], strict=True))

        def value(expr: Any) -> Any:
            if isinstance(expr, relax.Call):  # what is left to ONNX Runtime
                assert expr.op.name == "relax.call_pure_packed"
                function, model, *operands = expr.args
                given = [tvm.runtime.tensor(value(operand)) for operand in operands]
                run = tvm.get_global_func(str(function.global_symbol))
                return run(str(model.value), *given).numpy()
            if not isinstance(expr, relax.Var | relax.Tuple):
                return expr.value.numpy()
            if isinstance(expr, relax.Tuple):
                return [value(field) for field in expr.fields]
            return values[expr]

        for block in main.body.blocks:
            for binding in block.bindings:
                call = binding.value
                if isinstance(call, relax.Call) and call.op.name == "relax.call_tir":
                    kind = call.ty_args[0]
                    result = np.zeros([int(d) for d in kind.shape], str(kind.dtype))
                    operands = [*value(call.args[1]), result]
                    self._kernels[str(call.args[0].name_hint)](operands, backwards)
                    values[binding.var] = result
                else:
                    values[binding.var] = value(call)
        results = value(main.body.body)
        return {t.name: r for t, r in zip(self.graph.outputs, results, strict=True)}


class _Kernel:
    def __init__(self, name: str, function: Any, names: list[str], library: Any) -> None:
        import tvm_ffi
        from tvm import tirx

        buffers = [f"{p.name}_ptr" for p in function.params]
        self._order = [buffers.index(name) for name in names]
        self._grid, self._block = [1, 1, 1], [1, 1, 1]

        def visit(loop: Any) -> None:
            if loop.thread_binding is None:
                return
            kind, axis = str(loop.thread_binding.thread_tag).split(".")
            where = {"blockIdx": self._grid, "threadIdx": self._block}.get(kind)
            if where is not None:
                where[_AXES[axis]] = max(where[_AXES[axis]], int(loop.extent))

        tvm_ffi.structural_walk(function.body, [(tirx.For, visit)], order="post")
        self._run = getattr(library, f"run_{name}")

    def __call__(self, operands: list[Array], backwards: bool) -> None:
        pointers = (ctypes.c_void_p * len(self._order))(
            *(operands[i].ctypes.data for i in self._order)
        )
        sizes = (ctypes.c_uint * 6)(*self._grid, *self._block)
        self._run(pointers, sizes, int(backwards))


def _compiled(source: str, folder: Path) -> Any:
    (folder / "cuda.h").touch()
    (folder / "mma.h").touch()
    launchers = []
    for name, parameters in re.findall(r"(\w+)_kernel\(([^)]*)\);", source):
        body = source.split(f"{name}_kernel(")[-1].split('extern "C"')[0]
        launch = "launch" if _MEETS.search(body) else "launch_apart"
        kinds = [p.rsplit(" ", 1)[0].replace("__restrict__", "") for p in parameters.split(",")]
        given = ", ".join(f"({kind}) p[{i}]" for i, kind in enumerate(kinds))
        launchers.append(
            f'extern "C" void run_{name}(void** p, unsigned* s, int backwards) {{ '
            f"emulator::{launch}({{s[0], s[1], s[2]}}, {{s[3], s[4], s[5]}}, backwards, "
            f"[=] {{ {name}_kernel({given}); }}); }}"
        )
    source = source.replace("extern __shared__", "extern")
    source = source.replace("__shared__ alignas(64)", "alignas(64) static")
    code = "\n".join(['#include "emulator.h"', source, *launchers])
    (folder / "kernels.cpp").write_text(code)
    made = str(folder / "kernels.so")
    _run_compiler(shared("emulator.h", _header), folder, "-shared", "kernels.cpp", "-o", made)
    return ctypes.CDLL(made)


def _header(folder: Path) -> None:
    """Compile the header, most of which is CUDA's and takes longer than a kernel."""
    shutil.copy(Path(__file__).with_name("emulator.h"), folder)
    _run_compiler(folder, folder, "-x", "c++-header", "emulator.h", "-o", "emulator.h.gch")


def _run_compiler(header: Path, folder: Path, *words: str) -> None:
    """Run g++ in `folder`, with the paths of CUDA's headers and that of the compiled one."""
    usual = ["-std=c++17", "-O1", "-fPIC", "-w", f"-I{header}", f"-I{folder}"]
    subprocess.run(["g++", *usual, *_paths_of_cuda(), *words], cwd=folder, check=True)


@functools.cache
def _paths_of_cuda() -> list[str]:
    nvcc = find_nvcc()
    assert nvcc is not None
    told = subprocess.run(
        [nvcc, "--dryrun", "-x", "c++", "-c", "none.cpp"], capture_output=True, text=True
    ).stderr
    found = re.findall(r"^#\$ (?:SYSTEM_)?INCLUDES=(.*)", told, re.MULTILINE)
    return [word for line in found for word in shlex.split(line)]
