"""Tables by element that fingerprints take for granted: the presets' tables of the first records.

A fingerprint is a hash over a preset's standard tables with the entries of a calculation's own elements in
place. Entries that agree with the standard therefore change no fingerprint, and records made before tables
were cut to their elements keep theirs. **Never edit an entry**: it would rename records. Change the engine's
table instead; calculations with that element then have another fingerprint, and only they.
"""

from __future__ import annotations

from typing import Any

TABLES = ("setups", "start_moments", "setups_package")
"""Fields of `Method`, or keys of its `extra`, whose dictionaries are tables by element."""

_GPAW_MOMENTS = {"Cr": 2.0, "Mn": 3.0, "Fe": 3.0, "Co": 2.0, "Ni": 1.0}
_GPAW_DEMO = {
    "default": "paw", "Mg": "2", "Na": "1", "Mn": "7", "Ni": "10", "Ru": "8", "Rh": "9", "Pd": "10",
    "Ag": "11", "Os": "8", "Ir": "9", "Pt": "10",
}  # fmt: skip
_GPAW_PRODUCTION = {"default": "paw", "Pd": "10", "Ag": "11", "Ir": "9", "Pt": "10"}
_VASP_LABELS = """
Ac Ag Al Ar As Au B Ba_sv Be_sv Bi Br C Ca_sv Cd Cl Co Cr_pv Cs_sv Cu_pv F Fe_pv Ga_d Ge_d H He Hf_pv Hg I
In_d Ir K_sv Kr La Li_sv Mg_pv Mn_pv Mo_pv N Na_pv Nb_pv Ne Ni_pv Np O Os_pv P Pa Pb_d Pd Pt Pu Rb_sv Re_pv
Rh_pv Ru_pv S Sb Sc_sv Se Si Sn_d Sr_sv Ta_pv Tc_pv Te Th Ti_pv Tl_d U V_pv W_sv Xe Y_sv Zn Zr_sv
Ce_3 Pr_3 Nd_3 Pm_3 Sm_3 Eu_2 Gd_3 Tb_3 Dy_3 Ho_3 Er_3 Tm_3 Yb_2 Lu_3
"""
_VASP: dict[str, dict[str, Any]] = {
    "setups": {label.partition("_")[0]: label for label in _VASP_LABELS.split()},
    "start_moments": {
        "Cr": 3.0, "Mn": 4.0, "Fe": 3.0, "Co": 2.0, "Ni": 1.0,
        "Ce": 1.0, "Pr": 2.0, "Nd": 3.0, "Pm": 4.0, "Sm": 5.0, "Eu": 7.0, "Gd": 7.0, "Tb": 6.0, "Dy": 5.0,
        "Ho": 4.0, "Er": 3.0, "Tm": 2.0, "Yb": 1.0,
    },
}  # fmt: skip

STANDARD: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    ("gpaw", "demo"): {"setups": _GPAW_DEMO, "start_moments": _GPAW_MOMENTS},
    ("gpaw", "production"): {"setups": _GPAW_PRODUCTION, "start_moments": _GPAW_MOMENTS},
    ("vasp", "demo"): _VASP,
    ("vasp", "production"): _VASP,
}
"""By engine and preset, then by name of the table; ``default`` names what every other element takes."""


DEFAULT = "default"  # key of a table by element: what every element takes that the table does not list
OLD_NAME = "all"  # key of a table by element: what stood in the place of the table in old records
