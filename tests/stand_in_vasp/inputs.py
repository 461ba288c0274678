"""Reading INCAR, KPOINTS, POSCAR and POTCAR as VASP does, and filling in VASP's defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


class VaspInputError(Exception):
    """VASP would stop here; the text is what it prints."""


INTEGERS = [
    "ISTART", "ICHARG", "NELM", "NELMIN", "NELMDL", "NSW", "IBRION", "ISIF", "ISPIN", "ISMEAR", "ISYM",
    "LORBIT", "IDIPOL", "NBANDS", "NEDOS", "NCORE", "KPAR", "NPAR", "IMIX", "ISEARCH", "LMAXMIX",
    "NWRITE", "IALGO", "NSIM", "IVDW", "LDAUTYPE", "LDAUPRINT", "NBLOCK", "KBLOCK", "MAXMIX", "NGX",
    "NGY", "NGZ", "NGXF", "NGYF", "NGZF", "IWAVPR", "INIWAV", "ICORELEVEL",
]  # fmt: skip
LOGICALS = [
    "LWAVE", "LCHARG", "LVTOT", "LVHAR", "LDIPOL", "LASPH", "LMONO", "LDAU", "LSORBIT", "LNONCOLLINEAR",
    "LAECHG", "LELF", "LHFCALC", "KGAMMA", "ADDGRID", "LPLANE", "LSCALU", "LMIXTAU", "LCALCPOL",
    "LEPSILON", "LSEPB", "LVACPOTAV",
]  # fmt: skip
VECTORS = ["MAGMOM", "DIPOL", "LDAUU", "LDAUJ", "ROPT", "QUAD_EFG"]
STRINGS = ["SYSTEM", "PREC", "ALGO", "GGA", "METAGGA"]


def parse_incar(text: str) -> dict[str, Any]:
    """Return the tags of an INCAR, names in capitals, values in Python's types."""
    tags: dict[str, Any] = {}
    for line in text.splitlines():
        for part in re.split(r"[#!]", line, maxsplit=1)[0].split(";"):
            name, equals, value = part.partition("=")
            if equals:
                tags[name.strip().upper()] = _value(name.strip().upper(), value.strip())
    return tags


def _value(name: str, text: str) -> Any:
    if name in STRINGS:
        return text
    if name == "LREAL":
        return text[:1].upper() if text.strip(".")[:1].upper() in "AO" else _logical(text)
    try:
        if name in LOGICALS:
            return _logical(text)
        if name in VECTORS:
            return [x for word in text.split() for x in _repeated(word)]
        if name in INTEGERS:
            return int(float(text.split()[0]))
        return float(text.split()[0].replace("D", "E").replace("d", "e"))
    except (ValueError, IndexError):
        if name in INTEGERS + LOGICALS + VECTORS:
            raise VaspInputError(
                f" Error reading item '{name}' from file INCAR.\n Error code was IERR= 5 ... ."
            ) from None
        return text


def _logical(text: str) -> bool:
    letter = text.strip().strip(".")[:1].upper()
    if letter not in ("T", "F"):
        raise ValueError(text)
    return letter == "T"


def _repeated(word: str) -> list[float]:
    count, star, value = word.partition("*")
    return [float(value)] * int(count) if star else [float(word)]


@dataclass
class Crystal:
    """POSCAR: rows of ``lattice`` and Cartesian ``positions`` in A, ``free`` of shape (n, 3)."""

    comment: str
    lattice: np.ndarray
    positions: np.ndarray
    names: list[str]
    counts: list[int]
    free: np.ndarray
    selective: bool

    @property
    def fractional(self) -> np.ndarray:
        return self.positions @ np.linalg.inv(self.lattice)


def parse_poscar(text: str) -> Crystal:
    """Read a POSCAR of VASP 5 or later, direct or Cartesian, with or without selective dynamics."""
    lines = text.splitlines()
    try:
        scale = float(lines[1].split()[0])
        lattice = np.array([[float(x) for x in line.split()[:3]] for line in lines[2:5]])
        if scale < 0:
            scale = (-scale / abs(np.linalg.det(lattice))) ** (1 / 3)
        lattice = lattice * scale
        names = [re.split(r"[/_]", word)[0] for word in lines[5].split()]
        counts = [int(word) for word in lines[6].split()]
        selective = lines[7].strip()[:1] in "sS"
        start = 8 + selective
        cartesian = lines[start - 1].strip()[:1] in "cCkK"
        rows = [line.split() for line in lines[start : start + sum(counts)]]
        values = np.array([[float(x) for x in row[:3]] for row in rows]).reshape(-1, 3)
        free = np.array([[not selective or x[0] in "Tt" for x in (row[3:6] or "TTT")] for row in rows])
    except (IndexError, ValueError):
        raise VaspInputError(" ERROR: there must be 1 or 3 items on line 2 of POSCAR") from None
    if len(values) != sum(counts) or not counts:
        raise VaspInputError(" ERROR: end of file while reading POSCAR")
    positions = values * scale if cartesian else values @ lattice
    return Crystal(lines[0].strip(), lattice, positions, names, counts, free, selective)


@dataclass
class Potential:
    """What is read from one POTCAR."""

    title: str
    symbol: str
    label: str
    valence: float
    mass: float
    enmax: float
    functional: str


def parse_potcar(text: str) -> list[Potential]:
    """Read the headers of all potentials in a POTCAR."""
    found = []
    for block in text.split("End of Dataset"):
        title = re.search(r"TITEL\s*=\s*(.+)", block)
        if not title:
            continue
        numbers = {
            key: float(match[1])
            for key in ("ZVAL", "POMASS", "ENMAX")
            if (match := re.search(rf"{key}\s*=\s*([\d.]+)", block))
        }
        element = re.search(r"VRHFIN\s*=\s*([A-Za-z]+)", block)
        functional = re.search(r"LEXCH\s*=\s*(\S+)", block)
        label = title[1].split()[1]
        symbol = element[1] if element else label.split("_")[0]
        found.append(
            Potential(
                title[1].strip(),
                symbol,
                label,
                numbers["ZVAL"],
                numbers["POMASS"],
                numbers["ENMAX"],
                functional[1] if functional else "PE",
            )
        )
    return found


@dataclass
class Mesh:
    """k points: mesh, style, list (fractions of the reciprocal vectors, shape (n, 3)) and weights."""

    divisions: tuple[int, int, int]
    shift: tuple[float, float, float]
    style: str
    points: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)


def make_mesh(
    divisions: tuple[int, int, int], *, style: str = "Gamma", shift: tuple[float, float, float] = (0, 0, 0)
) -> Mesh:
    """Return a mesh reduced by k = -k only."""
    axes = []
    for n, s in zip(divisions, shift, strict=True):
        offset = s if style == "Gamma" else s + 0.5 * ((n + 1) % 2)
        k = (np.arange(n) + offset) / n
        axes.append(np.where(k > 0.5 + 1e-9, k - 1, k))
    points: dict[tuple[int, ...], int] = {}
    full = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    keep: list[np.ndarray] = []
    count: list[int] = []
    for k in full:
        minus = tuple(int(x) for x in np.round((-k % 1.0) * 1e6) % 1e6)
        if minus in points:
            count[points[minus]] += 1
            continue
        points[tuple(int(x) for x in np.round((k % 1.0) * 1e6) % 1e6)] = len(keep)
        keep.append(k)
        count.append(1)
    weights = np.array(count) / len(full)
    return Mesh(divisions, shift, style, np.array(keep), weights)


def parse_kpoints(text: str) -> Mesh:
    """Read a KPOINTS file with an automatic mesh (Gamma or Monkhorst-Pack)."""
    lines = [re.split(r"[#!]", line, maxsplit=1)[0].strip() for line in text.splitlines()]
    try:
        if int(lines[1].split()[0]) != 0:
            raise VaspInputError(" stand-in VASP: only automatic meshes in KPOINTS")
        style = "Gamma" if lines[2][:1] in "gG" else "Monkhorst-Pack"
        numbers = [int(x) for x in lines[3].split()[:3]]
        shift = [float(x) for x in lines[4].split()[:3]] if len(lines) > 4 and lines[4] else [0.0, 0.0, 0.0]
    except (IndexError, ValueError):
        raise VaspInputError(" Error reading KPOINTS file") from None
    return make_mesh((numbers[0], numbers[1], numbers[2]), style=style, shift=(shift[0], shift[1], shift[2]))


def mesh_of_spacing(lattice: np.ndarray, spacing: float) -> Mesh:
    """Return the mesh of KSPACING (1/A, with the factor 2 pi)."""
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(lattice), axis=0)
    n = [max(1, int(np.ceil(x / spacing))) for x in lengths]
    return make_mesh((n[0], n[1], n[2]))


def read_text(name: str) -> str:
    """Return the text of an input file; VASP stops without it."""
    path = Path(name)
    if not path.is_file():
        raise VaspInputError(
            f" ERROR: could not open {name} file\n forrtl: severe (29): file not found, file {path.name}"
        )
    return path.read_text()
