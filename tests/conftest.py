"""Settings that all tests share."""

from hypothesis import settings

# The same examples in every run: a failure is there to be looked at again.
settings.register_profile("planish", derandomize=True, deadline=None)
settings.load_profile("planish")
