"""All patterns of the table, subject by subject."""

from __future__ import annotations

from . import Pattern, affine, channels, cleanup, fusion, layout, linear, recognition, shuffle

SUBJECTS = (affine, linear, channels, shuffle, layout, recognition, fusion, cleanup)
PATTERNS: tuple[Pattern, ...] = tuple(p for subject in SUBJECTS for p in subject.PATTERNS)
