"""Files with bytes that are others: `python -m tests.sweep.mutated --count 1000 --seed 0`.

Models, feeds, artifacts and pipelines as text are changed at random and read. What may come of it
is a result or a PlanishError: no other exception, no crash, no end that does not come, no more
memory, and no array that differs from what onnx reads of the same bytes. What is none of these is
written to `--out`, and its number draws it again.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import onnx
from onnx import numpy_helper

import planish
from planish.tools.reduce.apart import Limits, run_apart

from tests.strategies.random_graphs import KINDS, graph

_LIMITS = Limits(seconds=60.0, memory=4 << 30)


def mutated(data: bytes, rng: Random) -> bytes:
    """Return `data` with a few bytes changed, removed, doubled, or cut off."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if not made:
            break
        place, kind = rng.randrange(len(made)), rng.random()
        if kind < 0.6:
            made[place] = rng.randrange(256)
        elif kind < 0.7:
            made[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind < 0.8:
            del made[place : place + rng.randrange(1, 9)]
        elif kind < 0.9:
            made[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
        elif kind < 0.95:
            made[place:place] = made[place : place + rng.randrange(1, 65)]
        else:
            del made[place:]
    return bytes(made)


def _model(rng: Random) -> bytes:
    while True:
        found = graph(rng.choice(sorted(KINDS)), rng)
        if found is not None:
            return found.model.SerializeToString()


def _read_model(data: bytes, folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(data)
    found = planish.load(path)
    written = planish.to_model(found)
    _same_weights(data, written)
    planish.Pipeline.parse("exact").run(found, verify="off", strict=True)


def _same_weights(data: bytes, written: onnx.ModelProto) -> None:
    theirs = onnx.ModelProto.FromString(data)
    ours = {t.name: t for t in written.graph.initializer}
    for tensor in theirs.graph.initializer:
        try:
            wanted = numpy_helper.to_array(tensor)
        except Exception:  # it reads nothing of it
            continue
        if tensor.name in ours and wanted.dtype != object:
            found = numpy_helper.to_array(ours[tensor.name])
            if found.shape != wanted.shape or found.tobytes() != wanted.tobytes():
                raise AssertionError(f"'{tensor.name}' is read otherwise than onnx does")


def _feeds(rng: Random) -> bytes:
    file, shape = io.BytesIO(), (rng.randint(1, 3), 3, 4, 4)
    write = np.savez_compressed if rng.random() < 0.5 else np.savez
    write(file, x=np.random.default_rng(rng.getrandbits(32)).random(shape, np.float32))
    return file.getvalue()


def _read_feeds(data: bytes, folder: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3,4,4] x) => (float[N,3,4,4] y) '
        "{ y = Relu(x) }"
    )
    path = folder / "feeds.npz"
    path.write_bytes(data)
    found = planish.load(model)
    planish.compare(found, found, planish.load_feeds(path, found))


def _pipeline(rng: Random) -> bytes:
    passes = ["exact", "quantize{weights=int8,per-channel=true}", "repeat(fold-constants,bypass)"]
    passes += ["prune{sparsity=0.5}", "attempt(int8,otherwise(exact))", "mix-precision{to=[a,b]}"]
    return ",".join(rng.sample(passes, rng.randint(1, 3))).encode()


def _read_pipeline(data: bytes, folder: Path) -> None:
    planish.Pipeline.parse(data.decode("utf-8", "replace"))


@functools.cache
def _artifact_of(backend: str) -> bytes:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,3,4,4] x) => (float[1,3,4,4] y) '
        "{ a = Relu(x) y = Neg(a) }"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.compiled"

        def save() -> bytes:
            planish.lower(planish.load(model), backend).save(path)
            return path.read_bytes()

        found = run_apart(save, Limits(seconds=300.0))
        return found.value or b""


def _artifact(rng: Random) -> bytes:
    return _artifact_of(rng.choice(("onnxruntime", "openvino")))


def _read_artifact(data: bytes, folder: Path) -> None:
    path = folder / "network.compiled"
    path.write_bytes(data)
    planish.load_compiled(path)({"x": np.ones((1, 3, 4, 4), np.float32)})


FILES: dict[str, tuple[Callable[[Random], bytes], Callable[[bytes, Path], None]]] = {
    "model": (_model, _read_model),
    "feeds": (_feeds, _read_feeds),
    "pipeline": (_pipeline, _read_pipeline),
    "artifact": (_artifact, _read_artifact),
}


def problem_of(kind: str, number: int) -> tuple[bytes, str]:
    """Return the bytes of a number, and what is wrong with how they are read; "" for nothing."""
    rng = Random(f"{kind} {number}")
    make, read = FILES[kind]
    data = mutated(make(rng), rng)

    def judge() -> str:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "inside"
            folder.mkdir()
            with contextlib.suppress(planish.PlanishError):
                read(data, folder)
            if sorted(path.name for path in Path(name).iterdir()) != ["inside"]:
                return "it wrote outside of its folder"
        return ""

    found = run_apart(judge, _LIMITS)
    last = found.error.strip().splitlines()
    return data, found.value or (f"{found.how}: {last[-1] if last else ''}" if found.how else "")


def main() -> int:
    """Read the options, try the numbers and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=[*FILES], action="append", help="default: all")
    parser.add_argument("--count", type=int, default=1000, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0, help="number of the first file")
    parser.add_argument("--out", type=Path, default=Path("sweep-faults"))
    given = parser.parse_args()
    wrong: collections.Counter[str] = collections.Counter()
    for kind in given.kind or FILES:
        for number in range(given.seed, given.seed + given.count):
            data, problem = problem_of(kind, number)
            if problem:
                wrong[kind] += 1
                given.out.mkdir(parents=True, exist_ok=True)
                (given.out / f"{kind}_{number}").write_bytes(data)
                print(f"{kind} {number}: {problem}", flush=True)
        print(f"{kind}: {given.count} files, {wrong[kind]} faults", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
