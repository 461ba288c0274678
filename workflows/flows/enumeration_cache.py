"""What an enumeration gave, kept on disk under a hash of all that it was made of.

Merging and counting thousands of compounds takes minutes; asking again for what has not changed takes none.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from stores.input_files import LARGEST
from stores.method import content_hash
from workflows.flows.dft_cost import Work
from workflows.structures.sources.page_cache import default_cache_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.flows.enumeration import Enumeration

_DECIDING = (
    "campaign_origins", "campaign_sources", "dft_cost", "enumeration", "lock_file", "refused_phases",
    "slab_counts",
)  # fmt: skip

KEPT = 20
"""Enumerations kept; older ones are removed."""


@cache
def _code_version() -> str:
    """Return a hash of the source text and the libraries that decide what an enumeration gives."""
    import numpy
    import pymatgen.core
    import spglib

    here = Path(__file__).parent
    files = [
        *here.parent.glob("structures/**/*.py"),
        *here.parent.glob("analysis/*hull*.py"),
        *(here / f"{name}.py" for name in _DECIDING),
        here.parent / "engines" / "kpoints.py",
        here.parent / "jobs" / "progress.py",
    ]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    digest.update(f"{numpy.__version__} {pymatgen.core.__version__} {spglib.__version__}".encode())
    return digest.hexdigest()


class EnumerationCache:
    """A folder beside the cache of the databases' answers. Nothing that goes wrong with it matters.

    Parameters
    ----------
    folder
        Made when the first enumeration is put in.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_cache_file().with_name("enumerations")

    def key(self, fixed: Any, fingerprints: Sequence[str | None]) -> str | None:
        """Return the key of an enumeration; None if a source does not know yet what it will deliver."""
        if None in fingerprints:
            return None
        return content_hash([_code_version(), fixed, list(fingerprints)])

    def get(self, key: str) -> Enumeration | None:
        """Return an enumeration, None if it is not there or cannot be read."""
        from workflows.flows.enumeration import Enumeration
        from workflows.flows.lock_file import LockFile

        try:
            packed = zlib.decompressobj()
            plain = orjson.loads(packed.decompress((self.folder / key).read_bytes(), LARGEST))
            lock = LockFile.model_validate(orjson.loads(plain["text"]))
            works = [Work(bulk, tuple(oriented), tuple(slabs)) for bulk, oriented, slabs in plain["works"]]
            counts = int(plain["n_candidates"])
            problems, notes, whole = list(plain["problems"]), list(plain["notes"]), bool(plain["whole"])
        except (OSError, ValueError, KeyError, TypeError, zlib.error):
            return None
        return Enumeration(lock, plain["text"], works, counts, problems, notes, whole, from_cache=True)

    def put(self, key: str, found: Enumeration) -> None:
        """Keep an enumeration."""
        text = orjson.dumps(
            {
                "text": found.text,
                "works": [[work.bulk, work.oriented, work.slabs] for work in found.works],
                "n_candidates": found.n_candidates,
                "problems": found.problems,
                "notes": found.notes,
                "whole": found.whole,
            }
        )
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".new")
            with os.fdopen(handle, "wb") as file:
                file.write(zlib.compress(text, 1))
            Path(name).replace(self.folder / key)
            kept = sorted(self.folder.iterdir(), key=lambda path: -path.stat().st_mtime)
            for path in kept[KEPT:]:
                path.unlink(missing_ok=True)
