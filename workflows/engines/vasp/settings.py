"""The settings of a finished VASP run that decide its numbers, whoever wrote its input."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError
from workflows.engines.vasp.tags import EnergyTags, energy_tags, is_set

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.engines.vasp.vasprun import VasprunData

_GGA = {
    "PE": "PBE", "PS": "PBEsol", "RP": "RPBE", "RE": "revPBE", "91": "PW91", "AM": "AM05", "CA": "LDA",
    "PZ": "LDA", "OR": "optPBE", "BO": "optB88", "MK": "optB86b", "ML": "rPW86", "CX": "cx13", "BF": "BEEF",
    "B3": "B3LYP", "B5": "B3LYP5",
}  # fmt: skip
_FAMILIES = {"PAW_PBE": "PBE", "PAW_GGA": "PW91", "PAW": "LDA", "PAW_LDA": "LDA"}
_VDW = {
    1: "D2", 10: "D2", 11: "D3", 12: "D3BJ", 13: "D4", 2: "TS", 20: "TS", 21: "TS-HI", 202: "MBD", 4: "dDsC",
}  # fmt: skip
_SMEARING = {
    -5: "tetrahedron-bloechl", -4: "tetrahedron", -15: "tetrahedron-fermi", -14: "tetrahedron-fermi",
    -3: "scan", -2: "fixed", -1: "fermi-dirac", 0: "gaussian",
}  # fmt: skip


@dataclass(frozen=True)
class VaspSettings:
    """Settings in effect, as vasprun.xml echoes them.

    Attributes
    ----------
    functional
        Such as "PBE", "SCAN", "HSE06", "PBE+D3BJ"; from METAGGA, GGA and LHFCALC, else from the
        POTCARs.
    cutoff
        ENCUT in effect (eV).
    smearing, smearing_width
        Name of ISMEAR, and SIGMA (eV; 0 where VASP does not use it).
    spin_polarized, spin_orbit
        ISPIN = 2; LSORBIT.
    aspherical
        LASPH.
    hubbard
        U minus J of each element that has one (eV).
    initial_moments
        MAGMOM of a spin-polarised run (Bohr magnetons); empty otherwise.
    potcars
        Title of each element's POTCAR, e.g. "PAW_PBE Mg_pv 13Apr2007".
    precision, real_projection
        PREC, and LREAL as written.
    isif
        ISIF: 2 keeps the cell in a relaxation, 3 and more change it.
    tags
        Every other tag that changes energies.
    grid_spacing
        Largest distance between points of the FFT grid along an edge of the cell (A); None if not written.
    dipole_axis
        IDIPOL, 0 without a dipole correction.
    version
        Of VASP.
    """

    functional: str
    cutoff: float
    smearing: str
    smearing_width: float
    spin_polarized: bool = False
    spin_orbit: bool = False
    aspherical: bool = False
    hubbard: Mapping[str, float] = field(default_factory=dict)
    potcars: Mapping[str, str] = field(default_factory=dict)
    initial_moments: tuple[float, ...] = ()
    precision: str = ""
    real_projection: bool = False
    isif: int = 2
    tags: EnergyTags = field(default_factory=EnergyTags)
    grid_spacing: float | None = None
    dipole_axis: int = 0
    version: str = ""

    def labels(self) -> dict[str, str]:
        """Return the label of each element's POTCAR: "Mg_pv" of "PAW_PBE Mg_pv 13Apr2007"."""
        return {element: potcar_label(title) for element, title in self.potcars.items()}


def settings_from(data: VasprunData, where: str) -> VaspSettings:
    """Return the settings of a finished run; `where` names its vasprun.xml in messages.

    Raises
    ------
    InputError
        If the file ends before its settings.
    """
    cutoff = data.setting("ENMAX", data.setting("ENCUT"))
    ismear = data.setting("ISMEAR")
    if not isinstance(cutoff, int | float) or not isinstance(ismear, int):
        raise InputError(f"{where}: ends before the settings of the run; copy it again or run it again")
    width = data.setting("SIGMA", 0.0)
    if not isinstance(width, int | float) or not isfinite(width) or not isfinite(cutoff):
        raise InputError(f"{where}: SIGMA or ENCUT is no number; copy it again or run it again")
    smearing = _SMEARING.get(ismear, f"methfessel-paxton-{ismear}" if ismear > 0 else f"ismear{ismear}")
    # of the tetrahedron methods only those with Fermi smearing use SIGMA, and they do
    uses_sigma = ismear >= -1 or ismear in {-14, -15}
    spin = data.setting("ISPIN", 1) == 2
    moments = [m for m in _listed(data.setting("MAGMOM")) if isinstance(m, int | float)]
    return VaspSettings(
        functional=_functional(data),
        cutoff=round(cutoff, 3),
        smearing=smearing,
        smearing_width=round(float(width), 4) if uses_sigma else 0.0,
        spin_polarized=spin,
        initial_moments=tuple(round(float(m), 2) for m in moments) if spin else (),
        spin_orbit=is_set(data, "LSORBIT"),
        aspherical=is_set(data, "LASPH"),
        hubbard=_hubbard(data),
        potcars=dict(data.potcars),
        precision=str(data.setting("PREC", "")).lower(),
        real_projection=is_set(data, "LREAL"),
        isif=int(data.setting("ISIF", 2) or 0),
        tags=energy_tags(data),
        grid_spacing=_grid_spacing(data),
        dipole_axis=_dipole_axis(data),
        version=data.version,
    )


def potcar_label(title: str) -> str:
    """Return the label in a POTCAR's title: "Mg_pv" of "PAW_PBE Mg_pv 13Apr2007"."""
    words = title.split()
    return words[1] if len(words) > 1 and words[0].startswith(("PAW", "US", "NC")) else title.strip()


def _dipole_axis(data: VasprunData) -> int:
    corrected = data.setting("LDIPOL", False) or int(data.incar.get("IDIPOL") or 0) > 0
    return int(data.setting("IDIPOL", 0) or 0) if corrected else 0


def _grid_spacing(data: VasprunData) -> float | None:
    numbers = [data.setting(name) for name in ("NGX", "NGY", "NGZ")]
    if data.initial is None or not all(isinstance(n, int) and n > 0 for n in numbers):
        return None
    return float((np.linalg.norm(data.initial.lattice, axis=1) / numbers).max())


def _functional(data: VasprunData) -> str:
    # INCAR comes first: some versions echo "--" for it
    gga = str(data.incar.get("GGA") or data.parameters.get("GGA", "")).strip().upper()
    meta = str(data.incar.get("METAGGA") or data.parameters.get("METAGGA", "")).strip().upper()
    families = {title.split()[0] for _, title in data.potcars if title}
    base = _GGA.get(gga[:2], gga) if gga.strip("-") else ""
    if not base:
        base = "/".join(sorted({_FAMILIES.get(family, family) for family in families})) or "unknown"
    if meta.strip("-") and meta not in {"NONE", "F", "FALSE"}:
        base = meta
    if is_set(data, "LHFCALC"):
        base = _hybrid(data, base)
    vdw = data.incar.get("IVDW", data.parameters.get("IVDW")) or int(is_set(data, "LVDW"))
    if isinstance(vdw, (int, float)) and int(vdw):
        base += f"+{_VDW.get(int(vdw), f'IVDW{int(vdw)}')}"
    if is_set(data, "LUSE_VDW"):
        base += "+vdW-DF" if data.real("ZAB_VDW", -0.8491) > -1 else "+vdW-DF2"
    return base


def _hybrid(data: VasprunData, base: str) -> str:
    share, screening = data.real("AEXX", 0.25), data.real("HFSCREEN", 0.0)
    known = {0.2: "HSE06", 0.3: "HSE03", 0.0: "PBE0"} if (base, round(share, 3)) == ("PBE", 0.25) else {}
    name = known.get(round(screening, 3))
    return name or f"{base}-hybrid(AEXX={share:g},HFSCREEN={screening:g})"


def _hubbard(data: VasprunData) -> dict[str, float]:
    if not is_set(data, "LDAU"):
        return {}
    u, j = (_listed(data.incar.get(name, data.parameters.get(name))) for name in ("LDAUU", "LDAUJ"))
    j = [*j, *[0.0] * len(u)]
    pairs = zip((element for element, _ in data.potcars), u, j, strict=False)
    numbers = [(e, a, b) for e, a, b in pairs if isinstance(a, int | float) and isinstance(b, int | float)]
    return {element: round(a - b, 4) for element, a, b in numbers if abs(a - b) > 1e-6}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
