from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import pytest

from stores import input_files
from stores.errors import InputError
from stores.input_files import lines_of, open_input, read_bytes, read_json, read_object, read_text

PACKED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "file"


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_compressed_content_is_read_whatever_the_name(path, pack):
    path.write_bytes(pack(b"a\r\nb\n"))
    assert read_bytes(path) == b"a\r\nb\n"
    assert read_text(path) == "a\nb\n"


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_what_expands_a_thousandfold_is_refused(path, pack, monkeypatch):
    monkeypatch.setattr(input_files, "SMALL", 1 << 16)
    path.write_bytes(pack(bytes(1 << 23)))
    for read in (read_bytes, read_json):
        with pytest.raises(InputError, match=r"file: expands to more than 300 times"):
            read(path)
    with open_input(path) as stream, pytest.raises(InputError, match="300 times"):
        sum(map(len, lines_of(stream)))


@pytest.mark.parametrize("pack", [bytes, *PACKED.values()], ids=["plain", *PACKED])
def test_larger_than_the_reader_takes(path, pack):
    path.write_bytes(pack(b"0123456789" * 1000))
    with pytest.raises(InputError, match="file: larger than"):
        read_bytes(path, 9_999)
    assert len(read_bytes(path, 10_000)) == 10_000


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_cut_off_or_damaged(path, pack):
    data = pack(bytes(range(256)) * 400)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="cut off or damaged"):
        read_bytes(path)


def test_a_device_without_an_end():
    with pytest.raises(InputError, match="zero: larger than"):
        read_bytes(Path("/dev/zero"), 1000)


def test_a_file_without_ends_of_lines_comes_in_pieces(path, monkeypatch):
    monkeypatch.setattr(input_files, "LONGEST_LINE", 10)
    path.write_bytes(b"x" * 25 + b"\ny\n")
    with path.open("rb") as stream:
        assert list(lines_of(stream)) == [b"x" * 10, b"x" * 10, b"xxxxx\n", b"y\n"]


@pytest.mark.parametrize("text", [None, "", "[1]", "null", '{"a": 1', "[" * 100_000])
def test_what_holds_no_json_object_is_empty(tmp_path, text):
    if text is not None:
        (tmp_path / "note.json").write_text(text)
    assert read_object(tmp_path / "note.json") == {}
    (tmp_path / "note.json").write_text('{"a": 1}')
    assert read_object(tmp_path / "note.json") == {"a": 1}
