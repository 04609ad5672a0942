"""What tests of hosts share."""

import pytest

import planish
from planish.passes.pipeline import registry


@pytest.fixture
def registered():
    """Return `register_pass`, whose passes are forgotten after the test."""
    before = dict(registry.REGISTERED)
    yield planish.register_pass
    registry.REGISTERED.clear()
    registry.REGISTERED.update(before)
