"""Claiming parts of a stage: how threads tell each other, as code of LLVM's.

    state:  [parts finished, sleepers, ...]  [job]  [stage, next part]  [stage, next part]  ...
                                                    share 0             share 1

The parts of a stage are cut into a share for each thread, so that a thread goes on where it was in
the stage before, with what its caches hold. A thread claims half of what is left of its share at a
time, and when that is gone of the others'. A stage is finished when its parts are, whoever did
them; who comes late finds nothing to claim and goes on. Waiting is polling for some fifty
microseconds, then sleeping.

Why it is right, in the terms of C++'s memory model:

- A share is one word, (stage, next part), changed by compare-and-swap alone and only upwards, since
  stages are numbered in their order, from one run to the next too: nobody claims a part twice, nor
  one of a stage that is over, even of a run that ended long ago. 48 bits last for years.
- What a thread read and wrote for its parts is before its addition to `finished` (release). All
  changes of that number are such additions, so that who reads the sum that stands for "all parts up
  to here" (acquire) has everything before any of them behind it.
- Nobody claims from a stage that needs others before that sum is reached: until then no part of a
  later phase adds to it, and the sum is reached by just those parts that it stands for.
- Who sleeps adds to `sleepers` and then reads the sum; who completes the sum then reads `sleepers`.
  All four are of one order (sequentially consistent), so that one of both sees the other, and the
  system compares the sum again before the sleep.
- `failed` is written before the addition for the parts that failed, and read behind the last one.
- `closed` says that nothing is left to claim, which stays true; its order does not matter.

Source: self-scheduling as in Polychronopoulos and Kuck, Guided Self-Scheduling (IEEE Transactions
on Computers 1987), with stealing as in Blumofe and Leiserson (Journal of the ACM 1999); the sleep
as in Drepper, Futexes Are Tricky (2011).
"""

from __future__ import annotations

from ..runtime.pool_memory import CLOSED, FAILED, GENERATION, LINE, SHARES, SLEEPERS
from ..spec.machine import CpuMachine
from .futex import wait, wake, yield_of

_EIGHTH = 3  # binary digits: no less than an eighth of a share is claimed
_PART_BITS = 16  # of a word; the rest is the number of the stage
_POLLS = 2000  # before a thread lets others run, some fifty microseconds

_CLAIM = f"""
define void @planish_atomic_claim(ptr %state, i64 %stage, i32 %own, i32 %shares, i32 %parts,
                                  i64 %until, i64 %goal, ptr %claimed) {{{{
entry:
  %second = getelementptr i8, ptr %claimed, i64 4
  %third = getelementptr i8, ptr %claimed, i64 8
  br label %share
share:
  %turn = phi i32 [ 0, %entry ], [ %turns, %look ]
  %ahead = add i32 %own, %turn
  %around = sub i32 %ahead, %shares
  %inside = icmp ult i32 %ahead, %shares
  %number = select i1 %inside, i32 %ahead, i32 %around
  %before = mul i32 %parts, %number
  %first = udiv i32 %before, %shares
  %through = add i32 %before, %parts
  %end = udiv i32 %through, %shares
  %size = sub i32 %end, %first
  %bytes = mul i32 %number, {LINE}
  %at = add i32 %bytes, {SHARES}
  %offset = zext i32 %at to i64
  %word = getelementptr i8, ptr %state, i64 %offset
  %held = load atomic i64, ptr %word monotonic, align 8
  br label %try
try:
  %seen = phi i64 [ %held, %share ], [ %found, %take ]
  %whose = lshr i64 %seen, {_PART_BITS}
  %over = icmp ugt i64 %whose, %stage
  br i1 %over, label %next, label %open
open:
  %begun = icmp eq i64 %whose, %stage
  %part = and i64 %seen, {(1 << _PART_BITS) - 1}
  %low = trunc i64 %part to i32
  %begin = select i1 %begun, i32 %low, i32 %first
  %left = sub i32 %end, %begin
  %gone = icmp eq i32 %left, 0
  br i1 %gone, label %next, label %take
take:
  %odd = add i32 %left, 1
  %half = lshr i32 %odd, 1
  %round = add i32 %size, {(1 << _EIGHTH) - 1}
  %eighth = lshr i32 %round, {_EIGHTH}
  %more.half = icmp ugt i32 %half, %eighth
  %wanted = select i1 %more.half, i32 %half, i32 %eighth
  %enough = icmp ult i32 %wanted, %left
  %count = select i1 %enough, i32 %wanted, i32 %left
  %to = add i32 %begin, %count
  %upper = shl i64 %stage, {_PART_BITS}
  %lower = zext i32 %to to i64
  %new = or i64 %upper, %lower
  %pair = cmpxchg ptr %word, i64 %seen, i64 %new monotonic monotonic
  %found = extractvalue {{{{ i64, i1 }}}} %pair, 0
  %won = extractvalue {{{{ i64, i1 }}}} %pair, 1
  br i1 %won, label %claim, label %try
claim:
  store i32 %begin, ptr %claimed, align 4
  store i32 %to, ptr %second, align 4
  %held.before = load i32, ptr %third, align 4
  %held.now = add i32 %held.before, %count
  store i32 %held.now, ptr %third, align 4
  ret void
next:
  %done = load i32, ptr %third, align 4
  %any = icmp ne i32 %done, 0
  br i1 %any, label %finish, label %look
finish:
  store i32 0, ptr %third, align 4
  %so.many = zext i32 %done to i64
  %others = atomicrmw add ptr %state, i64 %so.many seq_cst
  %reached = add i64 %others, %so.many
  %complete = icmp eq i64 %reached, %goal
  br i1 %complete, label %wake, label %look
wake:
  %place = getelementptr i8, ptr %state, i64 {SLEEPERS}
  %sleepers = load atomic i32, ptr %place seq_cst, align 4
  %asleep = icmp ne i32 %sleepers, 0
  br i1 %asleep, label %call, label %nothing
call:
  {{wake}}
  br label %nothing
look:
  %sum = load atomic i64, ptr %state monotonic, align 8
  %open.still = icmp ugt i64 %until, %sum
  %turns = add i32 %turn, 1
  %others.left = icmp ult i32 %turns, %shares
  %more = and i1 %open.still, %others.left
  br i1 %more, label %share, label %nothing
nothing:
  store i64 0, ptr %claimed, align 4
  ret void
}}}}
"""

_CLEAR = """
define void @planish_atomic_clear(ptr %state, i64 %size) {
entry:
  br label %line
line:
  %at = phi i64 [ 0, %entry ], [ %next, %line ]
  %place = getelementptr i8, ptr %state, i64 %at
  store i64 0, ptr %place, align 8
  %next = add i64 %at, 8
  %more = icmp ult i64 %next, %size
  br i1 %more, label %line, label %out
out:
  ret void
}
"""

_OPEN = f"""
define i1 @planish_atomic_is_open(ptr %state) {{
  %place = getelementptr i8, ptr %state, i64 {CLOSED}
  %closed = load atomic i32, ptr %place monotonic, align 4
  %open = icmp eq i32 %closed, 0
  ret i1 %open
}}

define void @planish_atomic_close(ptr %state) {{
  %place = getelementptr i8, ptr %state, i64 {CLOSED}
  store atomic i32 1, ptr %place monotonic, align 4
  ret void
}}
"""

_FAIL = f"""
define void @planish_atomic_fail(ptr %state, i32 %status) {{
  %place = getelementptr i8, ptr %state, i64 {FAILED}
  store atomic i32 %status, ptr %place monotonic, align 4
  ret void
}}

define i32 @planish_atomic_failed(ptr %state) {{
  %place = getelementptr i8, ptr %state, i64 {FAILED}
  %status = load atomic i32, ptr %place monotonic, align 4
  ret i32 %status
}}
"""

_CAPTURE = f"""
define void @planish_capture_pointer(ptr %state, i64 %offset, ptr %value) {{
  %place = getelementptr i8, ptr %state, i64 %offset
  store atomic ptr %value, ptr %place monotonic, align 8
  ret void
}}

define void @planish_capture_number(ptr %state, i64 %offset, i64 %value) {{
  %place = getelementptr i8, ptr %state, i64 %offset
  store atomic i64 %value, ptr %place monotonic, align 8
  ret void
}}

define ptr @planish_captured_pointer(ptr %state, i64 %offset) {{
  %place = getelementptr i8, ptr %state, i64 %offset
  %value = load atomic ptr, ptr %place monotonic, align 8
  ret ptr %value
}}

define i64 @planish_captured_number(ptr %state, i64 %offset) {{
  %place = getelementptr i8, ptr %state, i64 %offset
  %value = load atomic i64, ptr %place monotonic, align 8
  ret i64 %value
}}

define i1 @planish_is_current(ptr %state, i64 %generation) {{
  fence acquire
  %place = getelementptr i8, ptr %state, i64 {GENERATION}
  %now = load atomic i64, ptr %place monotonic, align 8
  %same = icmp eq i64 %now, %generation
  ret i1 %same
}}
"""

_POLL = """
define i32 @planish_atomic_poll(ptr %state, i64 %until) {{
entry:
  br label %look
look:
  %polls = phi i32 [ 0, %entry ], [ %polled, %again ]
  %sum = load atomic i64, ptr %state acquire, align 8
  %waiting = icmp ugt i64 %until, %sum
  br i1 %waiting, label %again, label %reached
again:
  {pause}
  %polled = add i32 %polls, 1
  %enough = icmp eq i32 %polled, {polls}
  br i1 %enough, label %out, label %look
reached:
  ret i32 1
out:
  ret i32 0
}}
"""

_SLEEP = f"""
define void @planish_atomic_sleep(ptr %state, i64 %until) {{{{
entry:
  %place = getelementptr i8, ptr %state, i64 {SLEEPERS}
  %others = atomicrmw add ptr %place, i32 1 seq_cst
  br label %look
look:
  %sum = load atomic i64, ptr %state seq_cst, align 8
  %waiting = icmp ugt i64 %until, %sum
  br i1 %waiting, label %sleep, label %out
sleep:
  %value = and i64 %sum, {(1 << 32) - 1}
  {{wait}}
  br label %look
out:
  %less = atomicrmw sub ptr %place, i32 1 seq_cst
  ret void
}}}}
"""
_PAUSE = {"x86_64": "pause", "aarch64": "yield"}


def atomic_functions(machine: CpuMachine) -> str:
    """Return the functions for `machine`, as LLVM reads them."""
    waking = waiting = ""
    if yield_of(machine) is None:
        waking, waiting = wake(machine, "%state"), wait(machine, "%state", "%value")
    poll = _POLL.format(pause=pause(machine), polls=_POLLS)
    claim, sleep = _CLAIM.format(wake=waking), _SLEEP.format(wait=waiting)
    return _CLEAR + claim + _OPEN + _FAIL + _CAPTURE + poll + sleep


def pause(machine: CpuMachine) -> str:
    """Return the line of LLVM's for who polls: the core may do something else for a moment."""
    name = _PAUSE[machine.architecture]
    return f'call void asm sideeffect "{name}", "~{{memory}}"()'
