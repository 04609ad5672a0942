"""Parallel loops of TVM's own on the helpers of a run, as code of LLVM's.

    loop:    its lambda -> memory of the pool; a job of one stage, until its tasks are done
    helper:  claims tasks, and calls the lambda for each, if the job is still open

Inside of a job, and where there is no pool, who comes to a loop runs it alone.
"""

from __future__ import annotations

from ..runtime.pool_memory import CLOSURE, GENERATION, HELPERS, LAMBDA, MOST_SHARES, TASKS
from ..spec.machine import CpuMachine
from .pool_code import TURNS, running

_TASKS = f"""
define i32 @planish_pool_tasks(ptr %pool, i32 %turn, i64 %stage, i64 %part, i64 %now) {{
entry:
  %claimed = alloca [3 x i32], align 8
  %second = getelementptr i8, ptr %claimed, i64 4
  %third = getelementptr i8, ptr %claimed, i64 8
  store i32 0, ptr %third, align 4
  %tasks.place = getelementptr i8, ptr %pool, i64 {TASKS}
  %tasks = load atomic i32, ptr %tasks.place monotonic, align 4
  %group = alloca {{ ptr, i32 }}, align 8
  store ptr null, ptr %group, align 8
  %count = getelementptr i8, ptr %group, i64 8
  store i32 %tasks, ptr %count, align 4
  %current = call i1 @planish_is_current(ptr %pool, i64 %now)
  br i1 %current, label %begin, label %out
begin:
  %few = icmp ult i32 %tasks, {MOST_SHARES}
  %shares = select i1 %few, i32 %tasks, i32 {MOST_SHARES}
  %place = mul i32 %turn, %shares
  %own = udiv i32 %place, {TURNS}
  %number = add i64 %stage, 1
  %more = zext i32 %tasks to i64
  %goal = add i64 %part, %more
  br label %claim
claim:
  call void @planish_atomic_claim(ptr %pool, i64 %number, i32 %own, i32 %shares, i32 %tasks,
                                  i64 %goal, i64 %goal, ptr %claimed)
  %first = load i32, ptr %claimed, align 4
  %last = load i32, ptr %second, align 4
  %any = icmp ugt i32 %last, %first
  br i1 %any, label %mine, label %out
mine:
  %lambda.place = getelementptr i8, ptr %pool, i64 {LAMBDA}
  %lambda = load atomic ptr, ptr %lambda.place monotonic, align 8
  %closure.place = getelementptr i8, ptr %pool, i64 {CLOSURE}
  %closure = load atomic ptr, ptr %closure.place monotonic, align 8
  br label %task
task:
  %index = phi i32 [ %first, %mine ], [ %next, %done ]
  %status = call i32 %lambda(i32 %index, ptr %group, ptr %closure)
  %right = icmp eq i32 %status, 0
  br i1 %right, label %done, label %wrong
wrong:
  call void @planish_atomic_fail(ptr %pool, i32 %status)
  br label %done
done:
  %next = add i32 %index, 1
  %left = icmp ult i32 %next, %last
  br i1 %left, label %task, label %claim
out:
  ret i32 0
}}
"""

_LAUNCH = f"""
@__TVMBackendParallelLaunch = external global ptr

declare i32 @planish_tasks(ptr, i32, i64, i64, i64)
declare i32 @planish_launch(ptr, ptr, i32)

define i32 @planish_pool_launch(ptr %lambda, ptr %closure, i32 %asked) {{
entry:
  %any.number = icmp eq i32 %asked, 0
  %pool = load ptr, ptr @planish_pool_address, align 8
  %none = icmp eq ptr %pool, null
  br i1 %none, label %alone, label %look
look:
  %generation = getelementptr i8, ptr %pool, i64 {GENERATION}
  %now = load atomic i64, ptr %generation monotonic, align 8
  %inside = trunc i64 %now to i1
  br i1 %inside, label %alone, label %together
together:
  %helpers.place = getelementptr i8, ptr %pool, i64 {HELPERS}
  %helpers = load atomic i32, ptr %helpers.place monotonic, align 4
  %all = add i32 %helpers, 1
  %tasks = select i1 %any.number, i32 %all, i32 %asked
  %lambda.place = getelementptr i8, ptr %pool, i64 {LAMBDA}
  store atomic ptr %lambda, ptr %lambda.place monotonic, align 8
  %closure.place = getelementptr i8, ptr %pool, i64 {CLOSURE}
  store atomic ptr %closure, ptr %closure.place monotonic, align 8
  %tasks.place = getelementptr i8, ptr %pool, i64 {TASKS}
  store atomic i32 %tasks, ptr %tasks.place monotonic, align 4
  %found = call i32 @planish_pool_run(ptr %pool, ptr @planish_tasks, i32 1, i32 %tasks)
  ret i32 %found
alone:
  %group = alloca {{ ptr, i32 }}, align 8
  store ptr null, ptr %group, align 8
  %count = getelementptr i8, ptr %group, i64 8
  %number = select i1 %any.number, i32 1, i32 %asked
  store i32 %number, ptr %count, align 4
  br label %task
task:
  %index = phi i32 [ 0, %alone ], [ %next, %task ]
  %before = phi i32 [ 0, %alone ], [ %worst, %task ]
  %status = call i32 %lambda(i32 %index, ptr %group, ptr %closure)
  %worst = or i32 %before, %status
  %next = add i32 %index, 1
  %left = icmp ult i32 %next, %number
  br i1 %left, label %task, label %out
out:
  ret i32 %worst
}}

define i32 @planish_pool_join(i64 %address) {{
  %pool = inttoptr i64 %address to ptr
  store ptr %pool, ptr @planish_pool_address, align 8
  store ptr @planish_launch, ptr @__TVMBackendParallelLaunch, align 8
  ret i32 0
}}
"""


def loops(machine: CpuMachine) -> str:
    """Return what runs TVM's parallel loops: a job, what starts it, and what lets TVM call that.

    The job and what starts it are called by the functions `planish_tasks` and `planish_launch`.
    """
    return running(machine) + _TASKS + _LAUNCH
