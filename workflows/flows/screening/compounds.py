"""Compounds that are screened: crystals of a campaign, a lock file, files, folders, prototypes or a store."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import InputError
from stores.input_files import read_text
from workflows.structures.crystal import bulk_key, crystal_of
from workflows.structures.naming import mg_first_formula

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pymatgen.core import Structure

    from stores.surfaces import SurfaceStore
    from workflows.structures.crystal import Crystal
    from workflows.structures.sources.local import PrototypeSource

STORE_ENDINGS = (".sqlite", ".sqlite3", ".db")
LARGEST_TABLE = 1 << 24
"""Bytes of a table of formation energies."""

FORMULA_COLUMNS = ("formula", "formula_pretty", "reduced")
ENERGY_COLUMNS = ("formation_energy", "formation_energy_per_atom", "e_form_eV_atom")
"""Columns of a table of formation energies; the second of each is the Materials Project's name."""


@dataclass(frozen=True, eq=False)
class ScreenedCompound:
    """A crystal that is screened.

    Attributes
    ----------
    label
        For people: formula and file, prototype or identifier.
    structure
        As it came (A).
    lattice_is_guess
        True if the lattice was estimated, not computed or measured.
    formation_energy
        eV/atom; None if unknown.
    energy_source
        Where the formation energy comes from.
    band_gap
        Of a database (eV); None if unknown.
    """

    label: str
    structure: Structure
    lattice_is_guess: bool = False
    formation_energy: float | None = None
    energy_source: str = ""
    band_gap: float | None = None

    @property
    def formula(self) -> str:
        """Reduced, Mg first."""
        return mg_first_formula(self.structure.composition)

    @cached_property
    def crystal(self) -> Crystal:
        """In its conventional standard cell."""
        return crystal_of(self.structure)

    @cached_property
    def bulk_key(self) -> str:
        """Identity of the crystal, as of `stores.records.BulkRecord`."""
        return bulk_key(self.structure)


def compounds_of(
    inputs: Sequence[str],
    problem: Callable[[str], None],
    *,
    prototypes: PrototypeSource | None = None,
) -> list[ScreenedCompound]:
    """Read the compounds of campaign files, lock files, structure files, folders and stores.

    Parameters
    ----------
    inputs
        Paths and store URIs.
    problem
        Called with one line for each input, file or record that cannot be used.
    prototypes
        Decorated structure types, after the inputs.

    Returns
    -------
    list of ScreenedCompound
        The same crystal once, with the formation energy that is known first.
    """
    found: dict[str, ScreenedCompound] = {}
    read = [partial(_read, text, problem) for text in inputs]
    if prototypes is not None:
        read.append(partial(_of_prototypes, prototypes, problem))
    for compounds in read:
        try:
            for compound in compounds():
                try:
                    key = compound.bulk_key
                except InputError as error:
                    problem(f"{compound.label}: {error}")
                    continue
                known = found.setdefault(key, compound)
                if known.formation_energy is None and compound.formation_energy is not None:
                    found[key] = compound
        except InputError as error:
            problem(str(error))
    return list(found.values())


def _read(text: str, problem: Callable[[str], None]) -> Iterator[ScreenedCompound]:
    path = Path(text)
    if "://" in text or text.lower().endswith(STORE_ENDINGS):
        yield from _of_store(text, problem)
    elif path.suffix.lower() in (".yaml", ".yml"):
        yield from _of_campaign(path)
    elif path.name.lower().endswith(".lock.json"):
        yield from _of_lock(path)
    else:
        yield from _of_files(path, problem)


def _of_store(uri: str, problem: Callable[[str], None]) -> Iterator[ScreenedCompound]:
    """Yield the relaxed bulk crystals of a store."""
    from stores.connections import open_store
    from stores.structures.document import structure_from_document

    with open_store(uri, must_exist=True) as store:
        fields = ["id", "formula", "initial_structure"]
        # in one order whatever the kind of store
        bulks = list(store.query({}, fields, sort={"formula": 1, "id": 1}, collection="bulks"))
        if not bulks:
            raise InputError(
                f"the store {store.uri} holds no bulk crystals; mgsurf run CAMPAIGN.yaml computes some"
            )
        for bulk in bulks:
            try:
                structure = structure_from_document(bulk["initial_structure"], f"the bulk {bulk['id']}")
            except InputError as error:
                problem(str(error))
                continue
            yield ScreenedCompound(bulk["formula"], structure)


def _of_campaign(path: Path) -> Iterator[ScreenedCompound]:
    from workflows.flows.campaign.file import campaign_structures, load_campaign
    from workflows.flows.enumeration.lock_file import lock_path

    campaign = load_campaign(path)
    if campaign.sources is not None:
        yield from _of_lock(lock_path(campaign))
        return
    for entry in campaign_structures(campaign):
        yield ScreenedCompound(entry.label, entry.structure, bool(entry.provenance.lattice_is_guess))


def _of_lock(path: Path) -> Iterator[ScreenedCompound]:
    from stores.structures.reading import show_notes
    from workflows.flows.enumeration.lock_file import locked_structures, read_lock

    how = "mgsurf enumerate"
    lock = read_lock(path, how)
    structures, lines = locked_structures(lock, path, how)
    show_notes(lines)
    for compound, structure in zip(lock.compounds, structures, strict=True):
        energy = next((v for v in compound.values if v.formation_energy is not None), None)
        gap = next((v.band_gap for v in compound.values if v.band_gap is not None), None)
        yield ScreenedCompound(
            compound.label,
            structure,
            bool(compound.provenance.lattice_is_guess),
            None if energy is None else energy.formation_energy,
            energy.method if energy else "",
            gap,
        )


def _of_files(path: Path, problem: Callable[[str], None]) -> Iterator[ScreenedCompound]:
    """Yield the crystals of a structure file, or of all in a folder."""
    from workflows.structures.sources.local import FileSource

    source = FileSource(path)
    for candidate in source.candidates():
        formula = mg_first_formula(candidate.structure.composition)
        yield ScreenedCompound(f"{formula} ({candidate.label})", candidate.structure)
    for line in source.problems:
        problem(line)


def _of_prototypes(source: PrototypeSource, problem: Callable[[str], None]) -> Iterator[ScreenedCompound]:
    for candidate in source.candidates():
        yield ScreenedCompound(candidate.label, candidate.structure, lattice_is_guess=True)
    for line in source.problems:
        problem(line)


def read_formation_energies(path: Path) -> dict[str, float]:
    """Read a CSV table of formation energies (eV/atom) by reduced formula; the lowest of each formula counts.

    Parameters
    ----------
    path
        With a header that names one of `FORMULA_COLUMNS` and one of `ENERGY_COLUMNS`.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing, or a row holds no formula or no number.
    """
    import math

    from pymatgen.core import Composition

    try:
        text = read_text(path, LARGEST_TABLE)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check path and permissions") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; a table of formation energies is CSV") from None
    rows = csv.DictReader(io.StringIO(text))
    columns = [
        next((name for name in names if name in (rows.fieldnames or ())), "")
        for names in (FORMULA_COLUMNS, ENERGY_COLUMNS)
    ]
    missing = [
        name for name, column in zip(("formula", "formation_energy"), columns, strict=True) if not column
    ]
    if missing:
        raise InputError(
            f"{path}:1: no column {' and '.join(missing)}; the table needs formula and formation_energy "
            "(eV/atom)"
        )
    found: dict[str, float] = {}
    for row in rows:
        where = f"{path}:{rows.line_num}"
        written, number = (row[column] for column in columns)
        try:
            formula = Composition(written, strict=True).reduced_formula
            energy = float(number)
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{where}: {written!r}, {number!r}: a formula and a number in eV/atom are needed; correct "
                "the row"
            ) from None
        if not math.isfinite(energy) or abs(energy) > 10:
            raise InputError(f"{where}: {energy:g} is no formation energy in eV/atom; correct the row")
        found[formula] = min(energy, found.get(formula, energy))
    return found


def with_formation_energies(
    compounds: Iterable[ScreenedCompound],
    store: SurfaceStore | None,
    table: Mapping[str, float],
    table_name: str,
) -> list[ScreenedCompound]:
    """Return the compounds with formation energies: of our own DFT, else a database's, else the table's.

    Parameters
    ----------
    compounds
        From `compounds_of`.
    store
        Whose bulk records hold formation energies.
    table
        eV/atom by reduced formula.
    table_name
        Named as the source.
    """
    from pymatgen.core import Composition

    compounds = list(compounds)
    own: dict[str, float] = {}
    if store is not None:
        keys = [compound.bulk_key for compound in compounds]
        criteria = {"bulk_key": {"$in": keys}, "formation_energy": {"$ne": None}}
        fields = ["id", "bulk_key", "formula", "formation_energy"]
        bulks = list(store.query(criteria, fields, collection="bulks"))
        # of several methods the one with most surfaces, as for the facets
        for bulk in sorted(bulks, key=lambda b: (store.count({"bulk_id": b["id"]}), b["id"])):
            n = Composition(bulk["formula"]).num_atoms
            own[bulk["bulk_key"]] = bulk["formation_energy"] / n
    found = []
    for compound in compounds:
        formula = compound.structure.composition.reduced_formula
        if compound.bulk_key in own:
            compound = replace(compound, formation_energy=own[compound.bulk_key], energy_source="own DFT")
        elif compound.formation_energy is None and len(compound.structure.composition) == 1:
            compound = replace(compound, formation_energy=0.0, energy_source="element")
        elif compound.formation_energy is None and formula in table:
            compound = replace(compound, formation_energy=table[formula], energy_source=table_name)
        found.append(compound)
    return found
