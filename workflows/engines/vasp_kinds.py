"""Which finished VASP runs are neither static nor relaxations, and which methods have no total energy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workflows.engines.vasp_xml import VasprunData

MOLECULAR_DYNAMICS = 0
RELAXATIONS = (1, 2, 3)
"""Values of IBRION."""

FIXED_DENSITY = 10
"""From this value of ICHARG on the density is not made self-consistent, and the energy means nothing."""

_SELF_CONSISTENT = re.compile(r"n(?!o[nt])|v|f|a(?!cfdt)|c(?!hi)|d", re.IGNORECASE)
"""Normal, VeryFast, Fast, All, Conjugate, Damped, of which VASP reads the first letters only."""

_FIXED = {2: "None", 3: "Eigenval", 4: "Subrot", 90: "Exact"}
"""Values of IALGO that leave the density or the orbitals as they were, and the names of them in ALGO."""

_POTENTIALS = ("MBJ", "LMBJ")
_LIBXC_POTENTIALS = {
    "160": "GGA_X_LB", "182": "GGA_X_LBM", "207": "MGGA_X_BJ06", "208": "MGGA_X_TB09", "209": "MGGA_X_RPP09",
}  # fmt: skip
"""Functionals given as a potential only (VASP wiki, METAGGA; libxc: functionals without an energy)."""


def other_kind(data: VasprunData) -> str:
    """Name the kind of a run that is neither static nor a relaxation; empty if it is one of these."""
    if force_field := _force_field(data):
        return f"energies of a machine-learned force field ({force_field})"
    if (icharg := _integer(data.setting("ICHARG"), 0)) >= FIXED_DENSITY:
        return f"bands on a fixed density (ICHARG = {icharg})"
    if data.most_ionic_steps > 1 and data.ibrion not in RELAXATIONS:
        return "molecular dynamics" if data.ibrion == MOLECULAR_DYNAMICS else f"IBRION = {data.ibrion}"
    return _algorithm(data)


def without_total_energy(data: VasprunData) -> str:
    """Name the setting of a method that has a potential but no total energy; empty if it has one."""
    for values in (data.incar, data.parameters):
        meta = _word(values.get("METAGGA"))
        if meta in _POTENTIALS:
            return f"METAGGA = {meta}"
        for tag in ("LIBXC1", "LIBXC2"):
            name = _word(values.get(tag))
            if name in _LIBXC_POTENTIALS or name in _LIBXC_POTENTIALS.values():
                return f"{tag} = {name}"
    return ""


def _force_field(data: VasprunData) -> str:
    """Return the tag that switches a force field on, in any mode: any of its energies may be a prediction."""
    for values in (data.incar, data.parameters):
        for tag in ("ML_LMLFF", "ML_FF_LMLFF"):
            if _word(values.get(tag)).strip(".")[:1] in {"T", "1"}:
                return f"{tag} = T"
    mode = _word(data.setting("ML_MODE"))
    return f"ML_MODE = {mode}" if mode and "ML_LMLFF" not in data.incar else ""


def _algorithm(data: VasprunData) -> str:
    """Name the algorithm where it does not end in the self-consistent ground state."""
    algo = _word(data.incar.get("ALGO", data.parameters.get("ALGO"))).lower()
    if algo and not _SELF_CONSISTENT.match(algo):
        return f"no self-consistent density functional calculation (ALGO = {algo})"
    ialgo = _integer(data.setting("IALGO"), 38)
    if ialgo in _FIXED:
        return f"no self-consistent calculation (IALGO = {ialgo}, ALGO = {_FIXED[ialgo]})"
    return ""


def _word(value: Any) -> str:
    return "" if value is None else str(value).strip().upper()


def _integer(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default
