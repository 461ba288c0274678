"""Bulk structures from files, and from prototypes decorated with elements."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import InputError
from stores.records import Provenance
from stores.structures.reading import check_structure, read_all, show_notes, structure_files
from stores.structures.vacuum import check_bulk
from workflows.structures.crystal import with_symmetry
from workflows.structures.naming import mg_first_formula
from workflows.structures.prototypes import PROTOTYPES, Prototype, decorate, prototype, structure_for
from workflows.structures.sources.protocol import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pymatgen.core.structure import Structure


class FileSource:
    """Structures in a file (CIF, POSCAR, extended XYZ, JSON), or in all such files of a folder.

    Parameters
    ----------
    path
        File or folder; subfolders are searched, hidden ones are not.
    symprec
        Tolerance within which the crystals are symmetrised (A); they stay as they are if None. Either way a
        line is logged about each crystal that this changes or would change.
    """

    name = "file"

    def __init__(self, path: str | Path, symprec: float | None = None) -> None:
        self.path = Path(path)
        self.symprec = symprec
        self.problems: list[str] = []

    def candidates(self) -> Iterator[Candidate]:
        """Yield every structure; raise `InputError` if the path does not exist or holds no structure file."""
        self.problems = []
        if not self.path.exists():
            raise InputError(f"{self.path} does not exist: check the path")
        for path in structure_files(self.path) if self.path.is_dir() else [self.path]:
            try:
                found = read_all(path)
            except InputError as error:
                self.problems.append(str(error))
                continue
            for number, structure in enumerate(found, start=1):
                suffix = f"#{number}" if len(found) > 1 else ""
                label = f"{path.name}{suffix}"
                try:
                    show_notes(check_bulk(structure, f"{path}{suffix}"))
                    crystal = with_symmetry(structure, label, self.symprec)
                except InputError as error:
                    self.problems.append(str(error))
                    continue
                yield Candidate(
                    structure=crystal,
                    provenance=Provenance(source=self.name, identifiers=[f"{path}{suffix}"]),
                    label=label,
                )


class PrototypeSource:
    """Structure types decorated to given formulas, or with Mg and each of several partners.

    Parameters
    ----------
    formulas
        Compounds such as ``MgZn2``: each is built in every type of `prototypes` whose amounts fit.
    partners
        Elements X: every type of `prototypes` is decorated with Mg and X both ways round.
    prototypes
        Names of structure types; all known ones if left out.

    Raises
    ------
    InputError
        If neither formulas nor partners are given, or a name is unknown.
    """

    name = "prototype"

    def __init__(
        self,
        formulas: Sequence[str] = (),
        partners: Sequence[str] = (),
        prototypes: Sequence[str] | None = None,
    ) -> None:
        if isinstance(formulas, str) or isinstance(partners, str) or isinstance(prototypes, str):
            raise InputError(
                "formulas, partners and prototypes are lists of names, not one text: use ['MgZn2']"
            )
        if not formulas and not partners:
            raise InputError(
                "nothing to build from prototypes: name formulas (MgZn2) or partner elements (Zn)"
            )
        self.formulas = tuple(formulas)
        self.partners = tuple(partners)
        self.prototypes = PROTOTYPES if prototypes is None else tuple(prototype(p) for p in prototypes)
        self.problems: list[str] = []

    def candidates(self) -> Iterator[Candidate]:
        """Yield formulas first, then partners; what cannot be built adds one line to `problems`."""
        self.problems = []
        for formula in self.formulas:
            for kind in self._fitting(formula):
                both = kind.counts[0] == kind.counts[1] and not kind.symmetric
                builds = [
                    partial(structure_for, formula, kind, swap=swap) for swap in (False, True)[: 1 + both]
                ]
                yield from self._built(f"{formula} as {kind.name}", kind, builds)
        for partner in self.partners:
            for kind in self.prototypes:
                swaps = (False,) if kind.symmetric else (False, True)
                builds = [partial(decorate, kind, ("Mg", partner), swap=swap) for swap in swaps]
                yield from self._built(f"{kind.name} with {partner}", kind, builds)

    def _fitting(self, formula: str) -> list[Prototype]:
        """Return the prototypes with the amounts of a formula."""
        from pymatgen.core.composition import Composition

        try:
            mg_first_formula(formula)
        except InputError as error:
            self._report(str(error))
            return []
        amounts = sorted(Composition(formula).reduced_composition.get_el_amt_dict().values())
        fitting = [kind for kind in self.prototypes if sorted(kind.counts) == amounts]
        if not fitting:
            names = ", ".join(kind.name for kind in self.prototypes)
            self._report(
                f"{formula}: none of the prototypes {names} has its composition; give a structure file"
            )
        return fitting

    def _built(
        self, label: str, kind: Prototype, builds: Sequence[Callable[[], Structure]]
    ) -> Iterator[Candidate]:
        try:
            for build in builds:
                yield self._candidate(build(), kind)
        except InputError as error:
            self._report(f"{label}: {error}")

    def _report(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _candidate(self, structure: Structure, kind: Prototype) -> Candidate:
        formula = mg_first_formula(structure.composition)
        slot_a = structure[0].specie.symbol  # sites of slot A come first
        slot_b = next(s.specie.symbol for s in structure if s.specie.symbol != slot_a)
        check_structure(structure, f"{formula} {kind.name}")
        # in a 1:1 type the two decorations have one formula
        order = f" ({slot_a} on A)" if kind.counts == (1, 1) and not kind.symmetric else ""
        return Candidate(
            structure=structure,
            provenance=Provenance(
                source=self.name,
                identifiers=[kind.name, f"A={slot_a}", f"B={slot_b}"],
                lattice_is_guess=True,
            ),
            label=f"{formula} {kind.name}{order}",
        )
