"""Verdicts on the values of stored surfaces, without pydantic, for commands that answer at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TARGETS = ("surface_energy", "work_function")  # values of a SurfaceRecord, each with a verdict

STATUSES = (
    "accepted",
    "unconverged",
    "negative",
    "reconstructed",
    "vacuum_not_flat",
    "asymmetric",
    "inconsistent_settings",
    "faulty",
    "failed",
)
"""Those of `stores.records.VerdictStatus`, which would cost the import of pydantic (0.2 s)."""


def verdict_status(record: Mapping[str, Any], target: str) -> str:
    """Return the status of a target's verdict: accepted, reconstructed, ...; empty where there is none.

    Records that other programs wrote may lack it.
    """
    verdict = (record.get("verdicts") or {}).get(target) or {}
    return str(verdict.get("status") or "")
