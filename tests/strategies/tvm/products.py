"""Products of matrices."""

from __future__ import annotations

from .draft import Draft, is_float


def product(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim > 0 and v.size > 0)
    if x is None:
        return
    shape = d.values[x].shape
    outs = d.pick(1, 3, 8, 17)
    if len(shape) == 2 and d.flip():
        back, front = d.pick(0, 1), d.pick(0, 0, 1)
        ins = shape[0] if front else shape[1]
        w = d.constant(d.normal(*((outs, ins) if back else (ins, outs))))
        inputs = [x, w]
        if d.flip():
            rows = shape[1] if front else shape[0]
            wide = d.pick((outs,), (1, outs), (rows, outs), (rows, 1), (1,))
            inputs.append(d.constant(d.normal(*wide)))
        d.add(
            "Gemm", inputs, transA=front, transB=back, alpha=d.pick(1.0, 0.5), beta=d.pick(1.0, 2.0)
        )
        return
    other = d.tensor(lambda v: is_float(v) and v.ndim > 1 and v.shape[-2] == shape[-1])
    if other is not None and d.flip():
        d.add("MatMul", [x, other])
        return
    extra = list(shape[:-2]) if len(shape) > 2 and d.flip(0.3) else []
    wide = [] if d.flip(0.2) else [outs]
    d.add("MatMul", [x, d.constant(d.normal(*(extra if wide else []), shape[-1], *wide))])


def einsum(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim in (2, 3) and v.size > 0)
    if x is None or d.opset < 12:
        return
    shape = d.values[x].shape
    if len(shape) == 2:
        d.add("Einsum", [x, d.constant(d.normal(5, shape[1]))], equation="ij,kj->ik")
    else:
        other = d.constant(d.normal(shape[0], 4, shape[2]))
        d.add("Einsum", [x, other], equation=d.pick("bij,bkj->bik", "bij,bkj->ikb"))
