"""Bytes of a text file as text: UTF-8, UTF-16 with a mark, or Latin-1."""

from __future__ import annotations

import codecs
import re

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f\x7f]")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(data: bytes) -> str:
    r"""Return the text of a file with ``\n`` at the end of every line.

    What is no UTF-8 is Latin-1: outside comments and names, structure files are plain ASCII.

    Raises
    ------
    ValueError
        If it is no text: it has control characters or no ASCII letter.
    """
    if data.isascii():
        text = data.decode("ascii")
    elif data.startswith(_UTF16):
        text = data.decode("utf-16")  # UnicodeDecodeError is a ValueError
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    text = text.removeprefix("\ufeff").rstrip("\x1a\x00")  # ends of old DOS and padded files
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _CONTROL.search(text) or (text.strip() and not any(c.isascii() and c.isalnum() for c in text)):
        raise ValueError("not a text")
    return text
