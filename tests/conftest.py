"""Settings that all tests share."""

import os
import signal

# One thread for PyTorch and BLAS, set before they load: tests run side by side, threads that wait
# for each other spin, and sums stay in one order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# The same examples in every run: a failure is there to be looked at again.
settings.register_profile("planish", derandomize=True, deadline=None)
settings.load_profile("planish")

# A shell that runs the tests in the background has them, and what they start, ignore Ctrl-C, which
# some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
