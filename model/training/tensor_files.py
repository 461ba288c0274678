"""Files of tensors and plain values: written in one step, checked on reading, without code.

A file is torch's zip archive. torch does not compare the CRC-32 that the archive keeps of each entry; reading
here does, and refuses archives that would expand beyond their size on disk.
"""

from __future__ import annotations

import hashlib
import zipfile
from typing import TYPE_CHECKING, Any

import torch

from model.training.checked_json import REMEDY
from stores.errors import InputError, StoreError
from stores.files import replacing

if TYPE_CHECKING:
    from pathlib import Path


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values in one step: the old file stays until the new one is whole.

    Raises StoreError if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, alone=True) as new, new.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise StoreError(
            f"{path} could not be written ({error}): free space or name another place"
        ) from error


def read_tensors(path: Path, device: torch.device | str = "cpu", sha256: str | None = None) -> dict[str, Any]:
    """Read what `write_tensors` wrote; never runs code from the file.

    Parameters
    ----------
    device
        Of the tensors.
    sha256
        Hexadecimal digits of the SHA-256 that the file must have, see `file_checksum`; None: not known.

    Raises
    ------
    InputError
        If the file does not exist, is cut off, damaged, something else, or not the one that `sha256` names.
    """
    try:
        if sha256 is not None and file_checksum(path) != sha256:
            raise InputError(f"{path}: is damaged or of another model (checksum); {REMEDY}")
        _check_archive(path, entries=sha256 is None)
        content = torch.load(path, map_location=device, weights_only=True)
        _check_sizes(content)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: name a checkpoint that mgsurf train wrote") from error
    except InputError:
        raise
    except Exception as error:  # torch and zipfile raise a dozen kinds, by the place of the damage
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"{path} is not a whole mgsurf checkpoint ({reason}): {REMEDY}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not an mgsurf checkpoint: name a file that mgsurf train wrote")
    return content


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_archive(path: Path, *, entries: bool) -> None:
    """Check the sizes of a file's entries and, if `entries`, compare each with its CRC-32.

    Raises ValueError or zipfile.BadZipFile if one differs, or the entries are together larger than the file:
    torch would unpack them all.
    """
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise ValueError("its entries are larger than the file")
        if entries and (damaged := archive.testzip()) is not None:
            raise ValueError(f"entry {damaged} is damaged")


def _check_sizes(content: Any) -> None:
    """Refuse tensors that repeat their numbers: the copy that computing with them makes has no bound."""
    waiting, seen = [content], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise ValueError(f"a tensor {tuple(value.shape)} is larger than its numbers in the file")
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
