"""The status of a stored surface's verdict, without pydantic, for commands that answer at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def verdict_status(record: Mapping[str, Any], target: str) -> str:
    """Return the status of a target's verdict: accepted, reconstructed, ...; empty where there is none.

    Records that other programs wrote may lack it.
    """
    verdict = (record.get("verdicts") or {}).get(target) or {}
    return str(verdict.get("status") or "")
