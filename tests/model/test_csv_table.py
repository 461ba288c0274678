"""Tables of ids and numbers as other programs write them."""

from __future__ import annotations

import pytest

from model.data.csv_table import read_table
from stores.errors import InputError

IDS = {"s1", "s2", "a;1"}


def numbers(tmp_path, content: bytes):
    path = tmp_path / "id_prop.csv"
    path.write_bytes(content)
    table = read_table(path, IDS.__contains__)
    return [(number, cells[0], [table.number(cell) for cell in cells[1:]]) for number, cells in table.lines]


TWO = [(1, "s1", [0.05, 4.1]), (2, "s2", [None, 3.5])]


@pytest.mark.parametrize(
    "content",
    [
        b"s1,0.05,4.1\ns2,,3.5\n",
        b"s1;0.05;4.1\ns2;;3.5\n",
        b"s1\t0.05\t4.1\ns2\t\t3.5\n",
        b"s1;0,05;4,1\ns2;;3,5\n",
        b"s1\t0,05\t4,1\r\ns2\t\t3,5\r\n",
        b"s1,0.05,4.1\rs2,,3.5\r",
        b"\xef\xbb\xbfs1;0.05;4.1\r\ns2;;3.5\r\n",
        "s1\t0.05\t4.1\r\ns2\t\t3.5\r\n".encode("utf-16"),
        b'"s1","0.05","4.1"\n"s2","","3.5"\n',
        b'"s1";"0,05";"4,1"\n"s2";"";"3,5"\n',
        b" s1 , 5e-2 , +4.1\n s2 ,, 3.50\n",
        b"s1,\t0.05,\t4.1\ns2,\t,\t3.5\n",
    ],
)
def test_separators_encodings_and_decimal_signs(tmp_path, content):
    assert numbers(tmp_path, content) == TWO


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"s1;1,5\n", [(1, "s1", [1.5])]),  # one target: split by commas it would be "s1;1" and 5
        (b"a;1,5\n", [(1, "a;1", [5.0])]),  # the id exists
        (b"sep=;\r\ns1;1,5\r\n", [(2, "s1", [1.5])]),
        (b"\n\ns1,1.5\n\n", [(3, "s1", [1.5])]),
    ],
)
def test_one_column(tmp_path, content, expected):
    assert numbers(tmp_path, content) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b's1,"0,05"\n', "write a decimal point"),
        (b"s1,1_000\n", "no number"),
        (b"s1,inf\n", "no finite number"),
        (b"s1;1.234,5\n", "no number"),
        (b"s1;0,05\ns2;0.06\n", "line 1 has a decimal comma .* line 2 a decimal point"),
        (b"", "is empty"),
        (b"s1\xff,1\n", "no UTF-8"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, content, words):
    with pytest.raises(InputError, match=words):
        numbers(tmp_path, content)
