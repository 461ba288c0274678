"""Announcements that jobs make while they run, through the logger ``mgsurf.progress``.

Every log record carries an `Event` as its attribute ``mgsurf_event``. Nothing is configured here, so a run
without a listener is silent.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum

PROGRESS = logging.getLogger("mgsurf.progress")
PROGRESS.addHandler(logging.NullHandler())


class Stage(StrEnum):
    """Kind of announcement."""

    PLANNED = "planned"
    STARTED = "started"
    FINISHED = "finished"
    REUSED = "reused"
    SKIPPED = "skipped"
    PROBLEM = "problem"
    NOTE = "note"
    RECORDED = "recorded"


@dataclass(frozen=True)
class Event:
    """One announcement.

    Its label names a calculation or facet for people ("MgAg (110) MgAg: slab relax"); of costs only ratios
    mean something; the text is one line: the reason of a problem, the content of a note, the folder of a
    calculation that starts; seconds are the wall time of a finished calculation.
    """

    stage: Stage
    label: str
    cost: float = 0.0
    text: str = ""
    seconds: float = 0.0


def announce(stage: Stage, label: str, *, cost: float = 0.0, text: str = "", seconds: float = 0.0) -> None:
    """Log an event for listeners."""
    event = Event(stage, label, cost, " ".join(text.split()), seconds)
    level = logging.WARNING if stage is Stage.PROBLEM else logging.INFO
    PROGRESS.log(level, "%s: %s %s", stage.value, label, event.text, extra={"mgsurf_event": event})


def relative_cost(n_atoms: int, volume: float, kpoints: tuple[int, int, int], ionic_steps: int) -> float:
    """Estimate the relative cost of a plane-wave calculation in a cell (volume in A^3, vacuum included).

    Bands grow with the atoms, plane waves with the volume, and the mesh halves by time reversal.
    """
    n_kpoints = kpoints[0] * kpoints[1] * kpoints[2] / 2
    return n_atoms * volume * n_kpoints * ionic_steps * 1e-3
