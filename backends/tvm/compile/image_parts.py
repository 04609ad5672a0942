"""Parts of a kernel of one image, for as many images as there are.

    for (image in images of the claimed parts) kernel(x + image * size, ..., first, last)

Its code knows one image alone, so that it is the code of a network of one image.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

MOST_PARTS = 4096  # of a stage, so that the sum over many fits


def parts_of(images: Any, parts: int) -> Any:
    """Return the parts, an int64, that are claimed of so many `images`, each of so many `parts`."""
    from tvm import tirx

    return tirx.min(images * parts, tirx.const(MOST_PARTS, "int64"))


@contextlib.contextmanager
def images_of(images: Any, parts: Any, claimed: Any, place: Any) -> Iterator[tuple[Any, ...]]:
    """Open a loop over the images of a claimed range, and give each one's range, and the image.

    `place` holds the range, of as many parts as are `claimed` in all. Without `images` the range is
    given as it is, and no image.
    """
    from tvm import tirx
    from tvm.tirx.script.builder import ir as script

    if images is None:
        yield place[0], place[1]
        return
    count = tirx.const(parts, "int64")
    # In memory, where TVM does not look through expressions: it takes seconds for those of a loop.
    at = script.alloc_buffer((2,), "int64")
    for index in range(2):
        before = tirx.Cast("int64", place[index]) * (images * count)
        script.buffer_store(at, tirx.truncdiv(before, tirx.Cast("int64", claimed)), [index])
    with script.While(at[0] < at[1]):
        first = script.Bind(at[0])
        image = script.Bind(tirx.truncdiv(first, count))
        here = script.Bind(image * count)
        last = script.Bind(tirx.min(at[1], here + count))
        yield tirx.Cast("int32", first - here), tirx.Cast("int32", last - here), image
        script.buffer_store(at, last, [0])
