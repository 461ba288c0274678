"""Which of two records with one id is better: results above what did not converge, that above failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_WORTH = {"failed": 0, "unconverged": 1}
_RESULT = 2
STATUS_FIELDS: Final = (
    ("output", "status"),
    ("verdicts", "surface_energy", "status"),
    ("verdicts", "work_function", "status"),
)
"""Fields that ranks rest on; a record that has none of them, such as a bulk, always has the highest rank."""
HIGHEST: Final = _RESULT * len(STATUS_FIELDS)


RANKED: Final = ("calculations", "surfaces")  # collections whose records have statuses


def rank_of(document: Mapping[str, Any]) -> int:
    """Return the rank of a stored document, from 0 to `HIGHEST`; judgements on a result count alike."""
    return sum(_WORTH.get(str(_at(document, path)), _RESULT) for path in STATUS_FIELDS)


def statuses(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the rank rests on, by their dotted names; None for those that are not there."""
    return {".".join(path): _at(document, path) for path in STATUS_FIELDS}


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, Mapping) else None
    return document
