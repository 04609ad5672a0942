"""How the file of a chosen network begins; it holds the choice and what its backend wrote."""

from __future__ import annotations

from ..contract.sealed import Seal

SEAL = Seal(backend="backend 'auto'", family=b"planish-auto-", magic=b"planish-auto-1\n")
