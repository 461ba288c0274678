"""The settings of a finished VASP run that decide its numbers, whoever wrote its input.

Every INCAR tag counts but those known not to change energies, so that a tag of a later VASP does. Names,
defaults and what VASP echoes are those of its wiki and of vasprun.xml files of VASP 5.4 to 6.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError

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

_WITHOUT_EFFECT = {
    "how the work is spread over processes and memory": (
        "NPAR NCORE KPAR NSIM NBLK LPLANE LSCALAPACK LSCAAWARE LSCALU LASYNC LORBITALREAL NCSHMEM "
        "LFOCKACE MAXMEM NCORE_IN_IMAGE1 NTAUPAR NOMEGAPAR TAUPAR OMEGAPAR"
    ),
    "what is written or computed afterwards": (
        "SYSTEM NWRITE LWAVE LCHARG LVTOT LVHAR LAECHG LELF LORBIT NEDOS EMIN EMAX EFERMI LPARD EINT "
        "IBAND KPUSE LSEPB LSEPK NBMOD STM LVACPOTAV LDAUPRINT LOPTICS LKPROJ LOCPROJ LWANNIER90 "
        "LWANNIER90_RUN LWRITE_MMN_AMN LWRITE_UNK LWRITE_WANPROJ LCALCPOL LHYPERFINE LEFG QUAD_EFG "
        "NGYROMAG LBERRY LBLUEOUT IDIOT LMUSIC LVDWEXPANSION LORBMOM LKPOINTS_OPT KPOINTS_OPT_MODE LH5 "
        "LWAVEH5 LCHARGH5 WRT_POTENTIAL LPRJ_WRITE PHON_NSTRUCT"
    ),
    "what the electronic loop starts from, and its way to the ground state; EDIFF has a limit of its own": (
        "ISTART ICHARG INIWAV ENINI MAGMOM RANDOM_SEED LDOWNSAMPLE ALGO IALGO LDIAG LSUBROT NELM NELMIN "
        "NELMDL EDIFF EBREAK WEIMIN DEPER NRMM TIME ISEARCH NBANDS NBANDSLOW NBANDSHIGH AMIX BMIX AMIN "
        "AMIX_MAG BMIX_MAG IMIX MIXFIRST MAXMIX WC INIMIX MIXPRE MREMOVE LMIXTAU IWAVPR IRESTART "
        "NREBOOT NMIN EREF TURBO"
    ),
    "symmetry, and the k mesh, which is compared itself": ("ISYM SYMPREC KSPACING KBLOWUP"),
    "how the ions move; whether they came to rest is judged run by run": (
        "NSW IBRION ISIF POTIM EDIFFG NFREE SMASS PMASS MDALGO TEBEG TEEND NBLOCK KBLOCK NPACO APACO "
        "POMASS LCORR LANGEVIN_GAMMA LANGEVIN_GAMMA_L ANDERSEN_PROB LATTICE_CONSTRAINTS DARWINR DARWINV "
        "IOPT MAXMOVE TIMESTEP ILBFGSMEM"
    ),
    "the correction of a slab's dipole: a bulk has none": ("LDIPOL IDIPOL DIPOL"),
    "grids follow the cell (their spacing is compared); the charge is judged run by run": (
        "NGX NGY NGZ NGXF NGYF NGZF NELECT"
    ),
    "response functions and many-body methods: no total energy, or computed after it": (
        "LEPSILON LCALCEPS LPEAD IPEAD LRPA LNABLA LVEL KINTER CSHIFT OMEGAMAX OMEGAMIN OMEGATL "
        "OMEGAGRID DEG_THRESHOLD RTIME WPLASMAI WPLASMA DFIELD NUCIND MAGPOS LNICSALL ORBITALMAG "
        "LMAGBLOCH LCHIMAG LGAUGE MAGATOM MAGDIPOL AVECCONST LLRAUG DQ ICHIBARE LNMR_SYM_RED MODEL_GW "
        "MODEL_EPS0 MODEL_ALPHA NBANDSGWLOW ENCUT4O FOURORBIT LALL_IN_ONE IALL_IN_ONE NBANDS_WAVE "
        "LADDER LRPAFORCE LFXC LHARTREE IBSE KPOINT KPOINT_BSE LTCTC LTCTE LTETE LTRIPLET LFXCEPS LFXHEG "
        "NATURALO LHOLEGF L2ORDER LDMP1 LMP2LT LSMP2LT LGWLF LUSEW ENCUTGW ENCUTGWSOFT ENCUTLF ESF_SPLINES "
        "LESF_SPLINES ESF_CONV ESF_NINTER LMAXMP2 SCISSOR NOMEGA NOMEGAR NBANDSGW NBANDSO NBANDSV "
        "NELMGW NELMHF DIM IESPILON IEPSILON ANTIRES LSELFENERGY SELFENERGY LSPECTRAL LSPECTRALGW "
        "LSINGLES LFERMIGW ODDONLYGW EVENONLYGW NKREDLFX NKREDLFY NKREDLFZ TELESCOPE DAMP_NEWTON"
    ),
}
"""Tags by the reason why they leave energies as they are."""

NO_EFFECT = frozenset(" ".join(_WITHOUT_EFFECT.values()).split())
"""Tags that leave the energy of a converged calculation of a given geometry as it is; others change it."""

FUNCTIONAL = frozenset({"GGA", "METAGGA", "LHFCALC", "LUSE_VDW", "IVDW", "LVDW"})
"""Tags that the name of the functional stands for."""

COMPARED_OTHERWISE = FUNCTIONAL | {"ENCUT", "ENMAX", "ISMEAR", "SIGMA", "ISPIN", "LDAU"}
"""Tags compared as functional, cut-off, smearing, spin polarisation, and U of each element."""

ACCURACY = frozenset({"PREC", "LREAL", "ROPT", "ADDGRID", "ENAUG", "LMAXMIX", "KGAMMA"})
"""Tags that shift energies by meV: equal within one surface energy, but no methods of their own.

The shift is about the same for each atom, so that it cancels between slab and bulk only if both have it (VASP
wiki, LREAL, on surface energies)."""

PER_ELEMENT = frozenset(
    {"ROPT", "RWIGS", "VDW_C6", "VDW_R0", "VDW_ALPHA", "VDW_C6AU", "VDW_R0AU", "CMBJ", "ZVAL"}
)
"""Tags with one value for each species in the order of POSCAR: those of shared elements are compared."""

OF_COMPOSITION = frozenset({"ENAUG", "LMAXMIX"})
"""Tags that follow from the elements in the cell: compared between cells of the same elements only."""

DEFAULTS: dict[str, Any] = {
    "PREC": "n", "LREAL": False, "ADDGRID": False, "LMAXMIX": 2, "KGAMMA": True, "LMAXPAW": -100,
    "NLSPLINE": False, "LCOMPAT": False, "LNONCOLLINEAR": False, "NUPDOWN": -1, "LSORBIT": False,
    "SAXIS": (0, 0, 1), "LSPIRAL": False, "QSPIRAL": (0, 0, 0), "LZEROZ": False, "LASPH": False,
    "LMETAGGA": False, "LMONO": False, "EPSILON": 1, "EFIELD": 0, "EFIELD_PEAD": (0, 0, 0), "PSTRESS": 0,
    "SCALEE": 1, "GGA_COMPAT": True, "ICORELEVEL": 0, "I_CONSTRAINED_M": 0, "LAMBDA": 1, "XC_C": 1,
    "VOSKOWN": 0, "PRECFOCK": "n", "LSYMGRAD": False, "LHFONE": False, "LRHFCALC": False, "LTHOMAS": False,
    "LMODELHF": False, "EXXOEP": 0, "HFALPHA": 0, "MCALPHA": 0, "AMGGAX": 1, "AMGGAC": 1, "ALDAC": 1,
    "AGGAC": 1, "NKRED": 1, "NKREDX": 1, "NKREDY": 1, "NKREDZ": 1, "SHIFTRED": False, "ODDONLY": False,
    "EVENONLY": False, "LMAXFOCK": 0, "LMAXFOCKAE": -1, "NMAXFOCKAE": 0, "LFOCKAEDFT": False, "HFSCREEN": 0,
    "HFSCREENC": 0, "IVDW_NL": -1, "LSPIN_VDW": False, "ZAB_VDW": -0.8491, "GAMMA_VDW": 1.39626,
    "ALPHA_VDW": 0, "PARAM1": 0.1234, "PARAM2": 1, "PARAM3": 0, "BPARAM": 6.3, "CPARAM": 0.0093,
    "LVDW_EWALD": False, "LFINITE_TEMPERATURE": False, "OFIELD_KAPPA": 0, "OFIELD_K": (0, 0, 0),
    "OFIELD_Q6_NEAR": 0, "OFIELD_Q6_FAR": 0, "OFIELD_A": 0, "IMAGES": 0, "ML_LMLFF": False, "LSOL": False,
    "EB_K": 78.4, "SIGMA_K": 0.6, "NC_K": 0.0025, "TAU": 0.000525,
}  # fmt: skip
"""VASP's defaults of tags that change energies, where one value does for every run."""

_D2 = {"VDW_S6": 0.75, "VDW_SR": 1, "VDW_D": 20, "VDW_RADIUS": 50}
_D3 = {"VDW_RADIUS": 50.2, "VDW_CNRADIUS": 20}
_TS = {"VDW_S6": 1, "VDW_SR": 0.94, "VDW_D": 20, "VDW_RADIUS": 50}
DISPERSION: dict[int, dict[str, float]] = {
    1: _D2, 10: _D2, 2: _TS, 20: _TS,
    11: {**_D3, "VDW_S6": 1, "VDW_SR": 1.217, "VDW_S8": 0.722},
    12: {**_D3, "VDW_S6": 1, "VDW_A1": 0.4289, "VDW_S8": 0.7875, "VDW_A2": 4.4407},
}  # fmt: skip
"""Parameters that VASP uses with PBE, by IVDW."""


_ECHOED = {"ENCUT": "ENMAX", "ISMEAR": "ISMEAR", "SIGMA": "SIGMA"}
"""Tags compared by what VASP echoes, with its names; INCAR counts too, for VASP overrules none of them."""

LARGEST_INTEGER = 1 << 31  # of Fortran; larger values stay real numbers

_HUBBARD = {"LDAUL": 2, "LDAUU": 0, "LDAUJ": 0}
DUDAREV = 2  # LDAUTYPE in which only U less J counts
HUBBARD = "LDAUTYPE, LDAUL, LDAUU, LDAUJ"  # name under which these four of each element with a U are compared


@dataclass(frozen=True)
class EnergyTags:
    """Tags of a run that change its energy."""

    # every tag that changes energies and does not have VASP's default: bool, number, lower-case text, or a
    # tuple of these; of `PER_ELEMENT` tags a dict by element
    values: Mapping[str, Any] = field(default_factory=dict)
    # VASP's defaults, those that depend on other tags of the run included
    defaults: Mapping[str, Any] = field(default_factory=lambda: DEFAULTS)
    given: frozenset[str] = frozenset()  # names that stand in INCAR; the others VASP chose by itself
    functional: Mapping[str, Any] = field(default_factory=dict)  # the `FUNCTIONAL` tags as written

    def method(self) -> dict[str, Any]:
        """Return the tags of INCAR that make another method of a calculation, as plain values.

        Left out are those that shift energies by meV, and those that other fields of a method hold: LASPH,
        LSORBIT, the U of Dudarev's scheme, what the name of a hybrid functional implies.
        """
        held = {*ACCURACY, "LASPH", "LSORBIT"}
        held |= {"AEXX", "HFSCREEN"} if self.functional.get("LHFCALC") else set()
        held |= {"LNONCOLLINEAR"} if self.values.get("LSORBIT") else set()
        found = {name: value for name, value in self.values.items() if name in self.given - held}
        scheme = {e: u for e, u in self.values.get(HUBBARD, {}).items() if u[0] != DUDAREV}
        if scheme:
            found[HUBBARD] = scheme
        return {name: _plain(value) for name, value in sorted(found.items())}


@dataclass(frozen=True)
class VaspSettings:
    """Settings in effect, as vasprun.xml echoes them."""

    # such as "PBE", "SCAN", "HSE06", "PBE+D3BJ"; from METAGGA, GGA and LHFCALC, else from the POTCARs
    functional: str
    cutoff: float  # ENCUT in effect (eV)
    smearing: str  # name of ISMEAR
    smearing_width: float  # SIGMA (eV); 0 where VASP does not use it
    spin_polarized: bool = False  # ISPIN = 2
    spin_orbit: bool = False  # LSORBIT
    aspherical: bool = False  # LASPH
    hubbard: Mapping[str, float] = field(default_factory=dict)  # U minus J of each element that has one (eV)
    # title of each element's POTCAR, e.g. "PAW_PBE Mg_pv 13Apr2007"
    potcars: Mapping[str, str] = field(default_factory=dict)
    # MAGMOM of a spin-polarised run (Bohr magnetons); empty otherwise
    initial_moments: tuple[float, ...] = ()
    precision: str = ""  # PREC as written
    real_projection: bool = False  # LREAL
    isif: int = 2  # ISIF: 2 keeps the cell in a relaxation, 3 and more change it
    tags: EnergyTags = field(default_factory=EnergyTags)  # every other tag that changes energies
    # largest distance between points of the FFT grid along an edge of the cell (A); None if not written
    grid_spacing: float | None = None
    dipole_axis: int = 0  # IDIPOL, 0 without a dipole correction
    version: str = ""  # of VASP

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
        hubbard=_effective_u(data),
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


def _effective_u(data: VasprunData) -> dict[str, float]:
    if not is_set(data, "LDAU"):
        return {}
    u, j = (_listed(data.incar.get(name, data.parameters.get(name))) for name in ("LDAUU", "LDAUJ"))
    j = [*j, *[0.0] * len(u)]
    pairs = zip((element for element, _ in data.potcars), u, j, strict=False)
    numbers = [(e, a, b) for e, a, b in pairs if isinstance(a, int | float) and isinstance(b, int | float)]
    return {element: round(a - b, 4) for element, a, b in numbers if abs(a - b) > 1e-6}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def energy_tags(data: VasprunData) -> EnergyTags:
    """Read the tags of a run.

    A tag counts as set if INCAR or the settings in effect depart from the default: VASP echoes some tags
    under a name that something else uses too (LAMBDA), and does not echo others at all.
    """
    found: dict[str, Any] = {}
    elements = [element for element, _ in data.potcars]
    defaults = _defaults(data)
    unused = {"RWIGS"} if not is_set(data, "I_CONSTRAINED_M") else set()  # spheres for the output only
    unused |= {"ROPT"} if not is_set(data, "LREAL") else set()
    for name in dict.fromkeys([*data.parameters, *data.incar]):
        if name in NO_EFFECT or name in COMPARED_OTHERWISE or name in unused or name.startswith("LDAU"):
            continue
        default = defaults.get(name)
        for source in (data.parameters, data.incar):
            value = _normal(name, source.get(name), default)
            if value is None or value == default:
                continue
            found.setdefault(name, _by_element(elements, value) if name in PER_ELEMENT else value)
    for name, echo in _ECHOED.items():
        given, effective = (_normal(name, v, None) for v in (data.incar.get(name), data.parameters.get(echo)))
        if given is not None and effective is not None:
            defaults[name] = effective
            found |= {name: given} if given != effective else {}
    if hubbard := _hubbard(data, elements):
        found[HUBBARD] = hubbard
    functional = {
        name: _normal(name, data.incar.get(name, data.parameters.get(name)), None) for name in FUNCTIONAL
    }
    return EnergyTags(found, defaults, frozenset(data.incar), functional)


def _defaults(data: VasprunData) -> dict[str, Any]:
    """Return VASP's defaults in a run: those of exact exchange and dispersion depend on other tags."""
    found = dict(DEFAULTS)
    share: Any = 0
    if is_set(data, "LHFCALC"):
        found["AEXX"] = 0.25
        share = _normal("AEXX", data.setting("AEXX"), None)
    rest = round(1 - share, 6) if isinstance(share, int | float) else 0.75
    found |= {"AEXX": found.get("AEXX", 0), "ALDAX": rest, "AGGAX": rest}
    found["LMAXTAU"] = 6 if is_set(data, "LASPH") else 0
    kind, gga, meta = (
        _normal(name, data.incar.get(name, data.parameters.get(name)), None)
        for name in ("IVDW", "GGA", "METAGGA")
    )
    pbe = gga in {None, "", "--", "pe"} and meta in {None, "", "--"} and not share
    return found | (DISPERSION.get(kind, {}) if pbe and isinstance(kind, int) else {})


def _normal(name: str, value: Any, default: Any) -> Any:
    """Return a value in one form, whether INCAR or the echo gave it; None if absent."""
    if value is None or value == []:
        return None
    if isinstance(value, list):
        return tuple(_normal(name, item, None) for item in value)
    if isinstance(value, str):
        value = value.strip().lower()
        if name in {"PREC", "PRECFOCK"}:  # of which VASP reads the first letter; no PRECFOCK is Normal
            return "sn" if value.startswith("singlen") else value[:1] or "n"
        if name == "LREAL":
            return value.strip(".")[:1] in {"t", "o", "a"}
        if isinstance(default, bool) or value.strip(".") in {"t", "f", "true", "false"}:
            return value.strip(".")[:1] == "t"
        try:
            value = float(value.replace("d", "e"))
        except ValueError:
            return value
    if isinstance(value, bool) or isinstance(default, bool):
        return bool(value)
    if not isfinite(value):
        return str(value)
    value = float(f"{value:.6g}")
    if name == "ICORELEVEL" and value == 1:  # core levels in the initial state are computed afterwards
        return 0
    return int(value) if value == int(value) and abs(value) < LARGEST_INTEGER else value


def is_set(data: VasprunData, name: str) -> bool:
    """Return whether a logical tag or a number is on, in INCAR or in the settings in effect."""
    sources = (data.incar, data.parameters)
    return any(_normal(name, source.get(name), DEFAULTS.get(name, False)) for source in sources)


def _by_element(elements: list[str], value: Any) -> Any:
    """Return values by element, or as they are where they do not fit the species."""
    values = value if isinstance(value, tuple) else (value,)
    found = dict(zip(elements, values, strict=False))
    fits = len(values) == len(elements) and all(
        found[e] == v
        for e, v in zip(elements, values, strict=True)  # an element may be two species
    )
    return found if fits else value


def _hubbard(data: VasprunData, elements: list[str]) -> dict[str, tuple[Any, ...]]:
    """Return LDAUTYPE, LDAUL, LDAUU and LDAUJ of each element that has a U; U less J in Dudarev's scheme."""
    if not is_set(data, "LDAU"):
        return {}

    def listed(name: str, default: Any) -> list[Any]:
        values = _normal(name, data.incar.get(name, data.parameters.get(name)), None)
        values = values if isinstance(values, tuple) else () if values is None else (values,)
        return [*values, *[default] * (len(elements) - len(values))]

    kind = listed("LDAUTYPE", DUDAREV)[0] if elements else DUDAREV
    found: dict[str, tuple[Any, ...]] = {}
    for element, shell, u, j in zip(elements, *(listed(n, d) for n, d in _HUBBARD.items()), strict=False):
        if shell != -1 and (u or j):
            # text in place of a number is kept: it is equal to nothing but itself
            only_difference = kind == DUDAREV and not isinstance(u, str) and not isinstance(j, str)
            found[element] = (kind, shell, round(u - j, 4)) if only_difference else (kind, shell, u, j)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in sorted(value.items())}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
