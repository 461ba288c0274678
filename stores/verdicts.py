"""Verdicts on the values of stored surfaces, without pydantic, for commands that answer at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.method_names import count_records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stores.surfaces import SurfaceStore

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


def count_verdicts(
    store: SurfaceStore, criteria: dict[str, Any], *, rehearsed: bool
) -> dict[str, dict[str, int]]:
    """Count the surfaces that match a filter by target and status; zeros are left out.

    rehearsed: those of rehearsals with a potential, else all others.
    """
    found: dict[str, dict[str, int]] = {target: {} for target in TARGETS}
    for target, counts in found.items():
        for status in STATUSES:
            wanted = {**criteria, f"verdicts.{target}.status": status}
            if number := count_records(store, "surfaces", wanted, rehearsed=rehearsed):
                counts[status] = number
    return found
