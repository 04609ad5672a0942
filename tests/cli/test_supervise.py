"""A command whose process is ended by native code: one message, exit code 2, and no traceback."""

import os
import platform
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.helpers import model_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands are supervised on Linux")

SCRIPT = """
import os, signal, sys, time
from planish.cli.supervise import doing, supervised

def run():
    doing("fold  constants")
    {body}

{before}
supervised(run)
"""


def start(body, before="", **options):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body, before=before)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ended", "said"),
    [("SIGFPE", "divided by zero"), ("SIGABRT", "check of native code"), ("SIGKILL", "memory")],
)
def test_what_ends_the_process_is_said(ended, said, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    child = start(f"os.kill(os.getpid(), signal.{ended})", env=environment)
    shown, err = child.communicate(timeout=60)
    assert (child.returncode, shown) == (4, "")
    assert err.startswith(f"error: {ended} ended the process while it was at 'fold constants' (")
    assert said in err
    assert "no half-written file is left" in err
    assert err.count("\n") == 1
    reports = list(tmp_path.iterdir())
    if ended == "SIGKILL":  # nothing can be noted then
        assert reports == []
    else:
        (report,) = reports
        assert str(report) in err
        assert 'File "<string>"' in report.read_text()


def test_a_file_that_was_cut_short_is_named(tmp_path):
    file = tmp_path / "w.bin"
    file.write_bytes(bytes(1 << 16))
    body = f"""import mmap
    from planish.cli.supervise import reading_from
    mapped = mmap.mmap(os.open({str(file)!r}, os.O_RDONLY), 0, prot=mmap.PROT_READ)
    reading_from([({str(file)!r}, len(mapped))])
    os.truncate({str(file)!r}, 100)
    mapped[1 << 15]"""
    child = start(body, env={**os.environ, "TMPDIR": str(tmp_path)})
    _, err = child.communicate(timeout=60)
    assert child.returncode == 4
    assert err.startswith("error: SIGBUS ended the process")
    assert f"'{file}' became shorter while it was read; leave it alone" in err
    assert "report it" not in err


@pytest.mark.parametrize("code", [0, 1, 130])
def test_the_code_and_what_was_shown_pass_through(code):
    child = start(f"print('once'); sys.exit({code})")
    shown, err = child.communicate(timeout=60)
    assert (child.returncode, shown, err) == (code, "once\n", "")


def test_a_late_ctrl_c_does_not_change_how_it_ends():
    late = "import atexit; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT)); "
    child = start(f"{late}sys.exit(130)")
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (130, "")


@pytest.mark.parametrize("started", [False, True])
def test_ctrl_c_of_native_code_is_no_crash(started):
    # Native modules that are interrupted while they are imported call abort().
    body = """
    import signal
    {told}
    try:
        print(os.getpid(), flush=True); time.sleep(60)
    except KeyboardInterrupt:
        os.abort()""".format(told="" if started else "doing('')")
    child = start(body)
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (130, "interrupted; no half-written file is left\n")


def test_it_can_be_switched_off():
    child = start("print(os.getppid())", env={**os.environ, "PLANISH_SUPERVISE": "0"})
    assert child.communicate(timeout=60)[0] == f"{os.getpid()}\n"


def test_a_signal_to_the_one_that_waits_ends_both():
    child = start("print(os.getpid(), flush=True); time.sleep(60)")
    worker = int(child.stdout.readline())
    child.terminate()
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGTERM
    assert ends(worker)


def test_killing_the_one_that_waits_ends_both():
    child = start("print(os.getpid(), flush=True); time.sleep(60)")
    worker = int(child.stdout.readline())
    assert worker != child.pid
    child.kill()
    child.communicate(timeout=60)  # returns where nobody holds the pipes
    assert ends(worker)


def ends(process):
    for _ in range(200):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{process}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "Z":  # where nobody waits for orphans
                return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="its division traps")
def test_a_model_whose_division_traps(tmp_path):
    model = model_of(
        "g (float[4] x) => (int64[4] y) { i = Cast <to=7> (x) q = Div (least, m) y = Add (i, q) }",
        {"least": np.int64([-(2**63)]), "m": np.int64([-1])},
    )
    source, out = tmp_path / "model.onnx", tmp_path / "out.onnx"
    source.write_bytes(model.SerializeToString())
    done = subprocess.run(
        [sys.executable, "-m", "planish", "optimize", str(source), "-o", str(out)],
        capture_output=True, text=True, timeout=120, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 4
    assert "SIGFPE" in done.stderr
    assert "'verify the model as it is given'" in done.stderr
    assert "native code of onnxruntime" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


CRASH = """
import os, signal, sys
import planish.__main__ as command, planish.ir.run.reference as reference
def end(*_, **__): os.kill(os.getpid(), signal.SIGABRT)
reference.Reference.__call__ = end
sys.argv = ["planish", *{arguments}]
command.main()
"""


@pytest.mark.parametrize(
    ("arguments", "at"),
    [
        (["compare", "a.onnx", "a.onnx"], "compare 'a.onnx' with 'a.onnx'"),
        (["bisect", "a.onnx"], "searching"),
    ],
)
def test_commands_without_a_progress_bar_say_at_what(arguments, at, tmp_path):
    model = model_of("g (float[2] x) => (float[2] y) { a = Identity (x) y = Relu (a) }")
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    command = [sys.executable, "-c", CRASH.format(arguments=arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 4
    assert f"while it was at '{at}" in done.stderr


def test_a_refusal_that_nobody_can_be_told_keeps_its_code(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no model")
    planish = ["sh", "-c", '"$@" 2>/dev/full', "sh", sys.executable, "-m", "planish"]
    for arguments in (["inspect", "a.onnx"], ["compare", "a.onnx", "none.onnx"], ["passes", "-z"]):
        command = [*planish, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert done.returncode == 2, arguments


def test_a_crash_is_said_where_no_report_can_be_kept():
    before = "import tempfile; tempfile.tempdir = '/nowhere'"
    child = start("os.kill(os.getpid(), signal.SIGABRT)", before)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 4
    assert err.startswith("error: SIGABRT ended the process")
    assert err.endswith("report it with the model\n")


def test_it_runs_where_no_process_can_be_made():
    child = start("print(os.getpid())", "def no(): raise BlockingIOError\nos.fork = no")
    assert child.communicate(timeout=60) == (f"{child.pid}\n", "")
    assert child.returncode == 0


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "2>&-", "2>/dev/full"])
def test_streams_that_take_nothing_change_no_exit_code(closed):
    start_up = "import os, signal, planish.__main__ as command; "
    crash = f"{start_up}command._run = lambda: os.kill(os.getpid(), signal.SIGABRT); command.main()"
    for code, expected in ((crash, 4), (f"{start_up}command.main()", 0)):
        command = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-c", code, "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == expected
        assert "Traceback" not in done.stderr


def test_who_waits_tells_a_terminal_from_a_sender():
    """A signal of another namespace has no sender's number; a terminal's is the kernel's own."""
    child = start("print(os.getpid(), flush=True); time.sleep(60)", WITHOUT_SENDER)
    worker = int(child.stdout.readline())
    child.terminate()
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGTERM
    assert ends(worker)


WITHOUT_SENDER = """
from types import SimpleNamespace
wait = signal.sigwaitinfo
def told(watched):
    came = wait(watched)
    return SimpleNamespace(si_signo=came.si_signo, si_code=came.si_code, si_pid=0)
signal.sigwaitinfo = told
"""


def test_an_interrupt_of_the_group_comes_once():
    """Who waits sends on what reaches the other anyway; the best so far is still written."""
    body = """
    try:
        print("started", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(0.3)
        print("the best so far")
"""
    child = start(body, start_new_session=True)
    assert child.stdout.readline() == "started\n"
    os.killpg(child.pid, signal.SIGINT)
    shown, _ = child.communicate(timeout=60)
    assert (child.returncode, shown) == (0, "the best so far\n")
