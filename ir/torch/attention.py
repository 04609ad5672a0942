"""Attention over any number of leading axes, for an exporter that knows only two.

    softmax(q k' / sqrt(E)) v       q [..., L, E], k [..., S, E], v [..., S, V]

Leading axes are independent: one is added in front where there are fewer, and those in front of the
last become one where there are more.
"""

from __future__ import annotations

from typing import Any

_TENSORS = ("query", "key", "value", "attn_mask")


def attention_of_any_rank(torch: Any) -> Any:
    """Return a context in which attention runs on tensors of four axes.

    An `ExportedProgram` holds its operators already, and stays as it is.
    """
    attention = torch.nn.functional.scaled_dot_product_attention

    class Folding(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            given = dict(kwargs or {})
            if function is attention:
                tensors = {**dict(zip(_TENSORS, args, strict=False)), **given}
                if tensors["query"].dim() != 4 and not given.get("enable_gqa"):
                    return _folded(attention, tensors, args[len(_TENSORS) :])
            return function(*args, **given)

    return Folding()


def _folded(attention: Any, given: dict[str, Any], rest: Any) -> Any:
    tensors = {name: given.pop(name) for name in _TENSORS if name in given}
    mask = tensors.pop("attn_mask", None)
    query = tensors["query"]
    if query.dim() < 4:
        missing = (None,) * (4 - query.dim())
        folded = {name: tensor[missing] for name, tensor in tensors.items()}
        return attention(**folded, **_named(rest), attn_mask=mask, **given)[(0,) * len(missing)]
    leading = query.shape[:-2]
    folded = {n: t.expand(*leading, *t.shape[-2:]).flatten(0, -4) for n, t in tensors.items()}
    if mask is not None and mask.dim() > 2:
        mask = mask.expand(*leading, *mask.shape[-2:]).flatten(0, -4)
    found = attention(**folded, **_named(rest), attn_mask=mask, **given)
    return found.unflatten(0, leading[:-1])


def _named(rest: Any) -> dict[str, Any]:
    """Return what comes behind the tensors, if it was given by position."""
    return dict(zip(("dropout_p", "is_causal"), rest, strict=False))
