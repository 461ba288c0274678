"""The head of OUTCAR: version, inputs and parameters, k points."""

from __future__ import annotations

import numpy as np

from tests.stand_in_vasp.calculation import Calculation
from tests.stand_in_vasp.version import Version

RULE = "-" * 104


def _flag(value: bool) -> str:
    return "T" if value else "F"


def plane_waves(calculation: Calculation) -> int:
    """Return the number of plane waves below ENCUT."""
    volume = abs(np.linalg.det(calculation.crystal.lattice))
    return int(volume * (0.262468 * float(calculation.tags["ENCUT"])) ** 1.5 / (6 * np.pi**2))


def header(calculation: Calculation, version: Version) -> str:
    """Return the text up to the first electronic step."""
    c, t = calculation, calculation.tags
    titles = "".join(f" POTCAR:    {p.title}\n" for p in c.potentials)
    potcars = "".join(
        f"   VRHFIN ={p.symbol}: synthetic\n   LEXCH  = {p.functional}\n   TITEL  = {p.title}\n"
        f"   POMASS = {p.mass:8.3f}; ZVAL   = {p.valence:8.3f}    mass and valenz\n"
        f"   ENMAX  = {p.enmax:8.3f}; ENMIN  = {0.75 * p.enmax:8.3f} eV\n"
        for p in c.potentials
    )
    tags = "".join(f"   {name} = {value}\n" for name, value in c.incar.items() if not isinstance(value, list))
    planes, points, grid = plane_waves(c), len(c.mesh.points), c.grid()
    bands = f"   number of bands    NBANDS= {c.bands:6d}"
    waves = "".join(
        f" k-point {i:4d} : {k[0]:9.4f}{k[1]:7.4f}{k[2]:7.4f}  plane waves: {planes:8d}\n"
        for i, k in enumerate(c.mesh.points, 1)
    )
    counts = "".join(f"{n:5d}" for n in c.counts)
    return f"""{version.banner}

 executed on             LinuxIFC date 2024.01.01  12:00:00
{version.outcar_running}
 distrk:  each k-point on    1 cores,    1 groups
 distr:  one band on NCORES_PER_BAND=   1 cores,    1 groups


{RULE}


 INCAR:
{tags}
{titles * 2}{potcars}
 POSCAR: {c.crystal.comment}

 Dimension of arrays:
   k-points           NKPTS = {points:6d}   k-points in BZ     NKDIM = {points:6d}{bands}
   number of dos      NEDOS = {t["NEDOS"]:6d}   number of ions     NIONS = {len(c.symbols):6d}
   non local maximal  LDIM  =      6   non local SUM 2l+1 LMDIM =     18
   total plane-waves  NPLWV = {int(np.prod(grid)):6d}
   dimension x,y,z NGXF= {grid[0]:5d} NGYF= {grid[1]:4d} NGZF= {grid[2]:4d}
   ions per type =            {counts}

 Startparameter for this run:
   NWRITE =      2    write-flag & timer
   PREC   = {str(t["PREC"])[:6]:<6}    normal or accurate (medium, high low for compatibility)
   ISTART = {t["ISTART"]:6d}    job   : 0-new  1-cont  2-samecut
   ICHARG = {t["ICHARG"]:6d}    charge: 1-file 2-atom 10-const
   ISPIN  = {t["ISPIN"]:6d}    spin polarized calculation?
   LNONCOLLINEAR =      {_flag(t["LNONCOLLINEAR"])} non collinear calculations
   LSORBIT =      {_flag(t["LSORBIT"])}    spin-orbit coupling

 Electronic Relaxation 1
   ENCUT  = {t["ENCUT"]:6.1f} eV
   NELM   = {t["NELM"]:6d};   NELMIN= {t["NELMIN"]:2d}; NELMDL= {t["NELMDL"]:2d}     # of ELM steps
   EDIFF  = {t["EDIFF"]:8.1E}   stopping-criterion for ELM
   LREAL  =      {_flag(bool(t["LREAL"]))}    real-space projection
   LASPH   =      {_flag(t["LASPH"])}    aspherical Exc in radial PAW
 Ionic relaxation
   EDIFFG = {t["EDIFFG"]:8.1E}   stopping-criterion for IOM
   NSW    = {t["NSW"]:6d}    number of steps for IOM
   IBRION = {t["IBRION"]:6d}    ionic relax: 0-MD 1-quasi-New 2-CG
   ISIF   = {t["ISIF"]:6d}    stress and relaxation
   ISYM   = {t["ISYM"]:6d}    0-nonsym 1-usesym 2-fastsym
   POTIM  = {t["POTIM"]:8.4f}    time-step for ionic-motion
 DOS related values:
   ISMEAR = {t["ISMEAR"]:6d};   SIGMA  = {t["SIGMA"]:6.2f}  broadening in eV -4-tet -1-fermi 0-gaus
 Electronic relaxation 2 (details)
   IALGO  =     38    algorithm
 Dipole corrections
   LMONO  =      F    monopole corrections only (constant potential shift)
   LDIPOL =      {_flag(t["LDIPOL"])}    correct potential (dipole corrections)
   IDIPOL = {t["IDIPOL"]:6d}    1-x, 2-y, 3-z, 4-all directions
 Write flags
   LWAVE        =      {_flag(t["LWAVE"])}    write WAVECAR
   LVTOT        =      {_flag(t["LVTOT"])}    write LOCPOT, total local potential
   LVHAR        =      {_flag(t["LVHAR"])}    write LOCPOT, Hartree potential only
   LORBIT = {t["LORBIT"]:6d}    0 simple, 1 ext, 2 COOP (PROOUT), +10 PAW based schemes
 Exchange correlation treatment:
   GGA     =    {t["GGA"]}    GGA type
   NELECT = {c.electrons:12.4f}    total number of electrons



{RULE}


{waves}
 maximum and minimum number of plane-waves per node : {planes:9d} {planes:8d}

"""
