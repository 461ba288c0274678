"""JSON and YAML read within limits of depth and size.

A hundred kilobytes of brackets exhaust the stack of a recursive reader, and nine YAML lines whose aliases
repeat one another stand for a billion values. The limits are far above every honest file.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ruamel.yaml import YAML

DEEPEST = 100
"""Most objects and arrays within one another, as in MongoDB's documents."""

MOST_NODES = 200_000
"""Most values of a YAML document with its aliases written out: 4,000 compounds have 56,000."""

LONGEST_NUMBER = 1000
"""Most digits of a number in a YAML document: Python neither reads nor writes integers of over 4,300."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_DIGITS = re.compile(rf"(?<!\w)(0[xo])?[\da-fA-F_]{{{LONGEST_NUMBER}}}")


class TooDeepError(ValueError):
    """A document whose nesting or expanded size is beyond every honest one.

    Attributes
    ----------
    lineno
        Line on which the limit is passed, counted from 1.
    """

    def __init__(self, message: str, lineno: int) -> None:
        super().__init__(message)
        self.lineno = lineno


def load_json(text: str | bytes, parse_int: Callable[[str], Any] | None = None) -> Any:
    """Read JSON of at most `DEEPEST` levels.

    Raises
    ------
    ValueError
        If it is no JSON, holds a number that Python cannot read, or is nested too deep (`TooDeepError`).
    """
    check_depth(text)
    try:
        return json.loads(text, parse_int=parse_int)
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if "digits" not in str(error):
            raise
        raise ValueError(f"an integer of over {sys.get_int_max_str_digits():,} digits") from None


def check_depth(text: str | bytes) -> None:
    """Raise a `TooDeepError` if brackets of a JSON text are nested more than `DEEPEST` levels."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    brackets = raw.translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(DEEPEST):  # each turn takes away the innermost level
        inner = brackets.replace(b"[]", b"")
        if not inner:
            return
        if len(inner) == len(brackets):
            break
        brackets = inner
    raw = _STRING.sub(lambda found: b"\n" * found[0].count(b"\n"), raw)  # brackets in strings do not nest
    depth = 0
    for found in re.finditer(rb"[][{}]", raw):
        depth += 1 if found[0] in b"[{" else -1
        if depth > DEEPEST:
            line = raw.count(b"\n", 0, found.start()) + 1
            raise TooDeepError(f"nested more than {DEEPEST} levels deep in line {line}", line)


def load_yaml(text: str, reader: YAML) -> Any:
    """Read one YAML document within the limits.

    Parameters
    ----------
    text
        The document.
    reader
        What reads it once it was checked.

    Raises
    ------
    TooDeepError
        If it is nested more than `DEEPEST` levels, or has more than `MOST_NODES` values with its aliases
        written out, or a number of more than `LONGEST_NUMBER` digits.
    ruamel.yaml.error.YAMLError, ValueError, OverflowError
        As the reader: what is not YAML, and dates or numbers that are none.
    """
    _check_yaml(text)
    return reader.load(text)


def _check_yaml(text: str) -> None:
    from ruamel.yaml import YAML
    from ruamel.yaml.events import (
        AliasEvent,
        CollectionEndEvent,
        CollectionStartEvent,
        DocumentStartEvent,
        NodeEvent,
    )

    for number, line in enumerate(text.splitlines(), start=1):
        if _DIGITS.search(line):
            raise TooDeepError(f"a number of over {LONGEST_NUMBER:,} digits", number)
    total, sizes = 0, dict[str, int]()  # of what each anchor stands for, aliases in it included
    parents: list[tuple[str | None, int]] = []
    for event in YAML(typ="safe").parse(text):
        lineno = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            total += sizes.get(event.anchor, 1)
        elif isinstance(event, CollectionStartEvent):
            parents.append((event.anchor, total))
            total += 1
        elif isinstance(event, CollectionEndEvent):
            anchor, before = parents.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, NodeEvent):
            total += 1
        elif isinstance(event, DocumentStartEvent):
            sizes.clear()
        if len(parents) > DEEPEST:
            raise TooDeepError(f"nested more than {DEEPEST} levels deep", lineno)
        if total > MOST_NODES:
            raise TooDeepError(f"more than {MOST_NODES:,} values, aliases (*name) written out", lineno)
