"""Claiming parts of a stage: how threads tell each other, as code of LLVM's.

    state:  [parts finished, sleepers, region closed]  [stage, next part]  [stage, next part]  ...
                                                       share 0             share 1

The parts of a stage are cut into a share for each thread, so that a thread goes on where it was in
the stage before, with what its caches hold. A thread claims half of what is left of its share at a
time, and when that is gone of the others'. A stage is finished when its parts are, whoever did
them; who comes late finds nothing to claim and goes on. Waiting is polling for some fifty
microseconds, then sleeping.

Why it is right, in the terms of C++'s memory model:

- A share is one word, (stage, next part), changed by compare-and-swap alone and only upwards, since
  stages are numbered in their order: nobody claims a part twice, nor one of a stage that is over.
- What a thread read and wrote for its parts is before its addition to `finished` (release). All
  changes of that number are such additions, so that who reads the sum that stands for "all parts up
  to here" (acquire) has everything before any of them behind it.
- Nobody claims from a stage that needs others before that sum is reached: until then no part of a
  later phase adds to it, and the sum is reached by just those parts that it stands for.
- Who sleeps adds to `sleepers` and then reads the sum; who completes the sum then reads `sleepers`.
  All four are of one order (sequentially consistent), so that one of both sees the other, and the
  system compares the sum again before the sleep.
- `closed` says that nothing is left to claim, which stays true; its order does not matter.

Source: self-scheduling as in Polychronopoulos and Kuck, Guided Self-Scheduling (IEEE Transactions
on Computers 1987), with stealing as in Blumofe and Leiserson (Journal of the ACM 1999); the sleep
as in Drepper, Futexes Are Tricky (2011).
"""

from __future__ import annotations

import platform

from ..spec.machine import CpuMachine

LINE = 64  # bytes that caches hand each other
_EIGHTH = 3  # binary digits: no less than an eighth of a share is claimed
_POLLS = 2000  # before a thread lets others run, some fifty microseconds

_CLAIM = f"""
define void @planish_atomic_claim(ptr %state, i32 %stage, i32 %own, i32 %shares, i32 %parts,
                                  i32 %until, i32 %goal, ptr %claimed) {{{{
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
  %line = add i32 %number, 1
  %bytes = mul i32 %line, {LINE}
  %offset = zext i32 %bytes to i64
  %word = getelementptr i8, ptr %state, i64 %offset
  %held = load atomic i64, ptr %word monotonic, align 8
  br label %try
try:
  %seen = phi i64 [ %held, %share ], [ %found, %take ]
  %high = lshr i64 %seen, 32
  %whose = trunc i64 %high to i32
  %over = icmp ugt i32 %whose, %stage
  br i1 %over, label %next, label %open
open:
  %begun = icmp eq i32 %whose, %stage
  %low = trunc i64 %seen to i32
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
  %key = zext i32 %stage to i64
  %upper = shl i64 %key, 32
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
  %others = atomicrmw add ptr %state, i32 %done seq_cst
  %reached = add i32 %others, %done
  %complete = icmp eq i32 %reached, %goal
  br i1 %complete, label %wake, label %look
wake:
  %place = getelementptr i8, ptr %state, i64 4
  %sleepers = load atomic i32, ptr %place seq_cst, align 4
  %asleep = icmp ne i32 %sleepers, 0
  br i1 %asleep, label %call, label %nothing
call:
  {{wake}}
  br label %nothing
look:
  %sum = load atomic i32, ptr %state monotonic, align 4
  %rest = sub i32 %until, %sum
  %open.still = icmp sgt i32 %rest, 0
  %turns = add i32 %turn, 1
  %others.left = icmp ult i32 %turns, %shares
  %more = and i1 %open.still, %others.left
  br i1 %more, label %share, label %nothing
nothing:
  store i64 0, ptr %claimed, align 4
  ret void
}}}}
"""

_CLEAR = f"""
define void @planish_atomic_clear(ptr %state) {{{{
entry:
  br label %line
line:
  %at = phi i64 [ 0, %entry ], [ %next, %line ]
  %place = getelementptr i8, ptr %state, i64 %at
  store i64 0, ptr %place, align 8
  %second = getelementptr i8, ptr %place, i64 8
  store i64 0, ptr %second, align 8
  %next = add i64 %at, {LINE}
  %more = icmp ult i64 %next, {{size}}
  br i1 %more, label %line, label %out
out:
  ret void
}}}}
"""

_OPEN = """
define i1 @planish_atomic_is_open(ptr %state, i32 %region) {
  %place = getelementptr i8, ptr %state, i64 8
  %closed = load atomic i32, ptr %place monotonic, align 4
  %open = icmp ult i32 %closed, %region
  ret i1 %open
}

define void @planish_atomic_close(ptr %state, i32 %region) {
  %place = getelementptr i8, ptr %state, i64 8
  store atomic i32 %region, ptr %place monotonic, align 4
  ret void
}
"""

_POLL = """
define i32 @planish_atomic_poll(ptr %state, i32 %until) {{
entry:
  br label %look
look:
  %polls = phi i32 [ 0, %entry ], [ %polled, %again ]
  %sum = load atomic i32, ptr %state acquire, align 4
  %rest = sub i32 %until, %sum
  %waiting = icmp sgt i32 %rest, 0
  br i1 %waiting, label %again, label %reached
again:
  call void asm sideeffect "{pause}", "~{{memory}}"()
  %polled = add i32 %polls, 1
  %enough = icmp eq i32 %polled, {polls}
  br i1 %enough, label %out, label %look
reached:
  ret i32 1
out:
  ret i32 0
}}
"""

_SLEEP = """
define void @planish_atomic_sleep(ptr %state, i32 %until) {{
entry:
  %place = getelementptr i8, ptr %state, i64 4
  %others = atomicrmw add ptr %place, i32 1 seq_cst
  br label %look
look:
  %sum = load atomic i32, ptr %state seq_cst, align 4
  %rest = sub i32 %until, %sum
  %waiting = icmp sgt i32 %rest, 0
  br i1 %waiting, label %sleep, label %out
sleep:
  {wait}
  br label %look
out:
  %less = atomicrmw sub ptr %place, i32 1 seq_cst
  ret void
}}
"""
# Linux's call `futex` itself: a name in the C library would be one that the linker has to find.
_FUTEX = {
    "x86_64": (
        'call i64 asm sideeffect "syscall", "={{ax}},{{ax}},{{di}},{{si}},{{dx}},{{r10}},~{{rcx}},'
        '~{{r11}},~{{memory}}"(i64 202, ptr %state, i64 {operation}, i64 {value}, i64 0)'
    ),
    "aarch64": (
        'call i64 asm sideeffect "svc #0", "={{x0}},{{x8}},{{x0}},{{x1}},{{x2}},{{x3}},'
        '~{{memory}}"(i64 98, ptr %state, i64 {operation}, i64 {value}, i64 0)'
    ),
}
_WAIT, _WAKE = 128, 129  # in one process
_ALL = (1 << 31) - 1
_PAUSE = {"x86_64": "pause", "aarch64": "yield"}
# The call that lets others run, by system; who waits polls again behind it.
_YIELDS = {"Darwin": "sched_yield", "Windows": "SwitchToThread"}


def atomic_functions(machine: CpuMachine, size: int) -> str:
    """Return the functions for `machine`, whose state has `size` bytes, as LLVM reads them."""
    wake = wait = ""
    if yield_of(machine) is None:
        futex = _FUTEX[machine.architecture]
        wake = futex.format(operation=_WAKE, value=_ALL)
        value = "%value = zext i32 %sum to i64\n  "
        wait = value + futex.format(operation=_WAIT, value="%value")
    poll = _POLL.format(pause=_PAUSE[machine.architecture], polls=_POLLS)
    claim, sleep = _CLAIM.format(wake=wake), _SLEEP.format(wait=wait)
    return _CLEAR.format(size=size) + claim + _OPEN + poll + sleep


def yield_of(machine: CpuMachine) -> str | None:
    """Return the function that a thread which waits calls, None where it sleeps by `futex`."""
    system = "Linux" if "linux" in machine.triple else platform.system()
    return None if system == "Linux" else _YIELDS.get(system, "sched_yield")
