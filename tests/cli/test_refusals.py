"""Bad input, full disks and Ctrl-C: exit codes, messages, and nothing left behind."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from planish import __main__ as command
from planish.cli import main as main_module

from tests.cli.common import X, assert_refused
from tests.helpers import conv_batchnorm, model_of

COMMAND = str(Path(sys.executable).with_name("planish"))


def run(*arguments, **options):
    """Run the installed command."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options
    )


def write_cyclic(path):
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], "p"),
        helper.make_node("Relu", ["a"], ["b"], "q"),
    ]
    write_nodes(path, nodes, "b")


def write_two_producers(path):
    write_nodes(path, [helper.make_node("Relu", ["x"], ["y"], "p")] * 2, "y")


def write_ghost(path):
    write_nodes(path, [helper.make_node("Add", ["x", "ghost"], ["y"], "p")], "y")


def write_no_weight(path):
    write_nodes(path, [helper.make_node("Conv", ["x"], ["y"], "p")], "y")


def write_no_axis(path):
    write_nodes(path, [helper.make_node("Concat", ["x"], ["y"], "p")], "y")


def write_nodes(path, nodes, output):
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, [2])]
    graph = helper.make_graph(nodes, "g", inputs, [value(output, TensorProto.FLOAT, [2])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(made.SerializeToString())


def external(location, data=bytes(8)):
    def write(path):
        made = model_of("g (float[2] x) => (float[2] y) { y = Add(x, w) }", {"w": np.zeros(2, "f")})
        tensor = made.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        where = str(path.parent.parent / "x") if location == "absolute" else location
        tensor.external_data.add(key="location", value=where)
        folder = path.parent / "models"
        (folder / "sub").mkdir(parents=True)
        for target in (path.parent / "x", path.parent.parent / "x"):
            target.write_bytes(bytes(8))
        if location == "link":
            (folder / "link").symlink_to(path.parent / "x")
        if location == "short":
            (folder / "short").write_bytes(data)
        path.unlink(missing_ok=True)
        (folder / "bad.onnx").write_bytes(made.SerializeToString())
        path.symlink_to(folder / "bad.onnx")

    return write


VALID = conv_batchnorm(8).SerializeToString()
BAD = {
    "truncated": (lambda p: p.write_bytes(VALID[:-9]), ["not an ONNX model"]),
    "random": (lambda p: p.write_bytes(np.random.default_rng(0).bytes(999)), ["not an ONNX model"]),
    "text": (lambda p: p.write_text("no model\n" * 99), ["not an ONNX model"]),
    "empty": (lambda p: p.write_bytes(b""), ["is empty"]),
    "folder": (lambda p: p.mkdir(), ["is a folder"]),
    "missing": (lambda p: None, ["No such file"]),
    "no-data": (external("gone"), ["'w'", "'gone'", "No such file"]),
    "parent": (external("../x"), ["'w'", "'../x'", "refused"]),
    "absolute": (external("absolute"), ["'w'", "refused"]),
    "inner-parent": (external("sub/../../x"), ["'w'", "refused"]),
    "link": (external("link"), ["'w'", "symbolic link", "refused"]),
    "short": (external("short", bytes(7)), ["'w'", "7 bytes"]),
    "no-graph": (lambda p: p.write_bytes(onnx.ModelProto(ir_version=8).SerializeToString()), []),
    "no-weight": (write_no_weight, ["'p' (Conv)", "has 1 inputs"]),
    "no-axis": (write_no_axis, ["'p' (Concat)", "lacks attribute 'axis'"]),
    "cyclic": (write_cyclic, ["cycle of 2 nodes", "'p' (Add)", "'q' (Relu)"]),
    "two-producers": (write_two_producers, ["'y'", "two nodes"]),
    "ghost": (write_ghost, ["'ghost'", "'p' (Add)"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_model_is_refused_and_nothing_is_written(call, tmp_path, out, kind):
    prepare, words = BAD[kind]
    bad = tmp_path / "bad.onnx"
    prepare(bad)
    assert_refused(call("optimize", bad, "-o", out), "bad.onnx", *words)
    assert_refused(call("compile", bad, "-o", out), "bad.onnx", *words)
    for name in ("inspect", "bisect", "explain-int8", "bench"):
        assert_refused(call(name, bad), "bad.onnx", *words)
    assert_refused(call("compare", bad, bad), "bad.onnx", *words)
    assert list(out.parent.iterdir()) == []


def test_a_bad_model_from_the_shell(tmp_path, out):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(VALID[:-9])
    done = run("optimize", bad, "-o", out)
    assert_refused((done.returncode, done.stdout, done.stderr), "not an ONNX model")
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert list(out.parent.iterdir()) == []


def npz(**arrays):
    return lambda path: np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (npz(z=X), ["'z'", "'x'"]),
        (npz(x=X[:, :2]), ["[1, 2, 9, 9]", "[N, 3, 9, 9]"]),
        (npz(x=X.astype(np.float64)), ["float64", "float32"]),
        (npz(x=X[:0]), ["same number of samples"]),
        (npz(x=X, y=X[:2]), ["same number of samples"]),
        (npz(), ["no arrays"]),
        (npz(x=np.array(3, np.float32)), ["same number of samples"]),
        (npz(x=np.full((2, 3, 9, 9), "2020", "datetime64[D]")), ["datetime64", "float32"]),
        (lambda p: p.write_text("not a zip"), ["cannot be read"]),
        (lambda p: p.write_bytes(b""), ["cannot be read"]),
        (lambda p: None, ["do not exist"]),
        (lambda p: p.mkdir(), ["holds no image"]),
    ],
    ids=[
        "name", "shape", "type", "empty", "uneven", "none", "scalar", "dates", "text", "void",
        "missing", "folder",
    ],
)  # fmt: skip
def test_bad_feeds_are_refused_and_nothing_is_written(call, tmp_path, model, out, prepare, words):
    feeds = tmp_path / "feeds.npz"
    prepare(feeds)
    result = call("optimize", model, "-o", out, "--feeds", feeds)
    assert_refused(result, *words)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "fold-batchnrm"], ["unknown pass 'fold-batchnrm'", "'fold-batchnorm'", "^^^"]),
        (["-p", "fold-batchnorm{depth=3}"], ["no option 'depth'"]),
        (["-p", "exact{a=1}"], ["no pass of preset 'exact' has an option 'a'", "^"]),
        (["-p", ""], ["pipeline is empty"]),
        (["-p", "exact,"], ["^"]),
        (["--shape", "x=1,3"], ["'x'", "[1, 3]"]),
        (["--shape", "x=-1,3,9,9"], ["negative"]),
        (["--shape", "z=1,3,9,9"], ["'z'"]),
        (["--shape", "x=big"], ["'x=big'"]),
        (["--shape", "x"], ["'x'"]),
        (["--feeds", "/", "--mean", "1,2"], ["'1,2'"]),
        (["--feeds", "/", "--std", "0"], ["divided by 0"]),
        (["--feeds", "/", "--std", "nan"], ["'nan'"]),
        (["--prove", "--verify", "off"], ["--prove", "--verify off"]),
        (["--prove", "--verify", "each"], ["--prove", "--verify each"]),
    ],
)
def test_bad_options_of_optimize_are_refused(call, model, out, arguments, words):
    assert_refused(call("optimize", model, "-o", out, *arguments), *words)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--backend", "onnxruntme"], ["unknown backend 'onnxruntme'", "'onnxruntime'"]),
        (["--target", "gpu"], ["no target 'gpu'", "'cpu'"]),
        (["--target", "cpu{thread=2}"], ["'thread'", "'threads'"]),
        (["--target", "cpu{threads=two}"], ["'threads'", "'two'"]),
        (["--target", "cpu{threads=0}"], ["threads is 0"]),
        (["--target", "cpu{"], ["target"]),
        (["--target", "cpu,cuda"], ["2 devices"]),
    ],
)
def test_bad_options_of_compile_are_refused(call, model, out, arguments, words):
    assert_refused(call("compile", model, "-o", out, *arguments), *words)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["optimise", "m.onnx"],
        ["optimize"],
        ["optimize", "m.onnx", "-o", "o.onnx", "--verfy", "end"],
        ["optimize", "m.onnx", "-o", "o.onnx", "--verify", "always"],
        ["bench", "m.onnx", "--rounds", "0"],
        ["bench", "m.onnx", "--threads", "two"],
        ["passes", "exact", "extra"],
    ],
)
def test_misspelt_commands_and_options_exit_with_2(call, arguments):
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert "Usage" in err


@pytest.mark.parametrize("command", ["optimize", "compile"])
def test_an_output_that_cannot_be_written(call, tmp_path, model, out, command):
    missing = tmp_path / "none" / "out.onnx"
    # Before any work: of two things that are wrong it is the first.
    assert_refused(call(command, tmp_path, "-o", missing), "No such file", f"'{missing}'")
    assert not missing.parent.exists()
    out.mkdir()
    assert_refused(call(command, model, "-o", out), f"'{out}': it is a folder")
    assert list(out.iterdir()) == []
    assert list(out.parent.iterdir()) == [out]
    blocked = model / "out.onnx"  # below a file
    assert_refused(call(command, model, "-o", blocked), "Not a directory")


@contextlib.contextmanager
def unprivileged():
    """Run as somebody else, for root may write anywhere."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_read_only_folder(call):
    with tempfile.TemporaryDirectory() as folder:
        model, out = Path(folder, "model.onnx"), Path(folder, "out", "out.onnx")
        model.write_bytes(VALID)
        call("optimize", model, "-o", f"{model}.other")  # imports what is imported late
        out.parent.mkdir()
        out.write_text("old")
        out.parent.chmod(0o555)
        Path(folder).chmod(0o755)
        with unprivileged():
            result = call("optimize", model, "-o", out)
        out.parent.chmod(0o755)
        assert_refused(result, "Permission denied", str(out))
        assert [p.name for p in out.parent.iterdir()] == ["out.onnx"]
        assert out.read_text() == "old"


@contextlib.contextmanager
def small_files():
    """Let no file grow beyond 512 bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    compiled, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # or half of it stays
    try:
        yield
    finally:
        sys.dont_write_bytecode = compiled
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("command", ["optimize", "compile"])
def test_a_full_disk(call, model, out, command):
    out.write_text("old")
    with small_files():
        result = call(command, model, "-o", out)
    why = "File too large" if command == "optimize" else "cannot write"
    assert_refused(result, why)
    assert [p.name for p in out.parent.iterdir()] == ["out.onnx"]
    assert out.read_text() == "old"


def test_a_folder_for_dumps_that_cannot_be_made(call, model, out):
    result = call("optimize", model, "-o", out, "--dump", model / "dumps")
    assert_refused(result, "dumps", "Not a directory")
    assert list(out.parent.iterdir()) == []


def test_ctrl_c_leaves_nothing_behind(tmp_path, out):
    generator = np.random.default_rng(0)
    lines, weights = [], {}
    for i in range(20):
        lines.append(f"c{i} = Conv <pads=[1,1,1,1]> (y{i}, w{i})")
        lines.append(f"y{i + 1} = Relu(c{i})")
        weights[f"w{i}"] = 0.03 * generator.standard_normal((128, 128, 3, 3)).astype(np.float32)
    text = "g (float[1, 128, 56, 56] y0) => (float[1, 128, 56, 56] y20) {" + "\n".join(lines)
    source = tmp_path / "large.onnx"
    source.write_bytes(model_of(text + "}", weights).SerializeToString())
    dump = tmp_path / "dump"  # shows when the passes run; verifying takes long then
    child = subprocess.Popen(
        [COMMAND, "optimize", str(source), "-o", str(out), "-p", "fuse-conv-activation,exact",
         "--verify", "each", "--dump", str(dump)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while child.poll() is None and not list(dump.glob("*")):
        time.sleep(0.05)
    assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert list(out.parent.iterdir()) == []


def test_ctrl_c_while_starting_is_no_traceback(monkeypatch, capsys):
    def interrupt(name, *_):
        if name.startswith("planish.cli"):
            raise KeyboardInterrupt

    for name in [name for name in sys.modules if name.startswith("planish.cli")]:
        monkeypatch.delitem(sys.modules, name)
    finder = type("Finder", (), {"find_spec": staticmethod(interrupt)})
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 130
    assert capsys.readouterr().err.startswith("interrupted")


def test_ctrl_c_while_the_command_is_found_is_said(call, monkeypatch):
    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module, "function_of", interrupt)
    for words in (("backends",), ("backends", "-h")):
        assert call(*words) == (130, "", "interrupted; no half-written file is left\n")


def test_ctrl_c_while_writing_leaves_nothing_behind(call, model, out, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    code, _, err = call("optimize", model, "-o", out)
    assert code == 130
    assert err.startswith("interrupted")
    assert list(out.parent.iterdir()) == []


def test_what_no_module_foresaw_is_one_message(call, model, out, monkeypatch):
    import importlib
    import pathlib
    import re

    module = importlib.import_module("planish.cli.optimize")

    def broken(path, *_, **__):
        raise TypeError("'NoneType' object is not iterable")

    monkeypatch.setattr(module, "given_for", broken)
    result = call("optimize", model, "-o", out)
    says = "TypeError: 'NoneType' object is not iterable"
    assert_refused(result, says, "report it at https", as_=4)
    (path,) = re.findall(r"model and '([^']*)'", result[2])
    assert "in broken" in pathlib.Path(path).read_text()
    pathlib.Path(path).unlink()
