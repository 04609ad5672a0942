"""`auto`: real processes, of a plug-in whose backends are right, wrong, slow, or end."""

import json
import os
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import planish
from planish.backends.contract import registry
from planish.cli.main import app
from planish.ir.core.errors import BackendError

from tests.helpers import conv_batchnorm, graph_of

PLUGIN = """
import json, os, time
from pathlib import Path
import numpy as np
import planish

# Time is what runs take: only where a test's process does not need its clock.
NOW = [0.0]
if os.environ["PROCESS_OF_THE_TEST"] != str(os.getpid()):
    time.perf_counter = lambda: NOW[0]


class Doubled(planish.Compiled):
    def __init__(self, times, wait):
        self._times, self._wait = times, wait

    def __call__(self, feeds):
        NOW[0] += self._wait
        return {"y": feeds["x"] * np.float32(self._times)}

    def save(self, path):
        Path(path).write_text(json.dumps([self._times, self._wait]))


class Slow(planish.Backend):
    name, summary, times, wait = "slow", "", 2, 0.005

    def lower(self, graph, target, threads, **options):
        return Doubled(self.times, self.wait)

    def load(self, path, target, threads):
        return Doubled(*json.loads(Path(path).read_text()))

    def targets(self):
        return ["cpu"]


class Quick(Slow):
    name, wait = "quick", 0.001
    tunable = {"level": (2, 3)}

    def lower(self, graph, target, threads, level=1):
        print("as runtimes do")
        return Doubled(2, 0.0005 if level == 2 else self.wait)


class Wrong(Slow):
    name, times, wait = "wrong", 3, 0


class Ends(Slow):
    name = "ends"

    def lower(self, graph, target, threads):
        print("no luck", flush=True)
        os._exit(7)


class Refuses(Slow):
    name = "refuses"

    def lower(self, graph, target, threads):
        raise planish.BackendError("it has no Add, at node 'n'")


class Absent(Slow):
    name = "absent"

    def targets(self):
        return []

    def lacking(self):
        return {"cpu": "there is none for Tuesdays"}


for each in (Slow, Quick, Wrong, Ends, Refuses, Absent):
    planish.register_backend(each)
"""
NAMES = ["slow", "quick", "wrong", "ends", "refuses", "absent"]
X = {"x": np.array([1, 2], np.float32)}


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    registry.all_backends()
    monkeypatch.setattr(registry, "REGISTERED", dict(registry.REGISTERED))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setenv("PROCESS_OF_THE_TEST", str(os.getpid()))
    (tmp_path / "backends_of_a_test.py").write_text(PLUGIN, "utf-8")
    import backends_of_a_test

    yield backends_of_a_test
    del sys.modules["backends_of_a_test"]


def doubling():
    return graph_of("g (float[2] x) => (float[2] y) { y = Add(x, x) }")


def test_the_fastest_that_is_right_is_taken_kept_and_replayed(plugin, tmp_path):
    compiled = planish.lower(doubling(), "auto", among=NAMES, burst=0.004, threads=1)
    choice = compiled.choice
    assert choice.backend == compiled.backend == "quick{level=2}"
    np.testing.assert_array_equal(compiled(X)["y"], [2, 4])
    rows = {each.backend: each for each in choice.candidates}
    assert list(rows) == ["slow", "quick", "quick{level=2}", "quick{level=3}", *NAMES[2:]]
    compared = rows["quick{level=2}"].compared
    assert [(each.beside, each.ratio) for each in compared] == [
        ("quick", pytest.approx(0.5)),
        ("slow", pytest.approx(0.1)),
    ]
    assert rows["quick{level=2}"].error == 0
    assert "output 'y'" in rows["wrong"].refused
    assert rows["ends"].refused == "its process ended with exit code 7: no luck"
    assert rows["refuses"].refused == "it has no Add, at node 'n'"
    assert rows["absent"].refused == "there is none for Tuesdays"
    assert "backend quick{level=2}, the fastest of 4 that are right" in compiled.remarks

    file = tmp_path / "chosen.bin"
    compiled.verdict = "looked at"
    compiled.save(file)
    loaded = planish.load_compiled(file)
    assert (loaded.choice, loaded.verdict) == (choice, "looked at")
    np.testing.assert_array_equal(loaded(X)["y"], [2, 4])
    assert registry.describe(file)[0] == "backend quick{level=2}, the fastest of 4 that are right"
    again = planish.lower(doubling(), f"auto{{choice={json.dumps(str(file))}}}")
    assert again.backend == "quick{level=2}"
    assert again.remarks == (f"backend quick{{level=2}}, as chosen in '{file}'",)

    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(BackendError, match="is damaged or cut short"):
        planish.load_compiled(file)


def test_where_none_is_right_all_are_named(plugin):
    class Local(plugin.Slow):
        name = "local"

    planish.register_backend(Local)
    with pytest.raises(BackendError, match=r"(?s)no backend runs .*\n  local: .*into a module"):
        planish.lower(doubling(), "auto", among=["local"])
    with pytest.raises(BackendError, match=r"no backend has target 'cpu' here\n  absent: there is"):
        planish.lower(doubling(), "auto", among="absent")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choise": "tvm"}, r"'choise' \(did you mean 'choice'"),
        ({"among": ["onnxruntme"]}, "did you mean 'onnxruntime'"),
        ({"among": ["auto"]}, "'auto' measures others"),
        ({"choice": "auto"}, "'auto' measures; name what it has chosen"),
        ({"choice": __file__}, "holds no choice"),
        ({"choice": "no.bin"}, r"'no\.bin' is no file here, and: unknown backend"),
        ({"burst": 0}, "burst is 0; give seconds"),
        ({"tune": "no"}, "tune is 'no'"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(BackendError, match=message):
        planish.lower(doubling(), "auto", **options)


def test_commands(tmp_path):
    model, out = tmp_path / "m.onnx", tmp_path / "m.bin"
    planish.save(planish.load(conv_batchnorm()), model)
    backend = "auto{among=[onnxruntime],tune=false,burst=0.001}"
    words = ["compile", str(model), "-o", str(out), "--backend", backend, "--threads", "1"]
    found = CliRunner().invoke(app, [*words, "--json"])
    assert found.exit_code == 0, found.output
    (told,) = json.loads(found.stdout)["models"]
    assert told["choice"]["backend"] == "onnxruntime"
    assert told["choice"]["threads"] == 1
    assert told["lowered"]["verdict"].startswith("verified")
    # What is saved runs in `bench`; what it chose is taken again, and said, with code to paste.
    benched = CliRunner().invoke(app, ["bench", str(out), "--rounds", "1", "--json"])
    assert benched.exit_code == 0, benched.output
    words[5] = f"auto{{choice={json.dumps(str(out))}}}"
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0, again.output
    assert "backend onnxruntime, as chosen in" in again.output
    assert "options = ort.SessionOptions()" in again.output
