"""Files appear whole, and nothing but files is replaced."""

import os

import pytest

from planish.ir.core.atomic import replacing, require_writable
from planish.ir.core.errors import SaveError


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_only_a_file_is_replaced(kind, tmp_path):
    path = tmp_path / "there"
    (os.mkfifo if kind == "pipe" else os.mkdir)(path)
    with pytest.raises(SaveError, match=kind):
        require_writable(path)
    with pytest.raises(SaveError, match=kind), replacing(path) as file:
        file.write(b"model")
    assert not path.is_file()
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    with pytest.raises(UnicodeEncodeError), replacing(path) as file:
        file.write("half\udcff".encode())
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as file:
        file.write(b"after")
    assert path.read_bytes() == b"after"


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "models").mkdir()
    target, link = tmp_path / "models" / "net.onnx", tmp_path / "link.onnx"
    link.symlink_to(target)  # to nothing yet
    for content in (b"first", b"second"):
        require_writable(link)
        with replacing(link) as file:
            file.write(content)
        assert link.is_symlink()
        assert target.read_bytes() == content
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("to", ["itself", "pipe", "folder"])
def test_a_link_to_what_is_no_file_stays(to, tmp_path):
    link, other = tmp_path / "itself", tmp_path / "other"
    {"itself": lambda _: None, "pipe": os.mkfifo, "folder": os.mkdir}[to](other)
    link.symlink_to(link if to == "itself" else other)
    with pytest.raises(SaveError, match="cannot write"), replacing(link) as file:
        file.write(b"model")
    assert link.is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_keeps_its_permissions(mode, tmp_path):
    path, link = tmp_path / "model.onnx", tmp_path / "link.onnx"
    path.write_bytes(b"before")
    path.chmod(mode)
    link.symlink_to(path)
    for name in (path, link):
        with replacing(name) as file:
            file.write(b"after")
        assert path.stat().st_mode & 0o777 == mode
    with replacing(tmp_path / "new") as file:
        file.write(b"new")
    (tmp_path / "usual").touch()
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode
