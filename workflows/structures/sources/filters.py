"""Conditions on the structures of sources, and counts of those refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.structures.sources.merge import MergedCandidate
    from workflows.structures.sources.protocol import Candidate

METAL_GAP = 0.01
"""A larger band gap is that of a semiconductor or insulator (eV); smaller ones are noise of a k mesh."""


@dataclass(frozen=True)
class CandidateFilter:
    """Conditions on a compound; it must hold Mg in any case.

    Raises
    ------
    InputError
        If an element is none, is both a partner and excluded, or a number makes no sense.
    """

    partners: Sequence[str] | None = None  # elements allowed beside Mg; all if None
    exclude: Sequence[str] = ()  # elements not allowed
    # allow elements without a stable isotope (Tc, Pm, Po and heavier; Bi counts as stable)
    radioactive: bool = False
    max_elements: int = 2  # largest number of elements, Mg included; there are at least two
    max_atoms: int | None = None  # in the primitive cell; no limit if None
    # refuse what is known to have a band gap above `METAL_GAP`. Where databases differ, the first of a
    # candidate's values that knows the gap decides; in a merged candidate the values of the database whose
    # geometry was taken come first
    metals_only: bool = True

    def __post_init__(self) -> None:
        for name in ("partners", "exclude"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise InputError(f"{name} is a list of elements, not one text: use ['{given}']")
            if given is not None:
                object.__setattr__(self, name, tuple(given))
                for symbol in given:
                    check_partner(symbol)
        both = sorted(set(self.partners or ()) & set(self.exclude))
        if both:
            raise InputError(f"{', '.join(both)} cannot be both in partners and in exclude: remove one")
        if self.partners == ():
            raise InputError(
                "partners is empty, so that nothing is left: name elements, or leave it out for all"
            )
        if self.max_elements < 2:
            raise InputError(
                f"max_elements is {self.max_elements}, but a compound has 2: give 2 for binaries, 3 for "
                "ternaries too"
            )
        if self.max_atoms is not None and self.max_atoms < 1:
            raise InputError(f"max_atoms: {self.max_atoms} atoms make no cell: give 1 or more")

    def refusal(self, candidate: Candidate | MergedCandidate) -> str | None:
        """Return why a candidate is refused, e.g. ``radioactive element Tc``; None if it is accepted."""
        return self._by_elements(candidate) or self._by_size(candidate) or self._by_gap(candidate)

    def _by_elements(self, candidate: Candidate | MergedCandidate) -> str | None:
        from pymatgen.core.periodic_table import Element

        symbols = sorted(element.symbol for element in candidate.structure.composition)
        if "Mg" not in symbols:
            return "no Mg"
        if len(symbols) > self.max_elements:
            return f"{len(symbols)} elements, at most {self.max_elements}"
        if len(symbols) < 2:
            return "1 element, at least 2"
        for symbol in symbols:
            if symbol in self.exclude:
                return f"excluded element {symbol}"
            if not self.radioactive and Element(symbol).is_radioactive:
                return f"radioactive element {symbol}"
            if self.partners is not None and symbol not in (*self.partners, "Mg"):
                return f"{symbol} is not among the partners"
        return None

    def _by_size(self, candidate: Candidate | MergedCandidate) -> str | None:
        if self.max_atoms is None or len(candidate.structure) <= self.max_atoms:
            return None
        from workflows.structures.sources.merge import primitive_size

        n_atoms = getattr(candidate, "n_atoms", None) or primitive_size(candidate.structure)
        return f"more than {self.max_atoms} atoms in the primitive cell" if n_atoms > self.max_atoms else None

    def _by_gap(self, candidate: Candidate | MergedCandidate) -> str | None:
        gap = next((v.band_gap for v in candidate.values if v.band_gap is not None), 0.0)
        return "not a metal" if self.metals_only and gap > METAL_GAP else None


@dataclass
class Screening:
    """A filter that counts the candidates it refuses, by reason."""

    filter: CandidateFilter
    refused: Counter[str] = field(default_factory=Counter)

    def accepts(self, candidate: Candidate | MergedCandidate) -> bool:
        """Return whether a candidate passes the filter; one that does not is counted."""
        reason = self.filter.refusal(candidate)
        if reason is not None:
            self.refused[reason] += 1
        return reason is None

    def summary(self) -> list[str]:
        """Return one line for each reason, the most frequent first."""
        ordered = sorted(self.refused.items(), key=lambda item: (-item[1], item[0]))
        return [f"{count} refused: {reason}" for reason, count in ordered]


def check_partner(symbol: object) -> None:
    """Raise `InputError` unless a symbol is that of an element other than Mg."""
    from pymatgen.core.periodic_table import Element

    if not isinstance(symbol, str) or not Element.is_valid_symbol(symbol):
        near = str(symbol).strip().capitalize()
        known = near != "Mg" and Element.is_valid_symbol(near)
        hint = f"did you mean {near!r}?" if known else "write symbols such as Zn"
        raise InputError(f"{symbol!r} is no element; {hint}")
    if symbol == "Mg":
        raise InputError("Mg is in every compound; name the other elements only")
