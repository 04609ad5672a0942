"""Sizes that are computed while a program runs, in one order.

TVM's virtual machine keeps sizes in an array and computes those that depend on the batch in host
functions of a few stores, `H[3] = 18432 * H[0]`. Their order is that of addresses in the compiler's
memory: it changes from one compilation to the next, and with it the bytes of the library.
"""

from __future__ import annotations

from typing import Any


def relax_pipeline() -> Any:
    """Return TVM's usual pipeline for Relax with stores of sizes sorted by their place."""
    import tvm
    from tvm import relax

    ordered = tvm.transform.module_pass(lambda module, _: order_sizes(module), opt_level=0)
    return tvm.transform.Sequential([relax.get_pipeline("default_build"), ordered])


def order_sizes(module: Any) -> Any:
    """Sort the stores of every host function of `module`, which is changed, and return it."""
    from tvm import tirx

    for name, function in module.functions_items():
        if not isinstance(function, tirx.PrimFunc) or "tirx.is_host_func" not in function.attrs:
            continue
        stores = list(function.body.seq) if isinstance(function.body, tirx.SeqStmt) else []
        # What a store reads was there before the function was called.
        if all(isinstance(store, tirx.BufferStore) for store in stores) and stores:
            stores.sort(key=lambda store: int(store.indices[0]))
            module[name] = function.with_body(tirx.SeqStmt(stores))
    return module
