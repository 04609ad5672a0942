"""A Relax program to a library for the host and a binary for the GPU."""

from __future__ import annotations

from typing import Any

from ..build import host_passes
