"""Folders of Optimum and Transformers: a model goes through a command, its configuration along."""

import json
import shutil

import numpy as np
import onnx
import pytest

import planish
from planish.cli.exit_codes import REFUSED
from planish.ir.core.errors import SaveError
from planish.ir.files.model_folder import model_folder, write_beside

from tests.helpers import assert_same_function, model_of, run_ort

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

WEIGHTS = {"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)}
PROCESSOR = {
    "do_resize": True,
    "size": {"height": 16, "width": 16},
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": [0.5, 0.25, 0.125],
    "image_std": [0.5, 0.5, 0.25],
}
FILES = {
    "config.json": json.dumps({"id2label": {"0": "cat"}}),
    "preprocessor_config.json": json.dumps(PROCESSOR),
    "README.md": "about",
}


@pytest.fixture
def model():
    return model_of(
        """g (float[N,3,16,16] x) => (float[N,4,14,14] y) {
            a = Identity(x) b = Conv(a, w) y = Relu(b) }""",
        WEIGHTS,
    )


@pytest.fixture
def exported(tmp_path, model):
    """Return a folder as Optimum writes one, with weights beside the model and PyTorch's."""
    folder = tmp_path / "exported"
    folder.mkdir()
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # which saving empties
    onnx.save(
        copy,
        folder / "model.onnx",
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=0,
    )
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / ".cache").write_text("")
    (folder / "checkpoints").mkdir()
    return folder


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    drawn = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    for index, pixels in enumerate(drawn):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_a_folder_becomes_a_folder_with_its_configuration(call, exported, model, tmp_path):
    new = tmp_path / "new"
    code, shown, errors = call("optimize", exported, "-o", new)
    assert code == 0, errors
    assert {path.name for path in new.iterdir()} == {*FILES, "model.onnx"}
    assert all((new / name).read_text(encoding="utf-8") == text for name, text in FILES.items())
    graph = planish.load(new / "model.onnx")
    assert [node.op for node in graph.nodes] == ["Conv", "Relu"]
    assert_same_function(model, graph, {"x": np.ones((2, 3, 16, 16), np.float32)})
    assert f"left in '{exported}': 'checkpoints', 'model.safetensors'" in shown
    assert (exported / "model.onnx_data").exists()


def test_pictures_are_what_the_processor_makes_of_them(call, exported, pictures, tmp_path):
    new = tmp_path / "new"
    code, shown, errors = call(
        "optimize", exported, new, "--feeds", pictures, "-p", "quantize{measure=false}"
    )
    assert code == 0, errors
    # Black and white of the channels, minus mean, over std: -1, 1; -0.5, 1.5; -0.5, 3.5.
    assert "values -1.00..3.50" in shown
    found = next(n for n in planish.load(new / "model.onnx").nodes if n.op == "QuantizeLinear")
    scale, zero = (float(tensor.values) for tensor in found.inputs[1:])
    assert -zero * scale == pytest.approx(-1, abs=0.1)
    assert (255 - zero) * scale == pytest.approx(3.5, abs=0.2)
    assert_options_come_first(call, exported, pictures)


def assert_options_come_first(call, exported, pictures):
    _, shown, _ = call("optimize", exported, "--feeds", pictures, "--mean", "0.5", "--std", "0.5")
    assert "values -1.00..1.00" in shown


@pytest.mark.parametrize("command", ["bisect", "compare"])
def test_other_commands_take_it_too(call, exported, command):
    others = [exported] if command == "compare" else []
    code, _, errors = call(command, exported, *others)
    assert code == 0, errors


def test_a_model_in_a_folder_of_its_own_stays_there(call, exported, tmp_path):
    (exported / "onnx").mkdir()
    for name in ("model.onnx", "model.onnx_data"):
        shutil.move(exported / name, exported / "onnx" / name)
    new = tmp_path / "new"
    code, _, errors = call("optimize", exported, "-o", new)
    assert code == 0, errors
    assert sorted(path.name for path in new.iterdir()) == sorted([*FILES, "onnx"])
    assert [path.name for path in (new / "onnx").iterdir()] == ["model.onnx"]


def test_over_itself_it_keeps_everything(call, exported):
    names = sorted(path.name for path in exported.iterdir())
    code, _, errors = call("optimize", exported, "-o", exported)
    assert code == 0, errors
    assert [n.op for n in planish.load(exported / "model.onnx").nodes] == ["Conv", "Relu"]
    assert sorted(path.name for path in exported.iterdir()) == names


def test_a_file_is_a_file(call, exported, out):
    code, _, _ = call("optimize", exported, "-o", out)
    assert code == 0
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_what_cannot_be_is_refused(call, exported, out, tmp_path):
    out.write_bytes(b"")
    other = tmp_path / "file"
    other.write_bytes(b"")
    code, _, errors = call("optimize", exported, "-o", other)
    assert code == REFUSED
    assert "name a folder" in errors
    shutil.copy(exported / "model.onnx", exported / "model_fp16.onnx")
    code, _, errors = call("optimize", exported)
    assert code == REFUSED
    assert "has 2 models; name one of them" in errors
    for file in exported.glob("*.onnx"):
        file.unlink()
    code, _, errors = call("bisect", exported)
    assert code == REFUSED
    assert "no .onnx file; export it first" in errors


def test_a_folder_appears_whole_or_not_at_all(exported, tmp_path):
    def fail(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = sorted(tmp_path.iterdir())
    with pytest.raises(SaveError, match=r"cannot write '.*new': No space left"):
        write_beside(model_folder(exported), tmp_path / "new", fail)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow  # importing Transformers takes seconds: make test-hosts
def test_a_network_of_transformers_keeps_its_labels(call, tmp_path, pictures):
    reason = "Transformers is not installed: pip install planish[olive] draws it"
    transformers = pytest.importorskip("transformers", reason=reason)
    torch = pytest.importorskip("torch")
    labels = {0: "cat", 1: "dog", 2: "owl"}
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=labels
    )
    torch.manual_seed(0)
    network = transformers.ResNetForImageClassification(config).eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, pixel_values):
            return self.network(pixel_values=pixel_values).logits

    folder, new = tmp_path / "resnet", tmp_path / "new"
    network.config.save_pretrained(folder)
    sides = {"height": 32, "width": 32}
    transformers.ViTImageProcessorPil(size=sides).save_pretrained(folder)
    graph = planish.trace(Logits(), (torch.zeros(2, 3, 32, 32),), ({0: torch.export.Dim("batch")},))
    planish.save(graph, folder / "model.onnx")
    code, _, errors = call("optimize", folder, "-o", new, "--feeds", pictures, "--strict")
    assert code == 0, errors
    assert transformers.AutoConfig.from_pretrained(new).id2label == labels
    processor = transformers.ViTImageProcessorPil.from_pretrained(new)
    images = [Image.open(path) for path in sorted(pictures.iterdir())]
    feed = processor(images, return_tensors="np")["pixel_values"]
    with torch.no_grad():
        expected = network(torch.from_numpy(feed)).logits.numpy()
    (found,) = run_ort(onnx.load(new / "model.onnx"), {"pixel_values": feed}).values()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
