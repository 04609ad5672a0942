"""A pipe is read once, to its end and within a bound; a device, which may have none, never."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from planish.ir.core.errors import FeedError, LoadError
from planish.ir.core.whole_file import read_stream, read_whole
from planish.ir.files.load import load
from planish.ir.run.feed_files import load_feeds

from tests.cli.common import assert_refused

ENDLESS = "/dev/zero"

pytestmark = pytest.mark.skipif(not os.path.exists(ENDLESS), reason="the system has no /dev/zero")


@pytest.mark.parametrize(
    "line",
    [
        f"inspect {ENDLESS}",
        f"optimize {ENDLESS}",
        f"doctor {ENDLESS}",
        f"bench {ENDLESS}",
        f"bench --compiled {ENDLESS}",
        "report endless.json",
        f"search model.onnx -o o.onnx --replay {ENDLESS}",
        f"compare model.onnx model.onnx --feeds {ENDLESS}",
        "compare model.onnx model.onnx --feeds endless.npy",
        f"check-certificate model.onnx model.onnx {ENDLESS}",
        f"passes --plugin {ENDLESS}",
        f"compare model.onnx model.onnx --metric {ENDLESS}:f",
    ],
)
def test_what_has_no_end_is_refused_by_name(call, model, monkeypatch, line):
    monkeypatch.chdir(model.parent)
    for name in ("endless.json", "endless.npy"):
        (model.parent / name).symlink_to(ENDLESS)
    named = next(word for word in line.split() if "endless" in word or ENDLESS in word)
    assert_refused(call(*line.split()), named)


def test_so_it_is_from_python(model):
    with pytest.raises(LoadError, match="it is a device"):
        load(ENDLESS)
    with pytest.raises(FeedError, match="are a device"):
        load_feeds(ENDLESS, load(model))


def test_a_stream_is_read_up_to_a_bound(tmp_path):
    assert read_stream(io.BytesIO(b"12345"), 5) == b"12345"
    (tmp_path / "f").write_bytes(b"123456")
    for read in (
        lambda: read_stream(io.BytesIO(b"123456"), 5),
        lambda: read_whole(tmp_path / "f", 5),
    ):
        with pytest.raises(ValueError, match="more than 5 bytes"):
            read()


def test_a_file_that_protobuf_could_not_decode_is_not_read(tmp_path):
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(LoadError, match=r"large\.onnx.*more than 2147483647 bytes"):
        load(path)


@pytest.mark.parametrize(
    "line",
    ["inspect PIPE", "optimize PIPE -o o.onnx", "report PIPE -o r.html --no-times", "doctor PIPE",
     "doctor PIPE --shape x=2,3,9,9", "doctor -"],
)  # fmt: skip
def test_a_pipe_is_read_once(call, model, monkeypatch, line):
    monkeypatch.chdir(model.parent)
    content = model.read_bytes()
    os.mkfifo("PIPE")
    if "-" in line.split():
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert call(*line.split())[0] == 0
        return
    writer = threading.Thread(target=Path("PIPE").write_bytes, args=(content,), daemon=True)
    writer.start()
    code, _, err = call(*line.split())
    assert (code, err) == (0, "")
