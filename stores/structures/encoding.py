"""Bytes of a text file as text: UTF-8, UTF-16 with a mark, or Latin-1."""

from __future__ import annotations

import codecs

_CONTROL = bytes({*range(9), *range(14, 26), *range(27, 32), 127})
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
        text = text.removeprefix("\ufeff")
    text = text.rstrip("\x1a\x00")  # ends of old DOS files and of padded ones
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    plain = text.encode("ascii", "ignore")
    if len(plain.translate(None, _CONTROL)) < len(plain) or (not plain.strip() and text.strip()):
        raise ValueError("not a text")
    return text
