"""INCAR tags that change energies: every tag but those known not to, with VASP's defaults.

A tag that is not listed here, such as one of a later VASP, counts as one that changes energies. Names,
defaults and what VASP echoes are those of its wiki and of vasprun.xml files of VASP 5.4 to 6.4.
"""

from __future__ import annotations

from typing import Any

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
