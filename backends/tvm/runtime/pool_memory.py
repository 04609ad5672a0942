"""Where what threads tell each other lies in memory: bytes from its beginning.

    [finished generation sleepers ...] [job] [share 0] [share 1] ... [captured ...] [active 0] ...

What is written by several threads has lines of cache of its own. A network that has no pool keeps
the same, up to what it captured, at the beginning of its arena.
"""

from __future__ import annotations

LINE = 64  # bytes that caches hand each other

FINISHED = 0  # 64 bits: parts that are finished, of all jobs so far
GENERATION = 8  # 64 bits: odd while a job is open, changed when it is opened and when it is closed
SLEEPERS = 16  # threads that wait for parts, asleep
FAILED = 20  # what a kernel of the job returned that was not 0
CLOSED = 24  # the region that is over, where there is no pool
PARKED = 28  # helpers that wait for a job, asleep
STAGES = 32  # 64 bits: numbers given to stages so far
STOP = 40  # not 0: helpers are to end
HELPERS = 44  # how many may help with the next job

FUNCTION = LINE  # what helpers are to call
FIRST_STAGE, FIRST_PART = LINE + 8, LINE + 16  # numbers before those of the job
LAMBDA, CLOSURE, TASKS = LINE + 24, LINE + 32, LINE + 40  # a parallel loop of TVM's

MOST_SHARES = 64
SHARES = 2 * LINE
CAPTURED = SHARES + MOST_SHARES * LINE
MOST_CAPTURED = 1 << 15
ACTIVE = CAPTURED + 8 * MOST_CAPTURED  # the generation that each helper is at, or 0
MOST_HELPERS = 255
SIZE = ACTIVE + MOST_HELPERS * LINE

# Functions of a library: (address) lets it join, (address, helper) is what a helper runs until
# (address) stops all.
JOIN, SERVE, STOP_POOL = "planish_join", "planish_serve", "planish_stop"
