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
    # In memory: of variables TVM keeps all bounds, and for each access to a buffer it goes through
    # those of the whole function, which takes seconds.
    at = script.alloc_buffer((4,), "int64")
    for index in range(2):
        before = tirx.Cast("int64", place[index]) * (images * count)
        script.buffer_store(at, tirx.truncdiv(before, tirx.Cast("int64", claimed)), [index])
    first, last, image, until = (at[i] for i in range(4))
    with script.While(first < last):
        script.buffer_store(at, tirx.truncdiv(first, count), [2])
        here = image * count
        script.buffer_store(at, tirx.min(last, here + count), [3])
        yield tirx.Cast("int32", first - here), tirx.Cast("int32", until - here), image
        script.buffer_store(at, until, [0])
