"""POTCARs: label of each element, location, and check of their content."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stores.errors import EngineError, InputError
from stores.input_files import read_bytes
from stores.paths import expand_user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The Materials Project's choice for PBE_54 (pymatgen's MPScanRelaxSet), kept here so that no new release of
# pymatgen changes it, but for the lanthanides: divalent Eu and Yb, as in their magnesium compounds, and every
# other one trivalent, all with 4f in the core. PBE does not describe open 4f shells in valence.
_MATERIALS_PROJECT = """
Ac Ag Al Ar As Au B Ba_sv Be_sv Bi Br C Ca_sv Cd Cl Co Cr_pv Cs_sv Cu_pv F Fe_pv Ga_d Ge_d H He Hf_pv Hg I
In_d Ir K_sv Kr La Li_sv Mg_pv Mn_pv Mo_pv N Na_pv Nb_pv Ne Ni_pv Np O Os_pv P Pa Pb_d Pd Pt Pu Rb_sv Re_pv
Rh_pv Ru_pv S Sb Sc_sv Se Si Sn_d Sr_sv Ta_pv Tc_pv Te Th Ti_pv Tl_d U V_pv W_sv Xe Y_sv Zn Zr_sv
"""
_LANTHANIDES = "Ce_3 Pr_3 Nd_3 Pm_3 Sm_3 Eu_2 Gd_3 Tb_3 Dy_3 Ho_3 Er_3 Tm_3 Yb_2 Lu_3"
POTCAR_LABELS = {label.partition("_")[0]: label for label in (_MATERIALS_PROJECT + _LANTHANIDES).split()}

FUNCTIONAL: Final = "PBE_54"
# Folders of the PBE_54 set below PMG_VASP_PSP_DIR: pymatgen's names, and those VASP's archive unpacks to.
SET_FOLDERS = (
    "POT_GGA_PAW_PBE_54",
    "POTPAW_PBE_54",
    "POT_PAW_PBE_54",
    "potpaw_PBE.54",
    "potpaw_PBE_54",
    ".",
)
SET_UP = (
    "set PMG_VASP_PSP_DIR (environment or ~/.config/.pmgrc.yaml) to the folder that holds "
    f"{SET_FOLDERS[0]}/POTCAR.Mg_pv.gz or potpaw_PBE.54/Mg_pv/POTCAR"
)


@dataclass(frozen=True)
class PotcarFile:
    """One element's POTCAR."""

    label: str  # such as ``Mg_pv``
    title: str  # TITEL, such as ``PAW_PBE Mg_pv 13Apr2007``
    element: str  # from VRHFIN
    enmax: float  # cut-off its authors recommend at least (eV)
    checksum: str  # first 8 digits of the MD5 of the text without trailing blanks
    text: str  # the whole file

    @property
    def setup(self) -> str:
        """Title and checksum, as in records."""
        return f"{self.title} (md5 {self.checksum})"


def potcar_labels(elements: Sequence[str], overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the POTCAR label of each element; EngineError if one has none."""
    table = POTCAR_LABELS | dict(overrides or {})
    missing = [element for element in elements if element not in table]
    if missing:
        raise EngineError(
            f"vasp has no POTCAR label for {', '.join(missing)}: leave them out, or name one in the engine's "
            "option potcars, e.g. potcars: {Po: Po_d}"
        )
    return {element: table[element] for element in elements}


def potcar_folder() -> Path:
    """Return the folder of all POTCAR sets; EngineError if none is set or it is no folder."""
    named = os.environ.get("PMG_VASP_PSP_DIR")
    if not named:
        from pymatgen.core import SETTINGS

        named = SETTINGS.get("PMG_VASP_PSP_DIR")
    if not named:
        raise EngineError(f"vasp: no folder of POTCARs is set: {SET_UP}")
    folder = expand_user(str(named), "PMG_VASP_PSP_DIR")
    if not folder.is_dir():
        raise EngineError(f"vasp: PMG_VASP_PSP_DIR names {folder}, which is no folder: {SET_UP}")
    return folder


def read_potcar(element: str, label: str) -> PotcarFile:
    """Find, read and check the POTCAR of an element.

    Raises
    ------
    EngineError
        If there is none, it cannot be read, or it is of another element or functional.
    """
    folder = potcar_folder()
    tried = [
        folder / name / file
        for name in SET_FOLDERS
        for file in (f"POTCAR.{label}", f"POTCAR.{label}.gz", f"{label}/POTCAR", f"{label}/POTCAR.gz")
    ]
    path = next((path for path in tried if path.is_file()), None)
    if path is None:
        raise EngineError(
            f"vasp: no POTCAR {label} of {FUNCTIONAL} in {folder} (looked in {', '.join(SET_FOLDERS[:-1])} "
            f"and the folder itself, for POTCAR.{label} and {label}/POTCAR): {SET_UP}"
        )
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise EngineError(f"vasp: {path} cannot be read: {error.strerror}; correct its permissions") from None
    return _read(element, label, path, changed)


@lru_cache(maxsize=64)
def _read(element: str, label: str, path: Path, changed: int) -> PotcarFile:
    try:
        text = read_bytes(path).decode("utf-8", "replace")
    except InputError as error:
        raise EngineError(f"vasp: {error}") from None
    except OSError as error:
        raise EngineError(f"vasp: {path} cannot be read ({error}); copy it again") from None
    found = {
        key: match[1].strip()
        for key in ("TITEL", "VRHFIN", "LEXCH", "ENMAX")
        if (match := re.search(rf"\b{key}\s*=\s*([^;\n]*)", text))
    }
    missing = [key for key in ("TITEL", "VRHFIN", "LEXCH", "ENMAX") if not found.get(key)]
    if missing:
        raise EngineError(f"vasp: {path} is no POTCAR: {', '.join(missing)} missing; copy it again")
    of = re.match(r"[A-Z][a-z]?", found["VRHFIN"].lstrip("= "))
    if of is None or of[0] != element:
        raise EngineError(
            f"vasp: {path} is the POTCAR of {found['VRHFIN'].rstrip(':')}, not of {element} "
            f"({found['TITEL']}); put {FUNCTIONAL}'s {label} there"
        )
    if found["LEXCH"].upper() != "PE" or not found["TITEL"].startswith("PAW_PBE"):
        raise EngineError(
            f"vasp: {path} is no PAW POTCAR of PBE (TITEL {found['TITEL']}, LEXCH {found['LEXCH']}); "
            f"put {FUNCTIONAL}'s {label} there"
        )
    try:
        enmax = float(found["ENMAX"])
    except ValueError:
        raise EngineError(f"vasp: {path}: ENMAX = {found['ENMAX']} is no number; copy it again") from None
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return PotcarFile(
        label=label,
        title=" ".join(found["TITEL"].split()),
        element=element,
        enmax=enmax,
        checksum=hashlib.md5(lines.encode(), usedforsecurity=False).hexdigest()[:8],
        text=text if text.endswith("\n") else f"{text}\n",
    )


def low_cutoffs(potcars: Sequence[PotcarFile], cutoff: float) -> list[str]:
    """Return a line for each POTCAR that recommends a higher cut-off (eV) than is used."""
    return [
        f"the cut-off of {cutoff:g} eV is below the {potcar.enmax:g} eV that POTCAR {potcar.label} recommends"
        for potcar in potcars
        if potcar.enmax > cutoff + 1e-6
    ]
