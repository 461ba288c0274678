"""Synthetic POTCARs: our own text, a PSCTR block that pymatgen and the stand-in read, and no potential.

The numbers behind the block are made from the label; ZVAL and ENMAX are those published on VASP's wiki, which
decide the number of electrons and whether ENCUT is high enough. pymatgen calls such a POTCAR unknown, as it
should.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

FUNCTIONAL_FOLDER = "POT_GGA_PAW_PBE_54"  # pymatgen's name for PBE_54

# label: (valence electrons, ENMAX in eV, mass)
LABELS = {
    "Li_sv": (3, 499.034, 7.010),
    "Be_sv": (4, 308.768, 9.013),
    "O": (6, 400.000, 16.000),
    "Na_pv": (7, 259.561, 22.990),
    "Mg": (2, 200.000, 24.305),
    "Mg_pv": (8, 403.929, 24.305),
    "Al": (3, 240.300, 26.982),
    "Si": (4, 245.345, 28.085),
    "Ca_sv": (10, 266.622, 40.078),
    "Sc_sv": (11, 222.660, 44.956),
    "Ti_pv": (10, 222.335, 47.880),
    "Fe": (8, 267.882, 55.847),
    "Fe_pv": (14, 293.238, 55.847),
    "Co": (9, 267.968, 58.933),
    "Ni": (10, 269.532, 58.690),
    "Ni_pv": (16, 367.986, 58.690),
    "Cu_pv": (17, 368.648, 63.546),
    "Zn": (12, 276.723, 65.390),
    "Ga_d": (13, 282.691, 69.723),
    "Ge_d": (14, 310.294, 72.610),
    "Sr_sv": (10, 229.353, 87.620),
    "Y_sv": (11, 202.626, 88.906),
    "Zr_sv": (12, 229.898, 91.224),
    "Rh_pv": (15, 247.408, 102.906),
    "Pd": (10, 250.925, 106.420),
    "Ag": (11, 249.844, 107.868),
    "Cd": (12, 274.336, 112.411),
    "In_d": (13, 239.211, 114.820),
    "Sn_d": (14, 241.083, 118.710),
    "Sb": (5, 172.069, 121.760),
    "Ba_sv": (10, 187.181, 137.327),
    "La": (11, 219.292, 138.900),
    "Nd_3": (11, 182.619, 144.240),
    "Eu": (17, 249.668, 151.965),
    "Eu_2": (8, 99.328, 151.965),
    "Gd": (18, 256.484, 157.250),
    "Gd_3": (9, 154.332, 157.250),
    "Dy_3": (9, 155.713, 162.500),
    "Er_3": (9, 155.037, 167.260),
    "Yb_2": (8, 112.578, 173.040),
    "Yb_3": (9, 188.380, 173.040),
    "Lu_3": (9, 154.992, 174.967),
    "Pt": (10, 230.283, 195.080),
    "Au": (11, 229.943, 196.966),
    "Bi": (5, 105.037, 208.980),
}
# what "Mg" means where an element is given instead of a label: Materials Project, but divalent Yb and Eu and
# trivalent lanthanides
_BARE = {"Mg": "Mg_pv", "Fe": "Fe_pv", "Ni": "Ni_pv", "Yb": "Yb_2", "Eu": "Eu_2", "Gd": "Gd_3"}


def label_of(name: str) -> str:
    """Return the POTCAR label of an element, or the label itself."""
    if name in _BARE:
        return _BARE[name]
    if name in LABELS:
        return name
    return next(label for label in LABELS if label.split("_")[0] == name)


def potcar_text(label: str, *, element: str | None = None, functional: str = "PE") -> str:
    """Return one synthetic POTCAR.

    Parameters
    ----------
    label
        One of `LABELS`.
    element
        The element it claims to be, where that shall be wrong.
    functional
        VASP's LEXCH: ``PE`` for PBE, ``CA`` for LDA, ``PS`` for PBEsol.
    """
    valence, enmax, mass = LABELS[label]
    suffix = label.partition("_")[1] + label.partition("_")[2]
    symbol = element or label.split("_")[0]
    family = {"PE": "PAW_PBE", "CA": "PAW"}.get(functional, "PAW")
    title = f"{family} {symbol}{suffix} 01Jan2000"
    digest = hashlib.sha256(title.encode()).hexdigest()
    numbers = [int(digest[i : i + 4], 16) / 65536 for i in range(0, 40, 4)]
    rows = "\n".join("".join(f"{x:16.8E}" for x in numbers[i : i + 5]) for i in (0, 5))
    return f"""  {title}
   {valence:.14f}
 parameters from PSCTR are:
   VRHFIN ={symbol}: synthetic
   LEXCH  = {functional}
   EATOM  = {40.0 * valence:12.4f} eV, {40.0 * valence / 13.605693:12.4f} Ry

   TITEL  = {title}
   LULTRA =        F    use ultrasoft PP ?
   IUNSCR =        1    unscreen: 0-lin 1-nonlin 2-no
   RPACOR =    1.500    partial core radius
   POMASS = {mass:8.3f}; ZVAL   = {valence:8.3f}    mass and valenz
   RCORE  =    2.500    outmost cutoff radius
   RWIGS  =    2.750; RWIGS  =    1.455    wigner-seitz radius (au A)
   ENMAX  = {enmax:8.3f}; ENMIN  = {0.75 * enmax:8.3f} eV
   ICORE  =        2    local potential
   LCOR   =        T    correct aug charges
   LPAW   =        T    paw PP
   EAUG   = {1.6 * enmax:8.3f}
   RMAX   =    2.550    core radius for proj-oper
   RAUG   =    1.300    factor for augmentation sphere
   RDEP   =    2.600    radius for radial grids
   RDEPT  =    2.000    core radius for aug-charge
 END of PSCTR-controll parameters
 local part
  100.00000000000
{rows}
 End of Dataset
"""


def write_potcars(folder: str | os.PathLike[str], names: Iterable[str] | None = None) -> Path:
    """Write a tree for ``PMG_VASP_PSP_DIR`` and return it.

    Parameters
    ----------
    folder
        Where; made if it does not exist.
    names
        Labels (``Gd_3``) or elements (``Ag``, ``Mg`` for Mg_pv). None: every label in `LABELS`.
    """
    root = Path(folder)
    target = root / FUNCTIONAL_FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for label in LABELS if names is None else [label_of(name) for name in names]:
        (target / f"POTCAR.{label}").write_text(potcar_text(label))
    return root


def write_wrong_potcar(
    folder: str | os.PathLike[str], label: str, *, element: str | None = None, functional: str = "PE"
) -> Path:
    """Replace one POTCAR of a tree by one of another element or another functional, under the same name."""
    path = Path(folder) / FUNCTIONAL_FOLDER / f"POTCAR.{label}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(potcar_text(label, element=element, functional=functional))
    return path
