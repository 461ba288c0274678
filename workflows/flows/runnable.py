"""What of a campaign an engine can compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stores.errors import EngineError, InputError
from stores.words import counted
from workflows.flows.campaign_file import check_runnable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.engines.protocol import Engine
    from workflows.flows.campaign_file import CampaignStructure
    from workflows.flows.campaign_settings import Campaign


def runnable_structures(
    campaign: Campaign, structures: Sequence[CampaignStructure], engine: Engine
) -> tuple[list[CampaignStructure], list[str]]:
    """Return what an engine can compute of a campaign, and one line for each reason to leave compounds out.

    What a campaign file names itself is never left out without being asked: there it is an error.

    Raises
    ------
    InputError
        If a compound under `compounds` has no surface energy, or nothing is left.
    EngineError
        If the engine refuses one of its elements.
    """
    if campaign.sources is None:
        for entry in structures:
            check_runnable(entry.structure, entry.where)
        engine.check_elements(sorted({s.specie.symbol for entry in structures for s in entry.structure}))
        return list(structures), []
    kept: list[CampaignStructure] = []
    reasons: dict[str, list[str]] = {}
    for entry in structures:
        reason = why_not(entry.structure.symbol_set, engine)
        if reason:
            reasons.setdefault(reason, []).append(entry.label)
        else:
            kept.append(entry)
    lines = [left_out_line(reason, labels) for reason, labels in sorted(reasons.items())]
    if not kept:
        raise InputError("\n".join(lines) or f"{campaign.path}: its lock file lists no compound")
    return kept, lines


def why_not(elements: Sequence[str], engine: Engine) -> str:
    """Say why a compound of these elements is not computed; empty if it is."""
    if "Mg" not in elements:
        return "no Mg"
    if len(elements) > 2:
        return "more than two elements, for which no surface energy is defined"
    try:
        engine.check_elements(elements)
    except EngineError as error:
        return str(error)
    return ""


def left_out_line(reason: str, labels: Sequence[str]) -> str:
    """Say in one line which compounds are left out of a run."""
    named = ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")
    return f"{counted(len(labels), 'compound')} left out of the run ({reason}): {named}"
