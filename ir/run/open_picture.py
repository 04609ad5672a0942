"""Opening picture files: whatever Pillow says of one, that is a reason and no mistake of ours."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import FeedError

if TYPE_CHECKING:
    from PIL.Image import Image


@contextlib.contextmanager
def open_picture(file: Path) -> Iterator[Image]:
    """Yield the picture in `file`, whose pixels are read once they are asked for.

    Raises FeedError where it cannot be read, and for more than Pillow's limit of pixels, 179
    million: a file of kilobytes may unfold to gigabytes.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                yield image
    except (FeedError, MemoryError):
        raise
    except Exception as error:  # broken files raise OSError, SyntaxError, ValueError, struct.error
        raise FeedError(f"'{file}' cannot be read as an image: {error}") from error
