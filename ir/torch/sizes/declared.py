"""The bounds that `dynamic_shapes` declares for open sizes."""

from __future__ import annotations

import inspect
from typing import Any

Bounds = tuple[int, int | None]
ANY: Bounds = (0, None)


def declared_bounds(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any
) -> dict[str, Bounds]:
    """Return the least and the largest value of each open size, None where there is no limit.

    Sizes are called as torch.export calls them: `L['x'].size()[0]`. `dynamic_shapes` is as in
    `torch.export.export`.
    """
    from torch.utils import _pytree as pytree

    if not dynamic_shapes:
        return {}
    try:
        names = list(inspect.signature(module.forward).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):  # torch.export says what is wrong with the call
        return {}
    found = {}
    for path, leaf in pytree.tree_flatten_with_path(dynamic_shapes)[0]:
        keys = [getattr(key, "idx", getattr(key, "key", None)) for key in path]
        root = getattr(leaf, "root", None)  # of 8 * Dim("n")
        if root is not None:
            found[root.__name__] = _bounds(root)
        elif len(keys) > 1 and hasattr(leaf, "min"):
            found[_size(keys, names)] = _bounds(leaf)
    return found


def _size(keys: list[Any], names: list[str]) -> str:
    """Return what torch.export calls the size that is declared under `keys`."""
    first, *inner, axis = keys
    if isinstance(first, int) and first < len(names):
        first = names[first]
    return "L" + "".join(f"[{key!r}]" for key in (first, *inner)) + f".size()[{axis}]"


def _bounds(leaf: Any) -> Bounds:
    """Return the bounds of a Dim, or of a hint, which need not have any."""
    most = leaf.max
    return int(leaf.min or 0), most if isinstance(most, int) else None
