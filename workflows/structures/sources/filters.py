"""Which of the structures that sources offer are wanted, and why the others are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pymatgen.core.structure import Structure

    from workflows.structures.sources.protocol import DatabaseValues

METAL_GAP = 0.01
"""A larger band gap is that of a semiconductor or insulator (eV); smaller ones are noise of a k mesh."""


class HasStructure(Protocol):
    """What a filter asks of a candidate, merged or not."""

    @property
    def structure(self) -> Structure:
        """Any cell of the crystal (A)."""
        ...

    @property
    def values(self) -> Sequence[DatabaseValues]:
        """What databases say of it, the one that decides first."""
        ...


C = TypeVar("C", bound=HasStructure)


@dataclass(frozen=True)
class Refusal:
    """Why a candidate is not wanted.

    Attributes
    ----------
    kind
        Of refusal, the same for all candidates refused alike, e.g. ``radioactive element Tc``.
    text
        The reason in full, e.g. ``42 atoms in the primitive cell, at most 30``.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class CandidateFilter:
    """Conditions on a compound; it must hold Mg in any case.

    Attributes
    ----------
    partners
        Elements allowed beside Mg; all if None.
    exclude
        Elements not allowed.
    radioactive
        Allow elements without a stable isotope (Tc, Pm, Po and heavier; Bi counts as stable).
    min_elements, max_elements
        Number of elements, Mg included.
    max_atoms
        In the primitive cell; no limit if None.
    metals_only
        Refuse what is known to have a band gap above `METAL_GAP`. Where databases differ, the first of a
        candidate's values that knows the gap decides; in a merged candidate the values of the database whose
        geometry was taken come first.

    Raises
    ------
    InputError
        If an element is none, is both wanted and excluded, or a number makes no sense.
    """

    partners: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    radioactive: bool = False
    min_elements: int = 2
    max_elements: int = 2
    max_atoms: int | None = None
    metals_only: bool = True

    def __post_init__(self) -> None:
        for name in ("partners", "exclude"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise InputError(f"{name} is a list of elements, not one text: use ['{given}']")
            if given is not None:
                object.__setattr__(self, name, tuple(given))
                _check_elements(name, getattr(self, name))
        both = sorted(set(self.partners or ()) & set(self.exclude))
        if both:
            raise InputError(f"{', '.join(both)} cannot be both in partners and in exclude: remove one")
        if self.partners == ():
            raise InputError(
                "partners is empty, so that nothing is left: name elements, or leave it out for all"
            )
        if not 1 <= self.min_elements <= self.max_elements:
            raise InputError(
                f"max_elements: from {self.min_elements} to {self.max_elements} elements is no range: "
                "give 2 for binaries, 3 for ternaries too"
            )
        if self.max_atoms is not None and self.max_atoms < 1:
            raise InputError(f"max_atoms: {self.max_atoms} atoms make no cell: give 1 or more")

    def refusal(self, candidate: HasStructure) -> Refusal | None:
        """Return why a candidate is not wanted, the first reason found; None if it is wanted."""
        symbols = sorted({symbol for site in candidate.structure for symbol in _symbols(site)})
        return self._by_elements(symbols) or self._by_size(candidate) or self._by_gap(candidate)

    def reason(self, candidate: HasStructure) -> str | None:
        """Return why a candidate is not wanted, in words; None if it is wanted."""
        refusal = self.refusal(candidate)
        return None if refusal is None else refusal.text

    def _by_elements(self, symbols: list[str]) -> Refusal | None:
        from pymatgen.core.periodic_table import Element

        if "Mg" not in symbols:
            return _plain("no Mg")
        if len(symbols) > self.max_elements:
            return _plain(f"{len(symbols)} elements, at most {self.max_elements}")
        if len(symbols) < self.min_elements:
            return _plain(f"{len(symbols)} element{'s'[: len(symbols) > 1]}, at least {self.min_elements}")
        for symbol in symbols:
            if symbol in self.exclude:
                return _plain(f"excluded element {symbol}")
            if not self.radioactive and Element(symbol).is_radioactive:
                return _plain(f"radioactive element {symbol}")
            if self.partners is not None and symbol not in (*self.partners, "Mg"):
                return _plain(f"{symbol} is not among the partners")
        return None

    def _by_size(self, candidate: HasStructure) -> Refusal | None:
        if self.max_atoms is None or len(candidate.structure) <= self.max_atoms:
            return None
        from workflows.structures.sources.merge import primitive_size

        n_atoms = getattr(candidate, "n_atoms", None) or primitive_size(candidate.structure)
        if n_atoms <= self.max_atoms:
            return None
        return Refusal(
            f"more than {self.max_atoms} atoms in the primitive cell",
            f"{n_atoms} atoms in the primitive cell, at most {self.max_atoms}",
        )

    def _by_gap(self, candidate: HasStructure) -> Refusal | None:
        if not self.metals_only:
            return None
        gaps = [v.band_gap for v in candidate.values if v.band_gap is not None]
        if not gaps or gaps[0] <= METAL_GAP:
            return None
        return Refusal("not a metal", f"not a metal: a band gap of {gaps[0]:.2f} eV")


@dataclass
class Screening:
    """Lets wanted candidates through and counts the others.

    Attributes
    ----------
    filter
        The conditions.
    refused
        Candidates refused, by kind of reason.
    """

    filter: CandidateFilter
    refused: Counter[str] = field(default_factory=Counter)

    def passing(self, candidates: Iterable[C]) -> Iterator[C]:
        """Yield the candidates that are wanted, one by one."""
        for candidate in candidates:
            refusal = self.filter.refusal(candidate)
            if refusal is None:
                yield candidate
            else:
                self.refused[refusal.kind] += 1

    def summary(self) -> list[str]:
        """Say how many were refused for what, one line for each kind, the most frequent first."""
        ordered = sorted(self.refused.items(), key=lambda item: (-item[1], item[0]))
        return [f"{count} refused: {kind}" for kind, count in ordered]


def _plain(text: str) -> Refusal:
    return Refusal(text, text)


def _symbols(site: object) -> list[str]:
    return [getattr(s, "symbol", str(s)) for s in site.species]  # type: ignore[attr-defined]


def _check_elements(name: str, symbols: tuple[str, ...]) -> None:
    from pymatgen.core.periodic_table import Element

    for symbol in symbols:
        if not isinstance(symbol, str) or not Element.is_valid_symbol(symbol):
            hint = str(symbol).strip().capitalize()
            known = f" (did you mean {hint}?)" if hint != symbol and Element.is_valid_symbol(hint) else ""
            raise InputError(f"{name}: {symbol!r} is no element{known}; write symbols such as Zn or Ag")
        if symbol == "Mg":
            raise InputError(f"{name}: Mg is in every compound: name the other elements only")
