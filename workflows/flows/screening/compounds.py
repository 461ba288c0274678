"""What is screened: crystals of campaigns, files, folders, prototypes and stores; and compositions."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import InputError
from stores.input_files import read_text
from stores.method_names import is_dft
from stores.paths import names_store
from stores.records import content_hash
from workflows.structures.crystal import bulk_key, crystal_of
from workflows.structures.naming import mg_first_formula

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pymatgen.core import Composition, Structure

    from stores.surfaces import SurfaceStore
    from workflows.structures.crystal import Crystal
    from workflows.structures.sources.local import PrototypeSource

LARGEST_TABLE = 1 << 24  # bytes of a table of formation energies

FORMULA_COLUMNS = ("formula", "formula_pretty", "reduced")
ENERGY_COLUMNS = ("formation_energy", "formation_energy_per_atom", "e_form_eV_atom")
"""Columns of a table of formation energies; the second of each is the Materials Project's name."""

BY_COMPOSITION = "composition model"
"""What the source of a formation energy begins with if a model of compositions predicted it."""

COMPOSITION_COLUMNS = (*FORMULA_COLUMNS, "composition")  # columns of a table of compositions without crystals


@dataclass(frozen=True, eq=False)
class ScreenedCompound:
    """A crystal, or a composition without one, that is screened."""

    label: str  # for people: formula and file, prototype or identifier
    structure: Structure | None  # as it came (A); None if only the composition is known
    lattice_is_guess: bool = False  # True if the lattice was estimated, not computed or measured
    formation_energy: float | None = None  # eV/atom; None if unknown
    energy_source: str = ""  # where the formation energy comes from
    band_gap: float | None = None  # of a database (eV); None if unknown
    stated_formula: str = ""  # of a composition without a crystal
    # standard deviation of a predicted formation energy (eV/atom); else None
    energy_sigma: float | None = None
    energy_warnings: tuple[str, ...] = ()  # reasons to trust a predicted formation energy less

    @cached_property
    def composition(self) -> Composition:
        """Atoms by element; only their ratios count."""
        if self.structure is not None:
            return self.structure.composition
        from pymatgen.core import Composition

        return Composition(self.stated_formula)

    @property
    def formula(self) -> str:
        """Reduced, Mg first; of a composition without a crystal as it is stated."""
        return self.stated_formula or mg_first_formula(self.composition)

    @cached_property
    def crystal(self) -> Crystal | None:
        """In its conventional standard cell; None without one."""
        return None if self.structure is None else crystal_of(self.structure)

    @cached_property
    def bulk_key(self) -> str:
        """Identity of the crystal, as of `stores.records.BulkRecord`; else that of the composition."""
        if self.structure is None:
            return content_hash({"composition": self.stated_formula})
        return bulk_key(self.structure)


def compounds_of(
    inputs: Sequence[str],
    problem: Callable[[str], None],
    *,
    prototypes: PrototypeSource | None = None,
    compositions: Sequence[str] = (),
) -> list[ScreenedCompound]:
    """Read the compounds of campaign files, lock files, structure files, folders, stores and CSV files.

    Parameters
    ----------
    inputs
        Paths and store URIs.
    problem
        Called with one line for each input, file or record that cannot be used.
    prototypes
        Decorated structure types, after the inputs.
    compositions
        Formulas without crystals.

    Returns
    -------
    list of ScreenedCompound
        The same crystal once, with the formation energy that is known first. Compositions of which a crystal
        is screened are left out.
    """
    found: dict[str, ScreenedCompound] = {}
    read = [partial(_read, text, problem) for text in inputs]
    if prototypes is not None:
        read.append(partial(_of_prototypes, prototypes, problem))
    read.append(partial(_of_formulas, compositions, problem))
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
    with_crystal = {c.composition.reduced_formula for c in found.values() if c.structure is not None}
    return [
        compound
        for compound in found.values()
        if compound.structure is not None or compound.composition.reduced_formula not in with_crystal
    ]


def _of_formulas(texts: Iterable[str], problem: Callable[[str], None]) -> Iterator[ScreenedCompound]:
    for text in texts:
        try:
            yield _of_formula(text)
        except InputError as error:
            problem(str(error))


def _of_formula(text: str) -> ScreenedCompound:
    """Read a composition; its formula becomes one and the same however it is written."""
    from model.compositions.formulas import parse_composition
    from model.data.composition_entries import canonical_formula

    formula = canonical_formula(parse_composition(text).amounts)
    return ScreenedCompound(formula, None, stated_formula=formula)


def _of_table(path: Path, problem: Callable[[str], None]) -> Iterator[ScreenedCompound]:
    """Yield the compositions of a CSV file."""
    rows = _csv_rows(path, "of compositions")
    column = next((name for name in COMPOSITION_COLUMNS if name in (rows.fieldnames or ())), None)
    if column is None:
        raise InputError(f"{path}:1: no column of formulas; name one of {', '.join(COMPOSITION_COLUMNS)}")
    for row in rows:
        try:
            yield _of_formula(row[column] or "")
        except InputError as error:
            problem(f"{path}:{rows.line_num}: {error}")


def _read(text: str, problem: Callable[[str], None]) -> Iterator[ScreenedCompound]:
    path = Path(text)
    if names_store(text):
        yield from _of_store(text, problem)
    elif path.suffix.lower() in (".yaml", ".yml"):
        yield from _of_campaign(path)
    elif path.name.lower().endswith(".lock.json"):
        yield from _of_lock(path)
    elif path.suffix.lower() == ".csv":
        yield from _of_table(path, problem)
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

    rows = _csv_rows(path, "of formation energies")
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


def _csv_rows(path: Path, what: str) -> csv.DictReader[str]:
    """Return the rows of a table, whose name in messages ends in `what`."""
    try:
        text = read_text(path, LARGEST_TABLE)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check path and permissions") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; a table {what} is CSV") from None
    return csv.DictReader(io.StringIO(text))


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
        fields = ["id", "bulk_key", "formula", "formation_energy", "method_fingerprint"]
        bulks = [
            b for b in store.query(criteria, fields, collection="bulks") if is_dft(b["method_fingerprint"])
        ]
        # of several methods the one with most surfaces, as for the facets
        for bulk in sorted(bulks, key=lambda b: (store.count({"bulk_id": b["id"]}), b["id"])):
            n = Composition(bulk["formula"]).num_atoms
            own[bulk["bulk_key"]] = bulk["formation_energy"] / n
    found = []
    for compound in compounds:
        formula = compound.composition.reduced_formula
        if compound.bulk_key in own:
            compound = replace(compound, formation_energy=own[compound.bulk_key], energy_source="own DFT")
        elif compound.formation_energy is None and len(compound.composition) == 1:
            compound = replace(compound, formation_energy=0.0, energy_source="element")
        elif compound.formation_energy is None and formula in table:
            compound = replace(compound, formation_energy=table[formula], energy_source=table_name)
        found.append(compound)
    return found
