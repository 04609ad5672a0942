"""The journal: what was done is not done again, whatever ended the process."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from planish.backends.timing.processes import command_of
from planish.ir.core.errors import SaveError
from planish.tools.tasks import journal
from planish.tools.tasks.journal import TaskJournal
from planish.tools.tasks.processes import LocalProcesses
from planish.tools.tasks.task import Outcome, Task, TaskError, named_files


class Counting:
    """An executor in this process: a task gives its option, and writes it to a file."""

    def __init__(self, fail_at=None):
        self.done = []
        self.fail_at = fail_at

    def run(self, tasks, folders):
        for place, (task, folder) in enumerate(zip(tasks, folders, strict=True)):
            value = task.options["value"]
            if value == self.fail_at:
                raise KeyboardInterrupt
            self.done.append(value)
            (folder / "out").write_text(str(value))
            yield place, Outcome(value=value, files=named_files(folder), seconds=1.0)


def tasks(*values):
    return [Task(function="m:f", options={"value": value}) for value in values]


def test_what_was_done_is_there_after_an_interrupt(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        TaskJournal(tmp_path, Counting(fail_at=3), {}).run(tasks(1, 2, 3))
    later = Counting()
    found = TaskJournal(tmp_path, later, {}).run(tasks(1, 2, 3, 3))
    assert later.done == [3]
    assert [outcome.value for outcome in found] == [1, 2, 3, 3]
    assert [outcome.files["out"].read_text() for outcome in found] == ["1", "2", "3", "3"]


def test_a_line_that_was_cut_off_is_done_again(tmp_path):
    TaskJournal(tmp_path, Counting(), {}).run(tasks(1, 2))
    lines = tmp_path / "journal.jsonl"
    lines.write_bytes(lines.read_bytes()[:-9])
    later = Counting()
    journal = TaskJournal(tmp_path, later, {})
    journal.run(tasks(1, 2))
    assert later.done == [2]
    assert [json.loads(line)["value"] for line in lines.read_text().splitlines()] == [1, 2]


def test_other_files_options_or_versions_are_other_tasks(tmp_path):
    given = tmp_path / "given"
    given.write_text("a")
    task = Task(function="m:f", options={"value": 1}, files={"given": given})
    journal = TaskJournal(tmp_path / "j", executor := Counting(), {"planish": "1"})
    journal.run([task])
    given.write_text("bb")
    journal.run([task])
    TaskJournal(tmp_path / "j", executor, {"planish": "2"}).run([task])
    assert executor.done == [1, 1, 1]


def test_time_spent_goes_on_from_where_it_stood(tmp_path):
    journal = TaskJournal(tmp_path, Counting(), {})
    journal.run(tasks(1))
    spent = journal.spent
    again = TaskJournal(tmp_path, Counting(), {})
    assert again.spent == 0  # nothing of it was asked for yet
    again.run(tasks(1))
    assert again.spent == spent
    again.run(tasks(2))
    assert again.spent >= spent


def test_another_process_that_works_there_is_not_disturbed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / "process").write_text(str(other.pid))
        with pytest.raises(SaveError, match=f"process {other.pid} works in the folder"):
            TaskJournal(tmp_path, Counting(), {})
        other.kill()
    TaskJournal(tmp_path, Counting(), {}).run(tasks(1))


def test_a_worker_ends_with_who_asked(tmp_path):
    waits = "tests.tools.in_process:wait_for_ever"
    told = {"function": waits, "options": {}, "files": {}, "out": str(tmp_path)}
    (tmp_path / "job.json").write_text(json.dumps(told))
    command = command_of("planish.tools.tasks.worker", str(tmp_path))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"waiting\n"
        worker.stdin.close()
        assert worker.wait(60) == 1


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="cannot use the folder"):
        TaskJournal(tmp_path / "file" / "in", Counting(), {})


def test_a_process_of_its_own_and_what_it_raises(tmp_path):
    good = Task(
        function="planish.tools.trials.build:build",
        options={"pipeline": "nonsense"},
        files={"model": Path(__file__)},
    )
    crash = Task(function="sys:exit", options={})
    missing = Task(function="planish.tools.trials.build:nothing", options={})
    folders = [tmp_path / str(i) for i in range(3)]
    for folder in folders:
        folder.mkdir()
    found = dict(LocalProcesses(2).run([good, missing, crash], folders))
    assert "unknown pass 'nonsense'" in found[0].error
    assert "nothing" in found[1].error
    assert "its process ended" in found[2].error
    with pytest.raises(TaskError, match="its process ended"):
        found[2].require()


def test_what_a_killed_run_wrote_to_goes_and_files_lie_there_once(tmp_path):
    left = tmp_path / ".made-of-a-killed-run"
    left.mkdir()
    (left / "out").write_text("half")
    TaskJournal(tmp_path, executor := Seeing(), {}).run(tasks(1, 2, 3))
    assert not left.exists()
    assert executor.written == [0, 1, 2]  # no second copy while others are at work


class Seeing(Counting):
    """Counts the files that lie in the folder of the journal when a task starts."""

    written = ()

    def run(self, tasks, folders):
        self.written = []
        for done in super().run(tasks, folders):
            self.written.append(len([*folders[0].parent.glob("**/out")]) - 1)
            yield done


def test_time_that_is_up_begins_nothing_and_keeps_what_was_done(tmp_path, monkeypatch):
    counting = Counting()
    clock = SimpleNamespace(monotonic=lambda: float(len(counting.done)))
    monkeypatch.setattr(journal, "time", clock)
    found = TaskJournal(tmp_path, counting, {}).run(tasks(1, 2, 3, 4), until=2.0)
    assert [outcome.late for outcome in found] == [False, False, True, True]
    assert counting.done == [1, 2]
    again = TaskJournal(tmp_path, counting, {})
    assert [outcome.late for outcome in again.run(tasks(4, 2), until=2.0)] == [True, False]
    assert [outcome.value for outcome in again.run(tasks(3, 1), until=3.0)] == [3, 1]


def test_numbers_that_json_has_not_are_written_strictly_and_read_again(tmp_path):
    def refuse(text):
        raise AssertionError(text)

    value = {"noise": [math.inf, -math.inf, math.nan, 1.5]}
    task = Task(function="m:f", options={"value": 1})
    executor = SimpleNamespace(run=lambda tasks, folders: iter([(0, Outcome(value=value))]))
    TaskJournal(tmp_path, executor, {}).run([task])
    for line in (tmp_path / "journal.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
    (again,) = TaskJournal(tmp_path, None, {}).run([task])
    assert str(again.value) == str(value)
