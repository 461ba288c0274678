"""A reader of vasprun.xml: one pass, little memory, and cut-off files as far as they go.

Densities of states and projections, which make most of a large file, are cut out of the byte stream before
the XML parser sees them. pymatgen's Vasprun takes 5 to 11 times as long for files with projections, reads
none that was cut off, and keeps neither the electrons of the POTCARs nor the words in place of numbers that
overflowed (`benchmarks/README.md`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, cast
from xml.etree.ElementTree import ParseError, XMLPullParser

import numpy as np

from stores.errors import InputError
from stores.input_files import DAMAGED, open_input

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CHUNK = 1 << 20
DEEPEST = 100  # elements within one another
MOST_ELEMENTS = 2_000_000
"""Elements of one section, of 100 bytes each; eigenvalues at 200 k points and 300 bands are 10^5."""
LONGEST_ELEMENT = 1 << 26  # bytes without an element that ends

_SKIPPED = (
    (b"<projected>", b"</projected>"),
    (b"<partial>", b"</partial>"),
    (b"<total>", b"</total>"),
    (b"<projected_kpoints_opt", b"</projected_kpoints_opt>"),
    (b"<eigenvalues_kpoints_opt", b"</eigenvalues_kpoints_opt>"),
    (b"<dielectricfunction", b"</dielectricfunction>"),
)
_ENERGIES = ("e_fr_energy", "e_0_energy")
_TEXT = re.compile(r"(?!nan|inf)[A-Za-z_.]*[A-Za-z_]", re.IGNORECASE)
_LONGEST_TAG = max(len(start) for start, _ in _SKIPPED)
_CONTROL = bytes(i for i in range(32) if i not in b"\t\n\r")
_SYMBOLS = {"X": "Xe", "r": "Zr"}  # VASP writes these two elements wrongly in some versions


@dataclass
class Geometry:
    """A cell with its atoms."""

    lattice: Floats  # rows a, b, c (A), shape (3, 3)
    positions: Floats  # fractional coordinates, shape (n, 3)
    # whether each coordinate of each atom may move, shape (n, 3); None without selective dynamics
    selective: NDArray[np.bool_] | None = None


@dataclass
class IonicStep:
    """One ionic step."""

    scf_steps: int  # electronic steps
    # with the electronic entropy, and extrapolated to zero smearing (eV); None if not written
    free_energy: float | None
    energy: float | None
    last_change: float | None = None  # of the free energy in the last electronic step (eV)


@dataclass
class VasprunData:
    """Content of a vasprun.xml as plain values."""

    version: str = ""  # of VASP, e.g. "6.3.0"
    incar: dict[str, Any] = field(default_factory=dict)  # tags given in INCAR; names in capitals
    parameters: dict[str, Any] = field(default_factory=dict)  # every setting in effect, separators flattened
    # of an automatic mesh: "Gamma", "Monkhorst-Pack" or "Auto", with divisions or the length they follow from
    # (A); None for an explicit list
    kpoint_style: str = ""
    kpoint_divisions: tuple[int, int, int] | None = None
    kpoint_length: float | None = None
    kpoint_shift: tuple[float, ...] = (0.0, 0.0, 0.0)
    n_kpoints: int = 0  # points used, symmetry taken into account
    species: tuple[str, ...] = ()  # element of each atom
    # title of the POTCAR of each species, in the order of POSCAR: (element, title)
    potcars: tuple[tuple[str, str], ...] = ()
    valence: float | None = None  # electrons that the POTCARs give the neutral cell; None if not written
    initial: Geometry | None = None
    final: Geometry | None = None  # the last complete one of a cut-off file
    forces: Floats | None = None  # on each atom in the last step (eV/A), shape (n, 3)
    stress: Floats | None = None  # of the cell in the last step (kB), shape (3, 3)
    steps: list[IonicStep] = field(default_factory=list)  # every complete ionic step
    fermi_energy: float | None = None  # as written (eV)
    # what stands in place of a finite number, such as ``********``, by what it should be: "energy", "forces"
    # of the last step, "Fermi energy"
    unreadable: dict[str, str] = field(default_factory=dict)
    eigenvalues: list[Floats] = field(default_factory=list)  # by spin (eV), shape (k points, bands)
    occupations: list[Floats] = field(default_factory=list)  # by spin, 0 to 1, shape (k points, bands)
    complete: bool = False  # whether the file was written to its end

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting in effect; that of INCAR where VASP does not echo it."""
        return self.parameters.get(name, self.incar.get(name, default))

    def integer(self, name: str, default: int) -> int:
        """Return a setting if it is an integer, else a default."""
        value = self.setting(name)
        return value if isinstance(value, int) else default

    def real(self, name: str, default: float) -> float:
        """Return a setting if it is a finite number, else a default."""
        value = self.setting(name)
        return float(value) if isinstance(value, int | float) and isfinite(value) else default

    @property
    def ibrion(self) -> int:
        """How the ions move: IBRION of INCAR, else in effect, else VASP's default; -1 if they rest."""
        found = self.incar.get("IBRION", self.parameters.get("IBRION"))
        return found if isinstance(found, int) else 0 if self._nsw > 1 else -1

    @property
    def most_ionic_steps(self) -> int:
        """The larger NSW of INCAR and in effect; 0 if the ions rest."""
        return 0 if self.ibrion == -1 else self._nsw

    @property
    def _nsw(self) -> int:
        given = (self.incar.get("NSW"), self.parameters.get("NSW"))
        return max((n for n in given if isinstance(n, int)), default=0)

    @property
    def charge(self) -> float:
        """Charge of the cell in elementary charges; 0 where it is not known."""
        electrons = self.incar.get("NELECT", self.parameters.get("NELECT"))
        if self.valence is None or isinstance(electrons, bool) or not isinstance(electrons, (int, float)):
            return 0.0
        charge = round(self.valence - electrons, 4)
        return charge if np.isfinite(charge) else 0.0


def read_vasprun(path: Path) -> VasprunData:
    """Read a vasprun.xml of VASP 5 or 6, compressed or not; a cut-off file gives all before the cut.

    Raises
    ------
    InputError
        If the file is empty, cannot be read, or is no vasprun.xml.
    """
    data = VasprunData()
    reader = _Reader(data)
    parser: XMLPullParser[Element] = XMLPullParser(("start", "end"))
    broken = ""
    try:
        # read1: of a compressed file that was cut off, read would give nothing at all
        with open_input(path) as stream:
            for chunk in _without_skipped(iter(lambda: stream.read1(CHUNK), b"")):
                parser.feed(chunk)
                reader.take(parser, len(chunk))
        parser.close()
    except (*DAMAGED, ParseError) as error:
        broken = " ".join(str(error).split())
    except (ValueError, LookupError, TypeError, OverflowError) as error:  # LookupError: an encoding, too
        raise InputError(f"{path}: not laid out as VASP does ({error}); copy the file again") from None
    if not reader.is_vasprun:
        more = f" ({broken})" if broken else ""
        raise InputError(f"{path}: no vasprun.xml of VASP{more}; copy the file again or run it again")
    data.complete = not broken and reader.is_closed
    return data


class _Reader:
    """Takes finished elements off the parser and removes them."""

    def __init__(self, data: VasprunData) -> None:
        self.data = data
        self.is_vasprun = False
        self.is_closed = False
        self._path: list[Element] = []
        self._held = 0
        self._bytes = 0
        self._scf: list[dict[str, float]] = []
        self._energy: dict[str, float] = {}
        self._geometry: Geometry | None = None
        self._forces: Floats | None = None
        self._stress: Floats | None = None
        self._overflow: dict[str, str] = {}

    def take(self, parser: XMLPullParser[Element], n_bytes: int) -> None:
        """Use every element that ended since the last call, `n_bytes` ago; ValueError if too much is held."""
        self._bytes += n_bytes
        for found in parser.read_events():
            event, element = cast("tuple[str, Element]", found)
            self._bytes = 0
            if event == "start":
                if not self._path:
                    self.is_vasprun = element.tag == "modeling"
                self._path.append(element)
                self._held += 1
                if len(self._path) > DEEPEST or self._held > MOST_ELEMENTS:
                    raise ValueError("more elements, or more within one another, than in any section")
                continue
            self._path.pop()
            depth = len(self._path)
            if depth == 0:
                self.is_closed = True
            elif depth == 1:
                self._top(element)
                self._path[0].clear()
                self._held = 1
            elif depth == 2 and self._path[1].tag == "calculation":
                self._inside_calculation(element)
                self._path[1].remove(element)
                self._held = 2
        if self._bytes > LONGEST_ELEMENT:
            raise ValueError(f"{LONGEST_ELEMENT >> 20} MiB without the end of an element")

    def _top(self, element: Element) -> None:
        data = self.data
        if element.tag == "generator":
            data.version = (element.findtext("i[@name='version']") or "").strip()
        elif element.tag == "incar":
            data.incar = _values(element)
        elif element.tag == "parameters":
            data.parameters = _values(element)
        elif element.tag == "kpoints":
            _read_kpoints(element, data)
        elif element.tag == "atominfo":
            _read_atoms(element, data)
        elif element.tag == "structure":
            geometry = _geometry(element)
            if element.get("name") == "initialpos":
                data.initial = geometry
            if geometry is not None:
                data.final = geometry
        elif element.tag == "calculation":
            self._end_step()

    def _inside_calculation(self, element: Element) -> None:
        if element.tag == "scstep":
            energy = element.find("energy")
            self._scf.append({} if energy is None else _energies(energy))
            self._overflow.pop("energy", None)  # that of an earlier electronic step does not matter
            self._note("energy", energy)
        elif element.tag == "energy":
            self._energy = _energies(element)
            self._note("energy", element)
        elif element.tag == "structure":
            self._geometry = _geometry(element)
        elif element.tag == "varray" and element.get("name") == "forces":
            self._forces = _table(element)
            if not np.isfinite(self._forces).all():
                self._note("forces", element)
        elif element.tag == "varray" and element.get("name") == "stress":
            self._stress = _table(element)
        elif element.tag == "eigenvalues":
            self._read_eigenvalues(element)
        elif element.tag == "dos" and element.get("comment") is None:
            text = (element.findtext("i[@name='efermi']") or "").strip()
            fermi = _number(text) if text else None
            self.data.unreadable.pop("Fermi energy", None)
            if fermi is not None and not isfinite(fermi):
                self.data.unreadable["Fermi energy"], fermi = text, None
            self.data.fermi_energy = fermi

    def _note(self, what: str, element: Element | None) -> None:
        """Note the first word of a table or of the energies that is no finite number."""
        if element is None:
            return
        items = (i for i in element if i.tag == "v" or (i.get("name") or "").strip() in _ENERGIES)
        words = (word for item in items for word in (item.text or "").split())
        bad = next((word for word in words if not isfinite(_number(word))), "")
        if bad:
            self._overflow[what] = bad

    def _end_step(self) -> None:
        data, last = self.data, self._scf[-1] if self._scf else {}
        free = self._energy.get("e_fr_energy", last.get("e_fr_energy"))
        energy = self._energy.get("e_0_energy")
        if free is not None and "e_0_energy" in last and "e_fr_energy" in last:
            # The step's own e_0_energy is wrong in some versions (VASP forum, topic 16942), and the last
            # electronic step lacks a van der Waals term: their differences are right in all.
            energy = round(free + last["e_0_energy"] - last["e_fr_energy"], 8)
        energies = [step["e_fr_energy"] for step in self._scf[-2:] if "e_fr_energy" in step]
        change = abs(energies[1] - energies[0]) if len(energies) == 2 else None
        data.steps.append(IonicStep(len(self._scf), free, energy, change))
        data.forces, data.stress = self._forces, self._stress
        data.unreadable = {k: v for k, v in data.unreadable.items() if k == "Fermi energy"} | self._overflow
        data.final = self._geometry or data.final
        self._scf, self._energy, self._geometry, self._forces, self._stress = [], {}, None, None, None
        self._overflow = {}

    def _read_eigenvalues(self, element: Element) -> None:
        self.data.eigenvalues, self.data.occupations = [], []
        for spin in element.iterfind("array/set/set"):
            if not (spin.get("comment") or "spin").startswith("spin"):
                continue
            bands = [[_numbers(r.text) for r in kpoint] for kpoint in spin]
            table = np.array([[row[:2] for row in kpoint] for kpoint in bands], dtype=float)
            self.data.eigenvalues.append(table[:, :, 0])
            self.data.occupations.append(table[:, :, 1])


def _without_skipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut the large sections out of a stream of bytes, and bytes that no XML may hold."""
    rest, end = b"", b""
    for chunk in chunks:
        rest += chunk.translate(None, _CONTROL)
        while True:
            if end:
                place = rest.find(end)
                if place < 0:
                    rest = rest[-len(end) :]
                    break
                rest, end = rest[place + len(end) :], b""
            found = [(place, pair) for pair in _SKIPPED if (place := rest.find(pair[0])) >= 0]
            if not found:
                break
            place, (start, end) = min(found)
            yield rest[:place]
            rest = rest[place + len(start) :]
        if not end:
            # a tag may lie across two chunks
            yield rest[:-_LONGEST_TAG]
            rest = rest[-_LONGEST_TAG:]
    if not end:
        yield rest


def _number(text: str | None) -> float:
    """Read a Fortran number; one that overflowed its field (``****``) is not a number."""
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _numbers(text: str | None) -> list[float]:
    return [_number(word) for word in (text or "").split()]


def _table(element: Element) -> Floats:
    return np.array([_numbers(v.text) for v in element.iterfind("v")], dtype=np.float64)


def _energies(element: Element) -> dict[str, float]:
    return {i.get("name", "").strip(): _number(i.text) for i in element.iterfind("i")}


def _values(element: Element) -> dict[str, Any]:
    """Flatten settings; of a name that stands twice the first one counts, as it is the general one."""
    values: dict[str, Any] = {}
    for item in element.iter():
        name = (item.get("name") or "").strip().upper()  # VASP 6.4 pads some ("GGA    "), 5 writes Zab_VDW
        if item.tag not in {"i", "v"} or not name:
            continue
        words = (item.text or "").split()
        kind = item.get("type")
        if kind == "string":
            value: Any = (item.text or "").strip()
        else:
            read = {"int": _integer, "logical": _logical}.get(kind or "", _number)
            parsed: list[Any] = [read(word) for word in words]
            if kind is None and any(_TEXT.match(word) for word in words):
                parsed = words  # text without the attribute `type`
            value = parsed if item.tag == "v" else (parsed[0] if parsed else None)
        values.setdefault(name, value)
    return values


def _integer(word: str) -> int | None:
    try:
        return int(word)
    except ValueError:
        return None


def _logical(word: str) -> bool:
    return word.strip(".").upper().startswith("T")


def _geometry(element: Element) -> Geometry | None:
    basis = element.find("crystal/varray[@name='basis']")
    positions = element.find("varray[@name='positions']")
    if basis is None or positions is None:
        return None
    lattice, table = _table(basis), _table(positions)
    if lattice.shape != (3, 3) or table.ndim != 2 or table.shape[1] != 3:
        return None
    flags = element.find("varray[@name='selective']")
    selective = None
    if flags is not None:
        selective = np.array([[_logical(w) for w in (v.text or "").split()] for v in flags], dtype=bool)
    return Geometry(lattice, table, selective)


def _read_kpoints(element: Element, data: VasprunData) -> None:
    data.n_kpoints = len(element.findall("varray[@name='kpointlist']/v"))
    generation = element.find("generation")
    if generation is None:
        return
    data.kpoint_style = (generation.get("param") or "").strip()
    divisions = _numbers(generation.findtext("v[@name='divisions']"))
    if len(divisions) == 3 and all(n >= 1 for n in divisions):
        data.kpoint_divisions = (int(divisions[0]), int(divisions[1]), int(divisions[2]))
    length = generation.findtext("i[@name='subdivisionlength']")
    data.kpoint_length = _number(length) if length else None
    shift = _numbers(generation.findtext("v[@name='usershift']"))
    if len(shift) == 3:
        data.kpoint_shift = tuple(shift)


def _read_atoms(element: Element, data: VasprunData) -> None:
    rows = [[(c.text or "").strip() for c in rc] for rc in element.iterfind("array[@name='atoms']/set/rc")]
    data.species = tuple(_SYMBOLS.get(row[0], row[0]) for row in rows if row)
    types = [
        [(c.text or "").strip() for c in rc] for rc in element.iterfind("array[@name='atomtypes']/set/rc")
    ]
    data.potcars = tuple(
        (_SYMBOLS.get(row[1], row[1]), " ".join(row[4].split())) for row in types if len(row) > 4
    )
    if types and all(len(row) > 4 for row in types):
        data.valence = sum(_number(row[0]) * _number(row[3]) for row in types)
