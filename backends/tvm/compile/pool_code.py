"""Helpers of a run: threads that wait for a job and join in, as code of LLVM's.

    who runs:  what is captured -> memory    generation + 1 (open)    its share    all parts are
               finished?    generation + 1 (closed)
    helper:    generation is odd?    active = generation    still the same?    the job    active = 0

A run ends when its parts are finished, not when helpers have left: one that the system lets wait,
or that has not come yet, stops nobody. What such a helper may still touch is the memory of the
pool, which lasts; claims there fail for whoever is late (`atomics`).

Why it is right, in the terms of C++'s memory model:

- One run at a time has the pool. It writes the job while the generation is even, and makes it odd
  then (release); a helper reads the generation (acquire), the job, and the generation again behind
  a fence. Where both are one number, so is the job that of this generation, as with a sequence
  lock; else nothing of it is used. What a region captured is read and compared in the same way.
- A helper says at which generation it is before it compares it once more (sequentially consistent),
  and closing a job is of the same order. So who has closed one and then finds no helper that says
  so knows that none will touch what belonged to it: memory and code may go.
- Who parks adds to `parked` and then reads the generation; who opens a job writes the generation
  and then reads `parked`. All are of one order, so that one of both sees the other, and the system
  compares the generation again before the sleep.

Source: Lameter, Effective Synchronization on Linux/NUMA Systems (2005), for sequence locks;
Michael, Hazard Pointers (IEEE Transactions on Parallel and Distributed Systems 2004), for saying
what one is at.
"""

from __future__ import annotations

from ..runtime.pool_memory import (
    ACTIVE,
    FAILED,
    FIRST_PART,
    FIRST_STAGE,
    FUNCTION,
    GENERATION,
    HELPERS,
    LINE,
    PARKED,
    STAGES,
    STOP,
)
from ..spec.machine import CpuMachine
from .atomics import atomic_functions, pause
from .futex import wait, wake

TURNS = 256  # the threads of a job begin at so many places of a stage
_POLLS = 3000  # between jobs, some eighty microseconds
_BITS = 31  # the last bit of a mask of helpers stands for all behind it

_SERVE = f"""
define i32 @planish_pool_serve(i64 %address, i32 %helper) {{{{
entry:
  %pool = inttoptr i64 %address to ptr
  %generation = getelementptr i8, ptr %pool, i64 {GENERATION}
  %stop = getelementptr i8, ptr %pool, i64 {STOP}
  %parked = getelementptr i8, ptr %pool, i64 {PARKED}
  %wide = zext i32 %helper to i64
  %line = mul i64 %wide, {LINE}
  %at = add i64 %line, {ACTIVE}
  %active = getelementptr i8, ptr %pool, i64 %at
  %few = icmp ult i32 %helper, {_BITS}
  %bit = select i1 %few, i64 %wide, i64 {_BITS}
  %mask = shl i64 1, %bit
  br label %look
look:
  %last = phi i64 [ 0, %entry ], [ %last, %poll ], [ %last, %leave ], [ %now, %left ],
                  [ %last, %awake ]
  %polls = phi i32 [ 0, %entry ], [ %polled, %poll ], [ %polls, %leave ], [ %spent, %left ],
                   [ {_POLLS}, %awake ]
  %now = load atomic i64, ptr %generation seq_cst, align 8
  %ending = load atomic i32, ptr %stop seq_cst, align 4
  %ends = icmp ne i32 %ending, 0
  br i1 %ends, label %out, label %open
open:
  %odd = trunc i64 %now to i1
  %other = icmp ne i64 %now, %last
  %job = and i1 %odd, %other
  br i1 %job, label %enter, label %poll
enter:
  store atomic i64 %now, ptr %active seq_cst, align 8
  %again = load atomic i64, ptr %generation seq_cst, align 8
  %still = icmp eq i64 %now, %again
  br i1 %still, label %read, label %leave
read:
  %function.place = getelementptr i8, ptr %pool, i64 {FUNCTION}
  %function = load atomic ptr, ptr %function.place monotonic, align 8
  %stage.place = getelementptr i8, ptr %pool, i64 {FIRST_STAGE}
  %stage = load atomic i64, ptr %stage.place monotonic, align 8
  %part.place = getelementptr i8, ptr %pool, i64 {FIRST_PART}
  %part = load atomic i64, ptr %part.place monotonic, align 8
  %helpers.place = getelementptr i8, ptr %pool, i64 {HELPERS}
  %helpers = load atomic i32, ptr %helpers.place monotonic, align 4
  fence acquire
  %third = load atomic i64, ptr %generation monotonic, align 8
  %same = icmp eq i64 %now, %third
  br i1 %same, label %mine, label %leave
leave:
  store atomic i64 0, ptr %active release, align 8
  br label %look
mine:
  %wanted = icmp ult i32 %helper, %helpers
  br i1 %wanted, label %help, label %left
help:
  %one = add i32 %helper, 1
  %all = add i32 %helpers, 1
  %before = mul i32 %one, {TURNS}
  %turn = udiv i32 %before, %all
  %status = call i32 %function(ptr %pool, i32 %turn, i64 %stage, i64 %part, i64 %now)
  br label %left
left:
  %spent = phi i32 [ %polls, %mine ], [ 0, %help ]
  store atomic i64 0, ptr %active release, align 8
  br label %look
poll:
  {{pause}}
  %polled = add i32 %polls, 1
  %enough = icmp ugt i32 %polled, {_POLLS}
  br i1 %enough, label %park, label %look
park:
  %others = atomicrmw add ptr %parked, i32 1 seq_cst
  %then = load atomic i64, ptr %generation seq_cst, align 8
  %stopping = load atomic i32, ptr %stop seq_cst, align 4
  %goes.on = icmp eq i32 %stopping, 0
  %nothing = icmp eq i64 %then, %now
  %sleeps = and i1 %nothing, %goes.on
  br i1 %sleeps, label %sleep, label %awake
sleep:
  %value = and i64 %now, {(1 << 32) - 1}
  {{wait}}
  br label %awake
awake:
  %less = atomicrmw sub ptr %parked, i32 1 seq_cst
  br label %look
out:
  ret i32 0
}}}}

define i32 @planish_pool_stop(i64 %address) {{{{
  %pool = inttoptr i64 %address to ptr
  %stop = getelementptr i8, ptr %pool, i64 {STOP}
  store atomic i32 1, ptr %stop seq_cst, align 4
  %generation = getelementptr i8, ptr %pool, i64 {GENERATION}
  %others = atomicrmw add ptr %generation, i64 2 seq_cst
  {{wake}}
  ret i32 0
}}}}
"""

_RUN = f"""
define i32 @planish_pool_run(ptr %pool, ptr %function, i32 %stages, i32 %parts) {{{{
entry:
  %failed = getelementptr i8, ptr %pool, i64 {FAILED}
  store atomic i32 0, ptr %failed monotonic, align 4
  %counter = getelementptr i8, ptr %pool, i64 {STAGES}
  %stage = load i64, ptr %counter, align 8
  %more.stages = zext i32 %stages to i64
  %behind = add i64 %stage, %more.stages
  store i64 %behind, ptr %counter, align 8
  %part = load atomic i64, ptr %pool monotonic, align 8
  %more.parts = zext i32 %parts to i64
  %goal = add i64 %part, %more.parts
  %function.place = getelementptr i8, ptr %pool, i64 {FUNCTION}
  store atomic ptr %function, ptr %function.place monotonic, align 8
  %stage.place = getelementptr i8, ptr %pool, i64 {FIRST_STAGE}
  store atomic i64 %stage, ptr %stage.place monotonic, align 8
  %part.place = getelementptr i8, ptr %pool, i64 {FIRST_PART}
  store atomic i64 %part, ptr %part.place monotonic, align 8
  %generation = getelementptr i8, ptr %pool, i64 {GENERATION}
  %before = load atomic i64, ptr %generation monotonic, align 8
  %opened = add i64 %before, 1
  store atomic i64 %opened, ptr %generation seq_cst, align 8
  %parked = getelementptr i8, ptr %pool, i64 {PARKED}
  %sleepers = load atomic i32, ptr %parked seq_cst, align 4
  %asleep = icmp ne i32 %sleepers, 0
  br i1 %asleep, label %wake, label %work
wake:
  %helpers.place = getelementptr i8, ptr %pool, i64 {HELPERS}
  %helpers = load atomic i32, ptr %helpers.place monotonic, align 4
  %wide = zext i32 %helpers to i64
  %few = icmp ule i64 %wide, {_BITS}
  %shift = select i1 %few, i64 %wide, i64 {_BITS + 1}
  %power = shl i64 1, %shift
  %mask = sub i64 %power, 1
  {{wake}}
  br label %work
work:
  %own = call i32 %function(ptr %pool, i32 0, i64 %stage, i64 %part, i64 %opened)
  br label %wait
wait:
  %reached = call i32 @planish_atomic_poll(ptr %pool, i64 %goal)
  %not.yet = icmp eq i32 %reached, 0
  br i1 %not.yet, label %sleep, label %close
sleep:
  call void @planish_atomic_sleep(ptr %pool, i64 %goal)
  br label %wait
close:
  %closed = add i64 %opened, 1
  store atomic i64 %closed, ptr %generation seq_cst, align 8
  fence seq_cst
  %status = load atomic i32, ptr %failed monotonic, align 4
  ret i32 %status
}}}}
"""

_JOINED = """
@planish_pool_address = linkonce global ptr null

define ptr @planish_pool_joined() {
  %pool = load ptr, ptr @planish_pool_address, align 8
  ret ptr %pool
}
"""

_REGION = """
declare i32 @{name}(ptr, i32, i64, i64, i64)

define i32 @planish_run_{name}(ptr %pool, i32 %stages, i32 %parts) {{
  %status = call i32 @planish_pool_run(ptr %pool, ptr @{name}, i32 %stages, i32 %parts)
  ret i32 %status
}}
"""


def serving(machine: CpuMachine) -> str:
    """Return `planish_pool_serve` (address, helper), and what ends it, `_stop` (address)."""
    waiting = wait(machine, "%generation", "%value", "%mask")
    waking = wake(machine, "%generation")
    return _SERVE.format(wait=waiting, wake=waking, pause=pause(machine))


def running(machine: CpuMachine, region: str = "") -> str:
    """Return what runs a job, and `planish_run_REGION` (pool, stages, parts) for one by name."""
    common = atomic_functions(machine) + _RUN.format(wake=wake(machine, "%generation", "%mask"))
    return common + _JOINED + (_REGION.format(name=region) if region else "")
