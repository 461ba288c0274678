"""Valid inputs changed at random: bytes, tokens, numbers, nesting, encodings, values of documents."""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import lzma
import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

NUMBERS = (
    "0", "-1", "1e308", "-1e308", "1e-320", "1e400", "NaN", "nan", "Infinity", "-inf", "9" * 25,
    "9" * 400, "9" * 5000, "0x1f", "1_000", "01", "2147483648", "9223372036854775808", "-0", "1.", ".5",
    "1e", "true", "null", "1e5", "100000", "****", "1/3", "0.0000001", "1000000000000",
)  # fmt: skip
WORDS = (
    "", " ", "null", "~", "[]", "{}", "true", "*a", "&a [*a]", "<<: *a",
    "!!python/object/apply:os.system [ls]", "\\", "'", '"', "#", "%", "@", "`", "|", ">", "-", "?", ":",
    ": :", "---", "...", "\t", "\0", "\u2028", "\ufeff", "Xx", "D", "Og", "Mg0.5Ag0.5", "../../..",
    "/dev/zero", "~nosuchuser/x", "$HOME", "a" * 5000, "\U0001f600", "'" * 3, "_", "$where", "$regex",
    "(((((a*)*)*)*)*)$", "@module", "os", "data_", "loop_", ";\n", "<a>", "</a>", "]]>",
    "<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "<!--", "\r", "\x1a", "Selective", "Cartesian",
)  # fmt: skip
DEPTHS = (3, 40, 99, 101, 300, 990, 3000, 100_000)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, float("nan"), float("inf"), 10**30, "", "x", "Mg", [], {}, [[]],
    [{}], {"": None}, {"$gt": 1}, {"@module": "os", "@class": "system"}, [0] * 2000, "a" * 3000, "\ud800",
    1e-300, 2**31, -(2**63),
)  # fmt: skip
_TOKEN = re.compile(rb"[-+]?\d[\d.eE+-]*|[A-Za-z_$@][\w$@.-]*")
_NUMBER = re.compile(rb"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")


def mutated(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Return an input changed one to four times.

    Parameters
    ----------
    data
        A valid input.
    others
        Inputs of the same kind, to splice with.
    random
        Decides everything.
    """
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        data = random.choice(_CHANGES)(data, others, random)[: 1 << 22]
    return data


def mutated_json(document: Any, random: Random) -> Any:
    """Return a JSON document with one to three values replaced, removed, doubled or renamed."""
    document = json.loads(json.dumps(document))
    for _ in range(random.choice((1, 1, 2, 3))):
        places = list(_places(document))
        if not places:
            break
        container, key = random.choice(places)
        way = random.randrange(6)
        if way < 3:
            container[key] = deepcopy(random.choice(VALUES))
        elif way == 3:
            del container[key]
        elif way == 4 and isinstance(container, list):
            container.insert(key, deepcopy(container[key]))
        elif way == 4:
            container[random.choice(("x", "", "$gt", "id", "name", "é"))] = deepcopy(container[key])
        else:
            for _ in range(random.choice(DEPTHS[:5])):
                container[key] = [container[key]] if random.random() < 0.5 else {"a": container[key]}
    return document


def _places(document: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting and len(found) < 3000:
        node = waiting.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            found.append((node, key))
            waiting.append(value)
    return found


def _flip(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    changed = bytearray(data or b"x")
    for _ in range(random.choice((1, 1, 3, 20))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, end = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
    return random.choice((data[:start], data[start:], data[:start] + data[end:], data[:end] + data[start:]))


def _splice(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(others) if others else data
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _swap_token(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    tokens = list(_TOKEN.finditer(data[:100_000]))
    if not tokens:
        return data
    token, other = random.choice(tokens), random.choice(tokens)
    word = random.choice(WORDS).encode("utf-8", "surrogatepass") if random.random() < 0.6 else other[0]
    return data[: token.start()] + word + data[token.end() :]


def _swap_number(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    tokens = list(_NUMBER.finditer(data[:100_000]))
    if not tokens:
        return data
    token = random.choice(tokens)
    return data[: token.start()] + random.choice(NUMBERS).encode() + data[token.end() :]


def _insert(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    place = random.randint(0, len(data))
    return data[:place] + random.choice(WORDS).encode("utf-8", "surrogatepass") + data[place:]


def _nest(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    depth, place = random.choice(DEPTHS), random.randint(0, len(data))
    start, end = random.choice(
        (
            (b"[", b"]"),
            (b'{"a":', b"}"),
            (b"(", b")"),
            (b"<a>", b"</a>"),
            (b"- ", b""),
            (b"{a: ", b"}"),
            (b"? ", b""),
        )
    )
    inner = random.choice((data[place:], b"1", b""))
    return data[:place] + start * depth + inner + random.choice((end * depth, b""))


def _encode(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return random.choice(
        (
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-16-be", "replace"),
            lambda: text.encode("latin-1", "replace") + b"\xe9\xff",
            lambda: codecs.BOM_UTF8 + data,
            lambda: text.encode("utf-32"),
            lambda: data.replace(b"\n", b"\r"),
            lambda: data.replace(b"\n", b""),
            lambda: data + b"\0" * 100,
            lambda: gzip.compress(data, 1),
            lambda: bz2.compress(data),
            lambda: lzma.compress(data, preset=0)[: random.choice((20, 10**9))],
            lambda: gzip.compress(data, 1)[:-5],
        )
    )()


def _lines(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    lines = data.split(b"\n")
    i, j = random.randrange(len(lines)), random.randrange(len(lines))
    way = random.randrange(4)
    if way == 0:
        lines[i], lines[j] = lines[j], lines[i]
    elif way == 1:
        lines[i:i] = [lines[j]] * random.choice((1, 2, 500))
    elif way == 2:
        del lines[i]
    else:
        lines[i] = b" " * random.choice((1, 2, 5)) + lines[i]
    return b"\n".join(lines)


_CHANGES = (
    _flip,
    _cut,
    _splice,
    _swap_token,
    _swap_token,
    _swap_number,
    _swap_number,
    _insert,
    _nest,
    _encode,
    _lines,
)
