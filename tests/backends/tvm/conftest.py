"""Settings of the tests of the TVM backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from planish.backends.tvm.backend import Tvm


@pytest.fixture(autouse=True, scope="module")
def _kernels_are_compared_where_that_is_tested(request: pytest.FixtureRequest) -> Iterator[None]:
    """Outside `check`, networks are compared as a whole: kernels are not compiled twice."""
    if "check" in request.path.parts:
        yield
        return
    lower = Tvm.lower

    def plain(self: Tvm, *args: Any, check_kernels: bool = False, **options: Any) -> Any:
        return lower(self, *args, check_kernels=check_kernels, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tvm, "lower", plain)
        yield
