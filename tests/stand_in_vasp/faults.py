"""Failing as VASP fails, on request.

``STAND_IN_VASP_FAULT`` holds faults, separated by commas: ``NAME[:N][?TAG=VALUE][@WORDS]``.

``:N``
    Only the first N runs to which it applies fail. They are counted in the file named by
    ``STAND_IN_VASP_STATE``, shared by all calculations; without it, in each calculation's folder.
``?TAG=VALUE``
    It goes away as soon as INCAR has that value (what custodian's remedy sets).
``@WORDS``
    Only runs whose description contains all the words, joined by ``+``; the description is
    ``slab_relax Mg4Ag4 Ag Mg`` (slab or bulk; relax or static; formula in POTCAR's order; elements).

Names: see `NAMES`. ``STAND_IN_VASP_STEPS`` (default 2) is the number of ionic steps finished before a fault
that strikes in mid-run; a relaxation that takes fewer is struck at its end, except by a ``walltime`` without
``:N``, so that a relaxation continued often enough comes to its end. ``STAND_IN_VASP_DELAY`` is a pause (s)
before each ionic step, ``STAND_IN_VASP_HANG`` the length of a hang (s).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.stand_in_vasp.calculation import Calculation

NAMES = {
    "zbrent": "line minimisation fails, exit 1 (relaxations with IBRION=2)",
    "edddav": "diagonalisation fails in the first ionic step, exit 1, CONTCAR empty",
    "brmix": "charge lost in mixing: message, run continues with a wrong energy",
    "nelm": "electronic steps do not converge: NELM is reached",
    "nsw": "ionic steps do not converge: NSW is reached",
    "cutoff": "OUTCAR and vasprun.xml end in mid-line, exit 1",
    "truncated_xml": "vasprun.xml ends in mid-line, exit 0",
    "empty_contcar": "CONTCAR is empty, exit 0",
    "hang": "writes part of OUTCAR, then sleeps",
    "sigkill": "killed by SIGKILL in mid-run",
    "disk": "no space left on device, exit 38",
    "walltime": "killed by SIGTERM in mid-run, CONTCAR and OUTCAR of the finished steps on disk",
    "drift": "no failure: a large total drift of the forces, as slabs have",
    "entropy": "no failure: a large smearing entropy, as slabs have",
}
_FORM = re.compile(r"(?P<name>\w+)(:(?P<runs>\d+))?(\?(?P<tag>\w+)=(?P<value>[^@]+))?(@(?P<words>.+))?$")


@dataclass(frozen=True)
class Fault:
    """One request."""

    name: str
    runs: int | None
    remedy: tuple[str, str] | None
    words: tuple[str, ...]

    def applies(self, calculation: Calculation) -> bool:
        """Tell whether it strikes a calculation, the number of runs aside."""
        tags = calculation.tags
        relax = tags["NSW"] > 0
        if (self.name == "zbrent" and not (relax and tags["IBRION"] == 2)) or (
            self.name == "nsw" and not relax
        ):
            return False
        if self.remedy is not None:
            tag, value = self.remedy
            present = tags.get(tag.upper())
            if _same(present, value):
                return False
        described = description(calculation)
        return all(word in described for word in self.words)


def _same(present: object, value: str) -> bool:
    try:
        return float(str(present)) == float(value)
    except ValueError:
        return str(present).strip(".").lower()[:4] == value.strip(".").lower()[:4]


def description(calculation: Calculation) -> str:
    """Return what ``@WORDS`` is compared with."""
    kind = "slab" if calculation.slab else "bulk"
    what = "relax" if calculation.tags["NSW"] > 0 else "static"
    names = [p.symbol for p in calculation.potentials]
    formula = "".join(f"{name}{n}" for name, n in zip(names, calculation.counts, strict=True))
    return f"{kind}_{what} {formula} {' '.join(sorted(set(names)))}"


def parse(text: str) -> list[Fault]:
    """Read ``STAND_IN_VASP_FAULT``; an unknown name is a mistake in the test."""
    faults = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _FORM.match(part)
        if not match or match["name"] not in NAMES:
            raise ValueError(f"STAND_IN_VASP_FAULT: cannot read {part!r}; known are {', '.join(NAMES)}")
        remedy = (match["tag"], match["value"]) if match["tag"] else None
        words = tuple((match["words"] or "").split("+")) if match["words"] else ()
        faults.append(Fault(match["name"], int(match["runs"]) if match["runs"] else None, remedy, words))
    return faults


def strike(calculation: Calculation) -> dict[str, Fault]:
    """Return the faults that strike this run by their names, and count it."""
    struck = {}
    for fault in parse(os.environ.get("STAND_IN_VASP_FAULT", "")):
        if fault.applies(calculation) and (fault.runs is None or _count(fault) < fault.runs):
            struck[fault.name] = fault
    return struck


def _count(fault: Fault) -> int:
    """Return how often a fault has struck before, and add one."""
    path = Path(os.environ.get("STAND_IN_VASP_STATE", "stand_in_vasp.json"))
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        counts = json.loads(file.read() or "{}")
        key = f"{fault.name}?{fault.remedy}@{fault.words}"
        before = int(counts.get(key, 0))
        counts[key] = before + 1
        file.seek(0)
        file.truncate()
        file.write(json.dumps(counts))
    return before
