"""The file of measurements: shared by processes, and never in the way when it is damaged."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import warnings

import pytest

from planish.backends.tvm.tuning.cache import Cache, Entry, Key, default_path
from planish.ir.core.errors import BackendOptionError

ONE = Entry(1, 1.0, 1)


def key_of(name: str) -> Key:
    return Key(name, "tile", f"operator {name}", "target")


def put_many(path: str, writer: int, count: int) -> None:
    cache = Cache(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a lost entry would be warned of
        for index in range(count):
            cache.put(key_of(f"{writer}/{index}"), Entry([writer, index], 1.0, 4))
            cache.put(key_of("shared"), Entry([writer, index], 1.0, 1 + writer))


def test_several_processes_write_at_once_and_lose_nothing(tmp_path) -> None:
    path = tmp_path / "new folder" / "c.sqlite"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=put_many, args=(str(path), w, 25)) for w in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    cache = Cache(path)
    for writer in range(4):
        for index in range(25):
            assert cache.get(key_of(f"{writer}/{index}")) == Entry([writer, index], 1.0, 4)
    shared = cache.get(key_of("shared"))
    assert shared is not None
    assert shared.trials == 4  # of all writers that with most trials, whoever came last


def test_what_one_process_wrote_another_reads(tmp_path) -> None:
    path = tmp_path / "c.sqlite"
    reader = Cache(path)
    assert reader.get(key_of("a")) is None
    assert not path.exists()  # reading creates nothing
    Cache(path).put(key_of("a"), Entry({"rows": 2}, 0.5, 8))
    assert reader.get(key_of("a")) == Entry({"rows": 2}, 0.5, 8)
    assert reader.get(key_of("b")) is None


def test_fewer_trials_do_not_replace_more(tmp_path) -> None:
    path = tmp_path / "c.sqlite"
    for candidate, trials in ((1, 8), (2, 4), (3, 8)):
        Cache(path).put(key_of("a"), Entry(candidate, 1.0, trials))
        kept = Cache(path).get(key_of("a"))
        assert kept is not None
        assert kept.candidate == {1: 1, 2: 1, 3: 3}[candidate]


def foreign_database(path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE songs (title TEXT)")
    file.close()


def truncated(path) -> None:
    Cache(path).put(key_of("old"), Entry(1, 1.0, 1))
    os.truncate(path, path.stat().st_size // 2 + 100)


def scrambled(path) -> None:
    """Keep the header, so that only looking further shows the damage."""
    Cache(path).put(key_of("old"), Entry(1, 1.0, 1))
    data = bytearray(path.read_bytes())
    data[100:] = b"\xa5" * (len(data) - 100)
    path.write_bytes(data)


DAMAGES = {
    "text": lambda path: path.write_text("hello, this is a letter and no database\n" * 40),
    "json": lambda path: path.write_text('{"rows": 1}'),
    "foreign database": foreign_database,
    "truncated": truncated,
    "scrambled": scrambled,
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("first", ["get", "put"])
def test_a_damaged_file_is_kept_aside_with_a_warning(tmp_path, name, first) -> None:
    path = tmp_path / "c.sqlite"
    DAMAGES[name](path)
    before = path.read_bytes()
    cache = Cache(path)
    act = {"get": lambda: cache.get(key_of("a")), "put": lambda: cache.put(key_of("a"), ONE)}[first]
    with pytest.warns(UserWarning, match=r"c\.sqlite' holds no measurements.*c\.sqlite\.damaged'"):
        assert act() is None
    assert (tmp_path / "c.sqlite.damaged").read_bytes() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(key_of("b"), Entry(4, 1.0, 1))
        assert Cache(path).get(key_of("b")) == Entry(4, 1.0, 1)


def test_an_earlier_damaged_file_is_not_overwritten(tmp_path) -> None:
    path = tmp_path / "c.sqlite"
    for text in ("first", "second"):
        path.write_text(text)
        with pytest.warns(UserWarning, match="holds no measurements"):
            Cache(path).get(key_of("a"))
    assert (tmp_path / "c.sqlite.damaged").read_text() == "first"
    assert (tmp_path / "c.sqlite.damaged1").read_text() == "second"


def test_an_empty_file_is_an_empty_cache(tmp_path) -> None:
    path = tmp_path / "c.sqlite"
    path.touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache = Cache(path)
        assert cache.get(key_of("a")) is None
        cache.put(key_of("a"), Entry(1, 1.0, 1))
        assert Cache(path).get(key_of("a")) == Entry(1, 1.0, 1)


@pytest.mark.parametrize("column", ["candidate", "seconds", "trials"])
def test_an_entry_that_was_tampered_with_is_none(tmp_path, column) -> None:
    path = tmp_path / "c.sqlite"
    Cache(path).put(key_of("a"), Entry(1, 1.0, 1))
    with sqlite3.connect(path) as file:
        file.execute(f"UPDATE measurements SET {column} = '{{'")
    file.close()
    assert Cache(path).get(key_of("a")) is None


def test_a_folder_that_cannot_be_made_is_warned_of_once(tmp_path) -> None:
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file" / "c.sqlite")
    with pytest.warns(UserWarning, match=r"cannot use '.*c\.sqlite' to keep measurements"):
        cache.put(key_of("a"), ONE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(key_of("b"), ONE)
    assert cache.get(key_of("a")) == ONE  # this process knows it all the same


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_warned_of_and_read(tmp_path) -> None:
    path = tmp_path / "c.sqlite"
    Cache(path).put(key_of("a"), Entry(1, 1.0, 1))
    path.chmod(stat.S_IRUSR)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        cache = Cache(path)
        with pytest.warns(UserWarning, match="cannot use"):
            cache.put(key_of("b"), Entry(2, 1.0, 1))
        assert cache.get(key_of("a")) == Entry(1, 1.0, 1)
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_database_that_refuses_writes_is_warned_of_and_read(tmp_path, monkeypatch) -> None:
    path = tmp_path / "c.sqlite"
    Cache(path).put(key_of("a"), Entry(1, 1.0, 1))
    connect = sqlite3.connect

    def read_only(path, **options):
        return connect(f"file:{path}?mode=ro", uri=True, **options)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    cache = Cache(path)
    with pytest.warns(UserWarning, match="readonly database"):
        cache.put(key_of("b"), Entry(2, 1.0, 1))
    assert cache.get(key_of("a")) == Entry(1, 1.0, 1)
    assert Cache(path).get(key_of("b")) is None


def test_the_file_is_where_the_environment_says(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PLANISH_CACHE", str(tmp_path / "mine"))
    assert default_path() == tmp_path / "mine"
    monkeypatch.delenv("PLANISH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert default_path().name == "measurements.sqlite"
    monkeypatch.setenv("PLANISH_CACHE", "false")
    with pytest.raises(BackendOptionError, match="PLANISH_CACHE is 'false'"):
        default_path()
