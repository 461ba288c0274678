"""Which tags of INCAR keep the energies of two finished runs from being subtracted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from stores.records import VerdictStatus
from tests.jobs import minimal_vasprun as minimal
from workflows.engines.vasp.settings import NO_EFFECT, energy_tags
from workflows.engines.vasp.vasprun import VasprunData
from workflows.jobs.ingest.folders import read_run
from workflows.jobs.ingest.ingest import plan
from workflows.jobs.ingest.records import surface_of
from workflows.jobs.ingest.runs import FinishedRun, ingested_method
from workflows.jobs.ingest.settings import differences


def runs(
    folder: Path, slab: dict[str, Any], bulk: dict[str, Any], **kinds: Any
) -> tuple[FinishedRun, FinishedRun]:
    one = read_run(minimal.write(folder / "slab", minimal.slab(**slab, **kinds)))
    return one, read_run(minimal.write(folder / "bulk", minimal.bulk(**bulk)))


ON_MOMENTS = {"I_CONSTRAINED_M": 1}
D3BJ, HYBRID = {"IVDW": 12}, {"LHFCALC": True}

# tag, its value in the slab and in the bulk (None: not set), other tags of both
DIFFERENT = [
    ("ML_IWEIGHT", 3, None, {}),
    ("LSOL", True, None, {}),
    ("LSOL", None, True, {}),
    ("EB_K", 40.0, None, {"LSOL": True}),
    ("TAU", 0.0, None, {"LSOL": True}),
    ("EFIELD", 0.05, None, {}),
    ("EFIELD_PEAD", [0.0, 0.0, 0.01], None, {}),
    ("NUPDOWN", 4.0, None, {}),
    ("NUPDOWN", 0, None, {}),
    ("I_CONSTRAINED_M", 1, None, {}),
    ("LAMBDA", 10.0, 20.0, ON_MOMENTS),
    ("M_CONSTR", [0.0, 0.0, 1.0], None, ON_MOMENTS),
    ("RWIGS", [1.5], [1.6], ON_MOMENTS),
    ("PSTRESS", None, 100.0, {}),
    ("SCALEE", 0.5, None, {}),
    ("LIBXC1", "GGA_X_PBE", "GGA_X_B88", {"GGA": "LI"}),
    ("LIBXC2", "GGA_C_PBE", None, {"GGA": "LI"}),
    ("IVDW", 12, None, {}),
    ("IVDW", 11, 12, {}),
    ("LVDW", True, None, {}),
    ("VDW_S8", 2.0, 0.787, D3BJ),
    ("VDW_S8", 2.0, None, D3BJ),
    ("VDW_A1", 0.5, None, D3BJ),
    ("VDW_RADIUS", 30.0, None, D3BJ),
    ("VDW_SR", 1.0, None, {"IVDW": 11}),
    ("VDW_S8", 0.7875, None, {**D3BJ, "GGA": "PS"}),
    ("VDW_C6", [10.0], [12.0], {"IVDW": 1}),
    ("VDW_R0", [1.4], None, {"IVDW": 1}),
    ("LVDW_EWALD", True, None, {"IVDW": 1}),
    ("LUSE_VDW", True, None, {}),
    ("ZAB_VDW", -1.8867, None, {"LUSE_VDW": True}),
    ("PARAM1", 0.22, 0.1234, {"LUSE_VDW": True}),
    ("AGGAC", 0.0, None, {}),
    ("ALDAC", 0.5, None, {}),
    ("METAGGA", "SCAN", None, {}),
    ("METAGGA", "SCAN", "R2SCAN", {}),
    ("LMAXTAU", 8, None, {"METAGGA": "SCAN"}),
    ("GGA", "PS", "PE", {}),
    ("GGA", "B5", "B3", {}),
    ("GGA_COMPAT", False, None, {}),
    ("VOSKOWN", 1, None, {}),
    ("LASPH", True, None, {}),
    ("LSORBIT", True, None, {}),
    ("LNONCOLLINEAR", True, None, {}),
    ("SAXIS", [1.0, 0.0, 0.0], None, {"LSORBIT": True}),
    ("LSPIRAL", True, None, {}),
    ("LDAUU", [3.0], None, {"LDAU": True}),
    ("LDAUU", [3.0], [4.0], {"LDAU": True}),
    ("LDAUL", [1], [2], {"LDAU": True, "LDAUU": [3.0]}),
    ("LDAUTYPE", 1, 2, {"LDAU": True, "LDAUU": [3.0]}),
    ("LDAUJ", [1.0], [0.5], {"LDAU": True, "LDAUU": [3.0], "LDAUTYPE": 1}),
    ("LHFCALC", True, None, {}),
    ("AEXX", 0.3, None, HYBRID),
    ("AEXX", 0.3, 0.25, HYBRID),
    ("HFSCREEN", 0.2, None, HYBRID),
    ("HFSCREEN", 0.207, 0.2, HYBRID),
    ("NKRED", 2, None, HYBRID),
    ("LTHOMAS", True, None, HYBRID),
    ("PRECFOCK", "Fast", None, HYBRID),
    ("ENCUT", 500.0, 400.0, {}),
    ("SIGMA", 0.1, None, {}),
    ("ISMEAR", 0, None, {}),
    ("SMEARINGS", [0.1, 0.2], None, {}),
    ("FERWE", [1.0, 0.0], None, {}),
    ("PREC", "Normal", "Accurate", {}),
    ("PREC", "Accurate", None, {}),
    ("LREAL", "Auto", False, {}),
    ("ROPT", [-2e-4], [-5e-4], {"LREAL": "Auto"}),
    ("ADDGRID", True, None, {}),
    ("ENAUG", 800.0, 600.0, {}),
    ("LMAXMIX", 4, None, {}),
    ("LMAXPAW", 0, None, {}),
    ("NLSPLINE", True, None, {}),
    ("KGAMMA", False, None, {}),
    ("LMONO", True, None, {}),
    ("EPSILON", 80.0, None, {}),
    ("ICORELEVEL", 2, None, {}),
    ("CLNT", 1, None, {"ICORELEVEL": 2}),
    ("NCRYSTAL", 2, None, {}),
    ("IMAGES", 4, None, {}),
    ("OFIELD_A", 0.1, None, {}),
    ("TAG_OF_A_LATER_VASP", "on", None, {}),
    ("TAG_OF_A_LATER_VASP", 1.0, 2.0, {}),
    ("PLUGINS/FORCE_AND_STRESS", True, None, {}),
]


@pytest.mark.parametrize(("tag", "slab", "bulk", "both"), DIFFERENT)
def test_a_tag_that_changes_energies_is_named_with_both_values(tmp_path, tag, slab, bulk, both):
    pair = runs(tmp_path, {"incar": both | {tag: slab}}, {"incar": both | {tag: bulk}})
    lines = [line for line in differences(*pair) if tag in line.split(" of ")[0]]
    assert len(lines) == 1, differences(*pair)
    for value in (slab, bulk):
        number = value[-1] if isinstance(value, list) else value
        if isinstance(number, float) and tag not in {"LDAUJ"}:
            assert re.search(rf"(?<![\d.]){re.escape(f'{number:g}')}(?![\d.])", lines[0]), lines
    assert str(tmp_path / "bulk") in lines[0]
    assert "of the slab" in lines[0]


EQUAL = [
    ("LSOL", True, True, {}),
    ("LSOL", False, None, {}),
    ("EB_K", 78.4, None, {"LSOL": True}),
    ("EFIELD", 0.0, None, {}),
    ("NUPDOWN", -1.0, None, {}),
    ("PSTRESS", None, 0.0, {}),
    ("I_CONSTRAINED_M", 0, None, {}),
    ("LAMBDA", 1.0, None, {}),
    ("GGA", "PE", None, {}),
    ("GGA", "PE", "--", {}),
    ("METAGGA", "--", None, {}),
    ("METAGGA", "scan", "SCAN", {}),
    ("GGA_COMPAT", True, None, {}),
    ("LASPH", False, None, {}),
    ("SAXIS", [0.0, 0.0, 1.0], None, {}),
    ("VOSKOWN", 0, None, {}),
    ("IVDW", 1, 10, {}),
    ("IVDW", 0, None, {}),
    ("VDW_S8", 0.7875, None, D3BJ),
    ("VDW_RADIUS", 50.2, None, D3BJ),
    ("VDW_S6", 0.75, None, {"IVDW": 1}),
    ("ZAB_VDW", -0.8491, None, {"LUSE_VDW": True}),
    ("AGGAC", 1.0, None, {}),
    ("AEXX", 0.25, None, HYBRID),
    ("ALDAX", 0.75, None, HYBRID),
    ("HFSCREEN", 0.0, None, HYBRID),
    ("NKRED", 1, None, HYBRID),
    ("PRECFOCK", "Normal", "", HYBRID),
    ("PRECFOCK", "F", "Fast", HYBRID),
    ("LMAXTAU", 6, None, {"METAGGA": "SCAN", "LASPH": True}),
    ("LDAUU", [0.0], None, {"LDAU": True}),
    ("LDAUU", [4.0], [3.0], {"LDAU": True, "LDAUL": [-1]}),
    ("LDAUPRINT", 2, None, {}),
    ("PREC", "Accurate", "accura", {}),
    ("PREC", "Accurate", "A", {}),
    ("PREC", "Normal", None, {}),
    ("LREAL", "Auto", "A", {}),
    ("LREAL", ".FALSE.", False, {}),
    ("ADDGRID", False, None, {}),
    ("LMAXMIX", 2, None, {}),
    ("KGAMMA", True, None, {}),
    ("ICORELEVEL", 1, None, {}),
    ("EPSILON", 1, None, {}),
    ("RWIGS", [1.5], None, {}),
    ("ROPT", [-2e-4], None, {}),
    ("LDIPOL", True, None, {}),
    ("IDIPOL", 3, None, {}),
    ("DIPOL", [0.5, 0.5, 0.5], None, {}),
    ("MAGMOM", [1.0] * 5, [0.6, 0.6], {}),
    ("NBANDS", 40, 12, {}),
    ("KSPACING", 0.2, 0.3, {}),
    ("KPOINT_BSE", [-1, 0, 0, 0], None, {}),  # in the INCAR that VASP 5.4.1 writes back
    *[(tag, 7.0, None, {}) for tag in ("AMIX", "BMIX", "SYMPREC", "POTIM", "EMAX", "TIME", "SMASS", "RTIME")],
    *[
        (tag, 3, None, {})
        for tag in ("NPAR", "NCORE", "KPAR", "NSIM", "NEDOS", "NWRITE", "LORBIT", "ISYM", "NFREE")
    ],
    *[(tag, True, None, {}) for tag in ("LPLANE", "LWAVE", "LVTOT", "LVHAR", "LAECHG", "LELF", "LEPSILON")],
    *[(tag, "Fast", "Normal", {}) for tag in ("ALGO", "SYSTEM")],
]


@pytest.mark.parametrize(("tag", "slab", "bulk", "both"), EQUAL)
def test_defaults_and_tags_that_change_no_energy_are_no_difference(tmp_path, tag, slab, bulk, both):
    pair = runs(tmp_path, {"incar": both | {tag: slab}}, {"incar": both | {tag: bulk}})
    assert differences(*pair) == []


@pytest.mark.parametrize("tag", ["EFIELD", "PSTRESS", "EPSILON", "LAMBDA", "AGGAC", "TAG_OF_A_LATER_VASP"])
def test_settings_in_effect_count_also_where_incar_does_not_name_them(tmp_path, tag):
    (line,) = differences(*runs(tmp_path, {"parameters": {tag: 0.25}}, {}))
    assert line.startswith(f"{tag} of ")


def test_what_only_another_version_echoes_is_no_difference(tmp_path):
    pair = runs(tmp_path, {"parameters": {"TAG_OF_A_LATER_VASP": 1}, "version": "9.1.0"}, {})
    assert differences(*pair) == []
    assert differences(
        *runs(tmp_path / "given", {"incar": {"TAG_OF_A_LATER_VASP": 1}, "version": "9.1.0"}, {})
    )


# settings that VASP 5.4 and 6.4 echo for a slab and a bulk of one method
ECHO = {
    "5.4.4": {
        "LCOMPAT": False, "ENAUG": 400.0, "NGX": 24, "NGY": 24, "MODEL_EPS0": 6.8, "ROPT": [0.0],
        "LORBIT": False, "GGA": "--", "Zab_VDW": -0.8491, "PARAM3": 0.0, "LMETAGGA": False, "TAUPAR": 1,
    },
    "6.4.3": {
        "LCOMPAT": False, "ENAUG": 500.0, "NGX": 24, "NGY": 24, "MODEL_EPS0": 9.1, "XC_C": "1", "LORBIT": 0,
        "ROPT": [0.0], "GGA    ": "PE", "ZAB_VDW": -0.8491, "AMGGAX": 1.0, "IVDW_NL": -1, "BPARAM": 6.3,
    },
}  # fmt: skip


def test_the_echoes_of_two_versions_are_no_difference(tmp_path):
    kinds = [{"parameters": echo, "version": version} for version, echo in ECHO.items()]
    kinds[0]["parameters"] = {**kinds[0]["parameters"], "NGZ": 192, "EBREAK": 1e-8, "WEIMIN": 0.0}
    kinds[1]["parameters"] = {
        **kinds[1]["parameters"],
        "NGZ": 40,
        "EBREAK": 3e-8,
        "WEIMIN": 0.001,
        "ENAUG": 400.0,
    }
    assert differences(*runs(tmp_path, *kinds)) == []


ECHO_OF_6_4 = """
SYSTEM=Default LCOMPAT=F PREC=accura ENMAX=600 ENAUG=605.392 EDIFF=1e-8 IALGO=38 IWAVPR=10 NBANDS=20
NBANDSLOW=-1 NBANDSHIGH=-1 NELECT=33 TURBO=0 IRESTART=0 NREBOOT=0 NMIN=0 EREF=0 ISMEAR=2 SIGMA=.2
KSPACING=.5 KGAMMA=T KBLOWUP=T LREAL=T LMAXPAW=-100 LMAXMIX=4 NLSPLINE=F ISTART=0 ICHARG=11 INIWAV=1
ISPIN=1 LNONCOLLINEAR=F MAGMOM=1 NUPDOWN=-1.0 LSORBIT=F LSPIRAL=F LZEROZ=F LASPH=T LMETAGGA=F
NELM=100 NELMDL=-5 NELMIN=8 ENINI=600 LDIAG=T LSUBROT=F WEIMIN=0 EBREAK=0 DEPER=.3 NRMM=4 TIME=.4
AMIX=.4 BMIX=1 AMIN=.1 AMIX_MAG=1.6 BMIX_MAG=1 IMIX=4 MIXFIRST=F MAXMIX=-45 WC=100 INIMIX=1 MIXPRE=1
MREMOVE=5 LDIPOL=F LMONO=F IDIPOL=0 EPSILON=1 DIPOL=-100 EFIELD=0 LVACPOTAV=F NGX=32 NGY=32 NGZ=32
NGXF=64 NGYF=64 NGZF=64 ADDGRID=T NSW=0 IBRION=-1 MDALGO=0 ISIF=2 PSTRESS=0 EDIFFG=1e-7 NFREE=0
POTIM=.5 SMASS=-3 SCALEE=1 TEBEG=1e-4 TEEND=1e-4 NBLOCK=1 KBLOCK=1 NPACO=256 APACO=10 ISYM=2
SYMPREC=1e-5 LORBIT=11 RWIGS=-1 NEDOS=301 EMIN=10 EMAX=-10 EFERMI=0 NWRITE=2 LWAVE=F LDOWNSAMPLE=F
LCHARG=T LPARD=F LVTOT=F LVHAR=F LELF=F LOPTICS=F STM=0 NPAR=10 NSIM=4 NBLK=-1 LPLANE=T LSCALAPACK=T
LSCAAWARE=F LSCALU=F LASYNC=F LORBITALREAL=F IDIOT=3 PHON_NSTRUCT=-1 LMUSIC=F POMASS=87 DARWINR=0
DARWINV=1 LCORR=T GGA_COMPAT=T LBERRY=F ICORELEVEL=0 LDAU=T LDAUTYPE=1 LDAUL=-1 LDAUU=0 LDAUJ=0
LDAUPRINT=2 I_CONSTRAINED_M=0 GGA=PE XC_C=1 VOSKOWN=0 LHFCALC=F LSYMGRAD=F LHFONE=F LRHFCALC=F
LTHOMAS=F LMODELHF=F LFOCKACE=F ENCUT4O=-1 EXXOEP=0 FOURORBIT=0 AEXX=0 HFALPHA=0 MCALPHA=0 ALDAX=1
AGGAX=1 AMGGAX=1 ALDAC=1 AGGAC=1 AMGGAC=1 NKREDX=1 NKREDY=1 NKREDZ=1 SHIFTRED=F ODDONLY=F EVENONLY=F
LMAXFOCK=0 NMAXFOCKAE=0 LFOCKAEDFT=F HFSCREEN=0 HFSCREENC=0 NBANDSGWLOW=0 LUSE_VDW=F IVDW_NL=-1
LSPIN_VDW=F ZAB_VDW=-0.84910 GAMMA_VDW=1.39626340 ALPHA_VDW=0 PARAM1=.1234 PARAM2=1 PARAM3=0
BPARAM=6.3 CPARAM=.0093 MODEL_GW=0 MODEL_EPS0=6.8 MODEL_ALPHA=1 LEPSILON=F LRPA=F LNABLA=F LVEL=F
KINTER=0 CSHIFT=.1 OMEGAMAX=-1 DEG_THRESHOLD=.002 RTIME=-.1 WPLASMAI=0 DFIELD=0 WPLASMA=0 NUCIND=F
MAGPOS=0 LNICSALL=T ORBITALMAG=F LMAGBLOCH=F LCHIMAG=F LGAUGE=T MAGATOM=0 MAGDIPOL=0 AVECCONST=0
LALL_IN_ONE=F IALL_IN_ONE=-1 NBANDS_WAVE=-1 LFINITE_TEMPERATURE=F LADDER=F LRPAFORCE=F LFXC=F
LHARTREE=T IBSE=0 KPOINT=-1 LTCTC=F LTCTE=F LTETE=F LTRIPLET=F LFXCEPS=F LFXHEG=F NATURALO=2
LHOLEGF=F L2ORDER=F LDMP1=F LMP2LT=F LSMP2LT=F LGWLF=F LUSEW=F ENCUTGW=-1.6 ENCUTGWSOFT=-1.6
ENCUTLF=-1 ESF_SPLINES=F LESF_SPLINES=F ESF_CONV=.01 ESF_NINTER=15 LMAXMP2=-1 SCISSOR=0 NOMEGA=0
NOMEGAR=0 NBANDSGW=-1 NBANDSO=-1 NBANDSV=-1 NELMGW=1 NELMHF=1 DIM=3 IESPILON=4 ANTIRES=0
OMEGAMIN=-30 OMEGATL=-200 OMEGAGRID=0 LSELFENERGY=F SELFENERGY=F LSPECTRAL=F LSPECTRALGW=F
LSINGLES=F LFERMIGW=F ODDONLYGW=F EVENONLYGW=F NKREDLFX=1 NKREDLFY=1 NKREDLFZ=1 MAXMEM=2800
TELESCOPE=0 NTAUPAR=-1 NOMEGAPAR=-1 TAUPAR=1 OMEGAPAR=-1 DAMP_NEWTON=.8 LAMBDA=1 OFIELD_KAPPA=0
OFIELD_Q6_NEAR=0 OFIELD_Q6_FAR=0 OFIELD_A=0 KPOINTS_OPT_MODE=1 LKPOINTS_OPT=F
"""
"""Settings in effect that VASP 6.4 and 5.4 write: most of them defaults."""


def test_of_a_complete_echo_only_what_departs_from_the_defaults_counts():
    pairs = (word.split("=") for word in ECHO_OF_6_4.split())
    echo: dict[str, Any] = {name: {"T": True, "F": False}.get(value, value) for name, value in pairs}
    echo |= {"SAXIS": [0.0, 0.0, 1.0], "QSPIRAL": [0.0] * 3, "OFIELD_K": [0.0] * 3, "PRECFOCK": ""}
    tags = energy_tags(VasprunData(parameters=echo, potcars=(("Sr", ""),))).values
    set_by_hand = {"PREC": "a", "ENAUG": 605.392, "LREAL": True, "LMAXMIX": 4, "LASPH": True, "ADDGRID": True}
    assert tags == set_by_hand
    hybrid = {"LHFCALC": True, "AEXX": 0.25, "ALDAX": 0.75, "AGGAX": 0.75}
    assert energy_tags(VasprunData(parameters=echo | hybrid)).values == set_by_hand


@pytest.mark.parametrize(("ngz", "differs"), [(128, False), (160, False), (90, True), (60, True)])
def test_an_fft_grid_of_another_spacing_is_a_difference(tmp_path, ngz, differs):
    slab = {"parameters": {"NGX": 16, "NGY": 16, "NGZ": ngz}}
    bulk = {"incar": {"NGX": 16, "NGY": 16, "NGZ": 26}}
    assert bool(differences(*runs(tmp_path, slab, bulk))) is differs


@pytest.mark.parametrize(("points", "differs"), [(1, True), (6, True), (60, False)])
def test_a_list_of_k_points_that_is_too_short_is_a_difference(tmp_path, points, differs):
    slab, _ = runs(tmp_path, {}, {})
    text = re.sub("(?s)<generation.*</generation>", "", minimal.bulk())
    text = text.replace("<v>0 0 0</v></varray></kpoints>", "<v>0 0 0</v>" * points + "</varray></kpoints>")
    found = differences(slab, read_run(minimal.write(tmp_path / "listed", text)))
    assert bool(found) is differs
    assert all("k points" in line for line in found)


@pytest.mark.parametrize(
    ("tag", "slab", "reference", "differs"),
    [
        ("VDW_C6", [10.0, 20.0], [10.0], False),
        ("VDW_C6", [10.0, 20.0], [20.0], True),
        ("VDW_C6", [20.0, 10.0], [10.0], True),
        ("LDAUU", [0.0, 4.0], None, False),
        ("LDAUU", [2.0, 4.0], None, True),
        ("LDAUU", [0.0, 4.0], [1.0], True),
        ("ROPT", [-1e-3, -2e-3], [-1e-3], False),
        ("ROPT", [-1e-3, -2e-3], [-2e-3], True),
        ("LMAXMIX", 4, 2, False),
        ("ENAUG", 600.0, 400.0, False),
        ("LSOL", True, None, True),
    ],
)
def test_of_the_species_of_a_reference_only_its_own_values_count(tmp_path, tag, slab, reference, differs):
    both = {"LDAU": True, "LREAL": "Auto"}
    slab_run, bulk_run = runs(
        tmp_path,
        {"incar": both | {tag: slab}, "species": ("Mg", "Mg", "Ni", "Ni", "Ni")},
        {"incar": both | {tag: reference}},
    )
    found = differences(slab_run, bulk_run)
    assert bool(found) is differs
    assert all(tag in line for line in found)
    assert not any("of Ni" in line for line in found)


@pytest.mark.parametrize(
    "tags",
    [
        {"LDAU": True, "LDAUU": 3.0},
        {"LDAU": True, "LDAUU": ["U", "3"], "LDAUJ": "none"},
        {"LHFCALC": True, "AEXX": "a quarter", "HFSCREEN": "****"},
        {"LUSE_VDW": True, "ZAB_VDW": "****", "IVDW": "D3"},
        {"EFIELD": float("nan"), "PSTRESS": float("inf"), "LAMBDA": 1e300},
        {"VDW_C6": [1.0, 2.0, 3.0], "SAXIS": "z", "LSOL": "perhaps"},
    ],
)
def test_a_value_that_is_none_is_a_difference_and_no_traceback(tmp_path, tags):
    pair = runs(
        tmp_path, {"incar": tags, "parameters": {"ISPIN": 2, "MAGMOM": 1.0}}, {"parameters": {"ISPIN": 2}}
    )
    assert differences(*pair)
    assert ingested_method(pair[0].settings).fingerprint


def test_a_spin_polarised_run_without_a_known_moment_is_a_difference(tmp_path):
    (line,) = differences(*runs(tmp_path, {"parameters": {"ISPIN": 2}}, {}))
    assert "ISPIN" in line


def test_the_verdict_names_the_tag(tmp_path):
    runs(tmp_path, {"incar": {"EFIELD": 0.05}}, {})
    (pair,) = plan(tmp_path)[0].pairs
    verdict = surface_of(pair)[0].verdicts.surface_energy
    assert verdict.status is VerdictStatus.INCONSISTENT_SETTINGS
    assert "EFIELD of" in verdict.reason


def test_equal_settings_give_the_surface_energy_and_share_a_fingerprint(tmp_path):
    plain, _ = runs(tmp_path / "plain", {}, {})
    slab, bulk = runs(
        tmp_path / "solvent", {"incar": {"LSOL": True, "EB_K": 40}}, {"incar": {"LSOL": True, "EB_K": 40}}
    )
    (pair,) = plan(tmp_path / "solvent")[0].pairs
    record = surface_of(pair)[0]
    assert record.verdicts.surface_energy.status is VerdictStatus.ACCEPTED
    assert record.surface_energy == pytest.approx(minimal.GAMMA)
    assert ingested_method(slab.settings) == ingested_method(bulk.settings) == record.method
    assert record.method.extra["tags"] == {"EB_K": 40, "LSOL": True}
    assert ingested_method(plain.settings).fingerprint != record.method_fingerprint


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"PREC": "Accurate", "LREAL": "Auto", "ADDGRID": True, "LMAXMIX": 4, "KGAMMA": False, "ENAUG": 800.0},
        {"ALGO": "Fast", "LDIPOL": True, "IDIPOL": 3, "NPAR": 4, "EFIELD": 0.0, "ISYM": 0, "RWIGS": [1.5]},
    ],
)
def test_the_fingerprint_of_plain_pbe_stays(tmp_path, tags):
    run = read_run(minimal.write(tmp_path / "run", minimal.bulk(incar=tags)))
    assert ingested_method(run.settings).fingerprint == "vasp-ingested-b6f04b90472e3c57"


def test_the_list_of_tags_without_effect_is_short_and_holds_no_other(tmp_path):
    assert len(NO_EFFECT) < 300
    assert not NO_EFFECT & {tag for tag, *_ in DIFFERENT} - {"RWIGS"}
