"""Which code and which libraries a model was trained with."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from stores import cgcnn_elements

LIBRARIES = ("torch", "numpy", "scipy", "pymatgen")
"""Those whose version may change the weights that a training ends with."""


@cache
def code_version() -> str:
    """Return the version of mgsurf and a hash of the model's source text, such as ``0.3.0+3fa94c1d``.

    The version alone would not tell two states of a working copy apart.
    """
    digest = hashlib.sha256()
    for file in (*sorted(Path(__file__).parent.glob("*.py")), Path(cgcnn_elements.__file__)):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"{version_of('mgsurf')}+{digest.hexdigest()[:8]}"


def library_versions() -> dict[str, str]:
    """Return the versions of `LIBRARIES` and of Python."""
    import platform

    return {"python": platform.python_version(), **{name: version_of(name) for name in LIBRARIES}}


def version_of(name: str) -> str:
    """Return the version of an installed package, or that it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
