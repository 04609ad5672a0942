"""planish's passes in Olive: run by `olive run`, in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

import planish
from planish.integrations.olive.options import options_of
from planish.integrations.olive.package import own_config

from tests.docs.snippets import ROOT
from tests.helpers import assert_same_function, model_of, ops

GENERATOR = np.random.default_rng(0)
WEIGHTS = {
    "w": GENERATOR.standard_normal((16, 3, 3, 3)).astype(np.float32),
    "v": GENERATOR.standard_normal((16, 16, 3, 3)).astype(np.float32),
}
TEXT = """g (float[N,3,16,16] x) => (float[N,16,12,12] y) {
    a = Identity(x) b = Conv(a, w) c = Relu(b) d = Conv(c, v) y = Relu(d) }"""


def test_every_option_of_a_pass_that_json_can_say_is_one_of_olives():
    options = {option.name: option for option in options_of(("prune", "shrink-channels"))}
    assert {"amount", "granularity", "exclude", "multiple", "measure"} <= options.keys()
    assert "loss" not in options  # a function
    assert options["exclude"].kind == list[str]
    assert options["exclude"].default == []
    assert options["amount"].kind is float
    assert all(option.description for option in options.values())


def test_the_package_names_classes_that_are_there():
    module = (ROOT / "integrations" / "olive" / "passes.py").read_text(encoding="utf-8")
    for name, entry in own_config()["passes"].items():
        assert entry["module_path"] == f"planish.integrations.olive.passes.{name}"
        assert f"class {name}(PipelinePass):" in module


@pytest.fixture
def model(tmp_path):
    made = model_of(TEXT, WEIGHTS)
    made.metadata_props.add(key="kept", value="yes")
    onnx.save(made, tmp_path / "model.onnx")
    return made


def require_olive():
    """Skip the test where Olive is not installed; importing it takes four seconds."""
    if importlib.util.find_spec("olive") is None:
        pytest.skip("Olive is not installed: pip install planish[olive]")


def olive_run(folder, package, passes, **more):
    """Run a workflow as a user does; return what the command said, and the model it left."""
    require_olive()
    system = {"type": "LocalSystem", "accelerators": [
        {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}]}  # fmt: skip
    workflow = {
        "input_model": {"type": "OnnxModel", "model_path": str(folder / "model.onnx")},
        "systems": {"here": system},
        "engine": {"host": "here", "target": "here"},
        "passes": passes,
        "output_dir": str(folder / "out"),
        "cache_dir": str(folder / "cache"),
        **more,
    }
    (folder / "workflow.json").write_text(json.dumps(workflow), encoding="utf-8")
    (folder / "package.json").write_text(json.dumps(package), encoding="utf-8")
    command = [sys.executable, "-m", "olive", "run", "--config", "workflow.json"]
    command += ["--package-config", "package.json"]
    quiet = {**os.environ, "OLIVE_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(command, cwd=folder, env=quiet, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if "operator torchvision::nms does not exist" in said:
        pytest.skip("the torchvision that is installed does not fit PyTorch: Olive cannot start")
    found = folder / "out" / "model.onnx"
    return said, found if found.exists() else None


def test_olive_runs_a_pipeline(model, tmp_path):
    said, found = olive_run(tmp_path, own_config(), {"p": {"type": "Planish"}})
    assert found is not None, said
    graph = planish.load(found)
    assert_same_function(model, graph, {"x": np.ones((2, 3, 16, 16), np.float32)})
    assert ops(graph) == ["Conv", "Relu", "Conv", "Relu"]
    config = json.loads((tmp_path / "out" / "model_config.json").read_text(encoding="utf-8"))
    assert config["config"]["model_attributes"]["planish"]["verified"] is True
    assert onnx.load(found).metadata_props == model.metadata_props


@pytest.mark.slow
def test_olive_runs_typed_passes_beside_its_own(model, tmp_path):
    require_olive()
    from planish.integrations.olive.package import package_config

    script = "import torch\nfrom olive.data.registry import Registry\n"
    script += "@Registry.register_dataset()\ndef pictures(**kwargs):\n"
    script += "    torch.manual_seed(0)\n"
    script += "    return [({'x': torch.randn(3, 16, 16)}, 0) for _ in range(8)]\n"
    (tmp_path / "pictures.py").write_text(script, encoding="utf-8")
    data = {
        "name": "pictures",
        "user_script": "pictures.py",
        "load_dataset_config": {"type": "pictures"},
    }
    passes = {
        "prune": {
            "type": "PlanishPrune",
            "granularity": "channel",
            "amount": 0.25,
            "measure": False,
        },
        "quantize": {"type": "PlanishQuantize", "data_config": "pictures", "measure": False},
        "types": {"type": "OnnxIODataTypeConverter"},
    }
    said, found = olive_run(tmp_path, package_config(), passes, data_configs=[data])
    assert found is not None, said
    graph = planish.load(found)
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(ops(graph))
    first, second = (node for node in graph.nodes if node.op == "Conv")
    assert first.inputs[0].shape == ["N", 3, 16, 16]
    assert second.inputs[0].shape[1] == 12


@pytest.mark.slow
def test_what_planish_refuses_is_olives_error(model, tmp_path):
    passes = {"p": {"type": "Planish", "pipeline": "fold-batchnrm"}}
    said, found = olive_run(tmp_path, own_config(), passes)
    assert found is None
    assert "unknown pass 'fold-batchnrm'" in said
