"""Settings that all tests share."""

import signal

from hypothesis import settings

# The same examples in every run: a failure is there to be looked at again.
settings.register_profile("planish", derandomize=True, deadline=None)
settings.load_profile("planish")

# A shell that runs the tests in the background has them, and what they start, ignore Ctrl-C, which
# some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
