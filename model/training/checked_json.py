"""JSON files that carry a checksum of their content, and text files replaced in one step."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from stores import input_files
from stores.errors import InputError
from stores.files import write_file

if TYPE_CHECKING:
    from pathlib import Path

CHECKSUM = "checksum"  # key of the SHA-256 over the sorted JSON text of all other keys

REMEDY = "copy its folder again from where it is intact, or train again"


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    write_file(path, text, alone=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object of values that JSON can hold with its checksum in one step."""
    plain = json.loads(json.dumps({name: value for name, value in content.items() if name != CHECKSUM}))
    write_text(path, json.dumps({**plain, CHECKSUM: _checksum(plain)}, indent=1) + "\n")


def read_json(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """Read an object without its checksum; files of older versions, which have none, are read as they are.

    `remedy` ends the message about a damaged file.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    InputError
        If it cannot be read, holds no JSON object, or was changed after it was written.
    """
    try:
        content = input_files.read_json(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: is damaged (no JSON object); {remedy}")
    stated = content.pop(CHECKSUM, None)
    if stated is not None and stated != _checksum(content):
        raise InputError(f"{path}: was changed after it was written (checksum); {remedy}")
    return content


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
