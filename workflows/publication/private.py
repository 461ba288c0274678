"""What is kept out of a published data set: folders of this machine, passwords and tokens."""

from __future__ import annotations

import re

from stores.secrets import masked

_NAME = rb"[^\s\"'/\\,;]+"
# words that end a path in a sentence: names of folders with blanks hold hardly any
_WORD = (
    rb"(?:a|an|and|are|as|at|but|by|for|from|had|has|have|in|into|is|of|on|or|than|that|the|then|to|was|were|"
    rb"with)"
)
_BLANKS = rb"(?: (?!" + _WORD + rb" )[A-Za-z][^\s\"'/\\,;:]*){1,2}"
_FOLDERS = re.compile(
    rb"/(?:(?<![\w./].)|(?<=\\[nrt].))"
    rb"(?:(?<=[\"'].)[^\"'\\,;:]*/(?=[^\"'\\,;:/]*[\"'\\])"
    rb"|(?:(?:" + _NAME + rb"(?<![:.)])" + _BLANKS + rb"|" + _NAME + rb")/)+)"
)
"""Folders of an absolute path, also behind a host or an escaped line break; begins with the slash, which is
found fast. Blanks: any in a path between quotation marks, elsewhere in a name of up to three words, of which
those after the first are no words with which a sentence continues."""

_SCHEMES = re.compile(rb"(?:(?:sqlite|folder):/+(?=/)|file://)")


def public_bytes(text: bytes) -> bytes:
    """Return UTF-8 text, JSON too, without the folders of absolute paths and without secrets."""
    if b"://" in text:
        text = _SCHEMES.sub(b"", text)
    text = _FOLDERS.sub(b"", text)
    return masked(text.decode()).encode() if b"://" in text else text


def public_text(text: str) -> str:
    """Return `public_bytes` of a text."""
    return public_bytes(text.encode("utf-8", "replace")).decode()
