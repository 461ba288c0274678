"""What is asked of an OPTIMADE server, and the same conditions for the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workflows.structures.sources.optimade_providers import Provider

# A conventional cell holds at most four primitive ones (F), and some databases serve conventional cells.
_CELLS = 4


@dataclass(frozen=True)
class Query:
    """Conditions on a compound.

    Attributes
    ----------
    elements
        That every compound holds.
    partners
        That the other elements are taken from; None for any.
    exclude
        That no compound holds.
    max_elements
        In a compound; there are at least two.
    max_atoms
        In the primitive cell; structures of up to four times as many sites pass, as their cell may be the
        conventional one.
    max_energy_above_hull
        (eV/atom), for servers that can be asked for it.
    """

    elements: Sequence[str] = ("Mg",)
    partners: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    max_elements: int = 2
    max_atoms: int | None = None
    max_energy_above_hull: float | None = None

    def __post_init__(self) -> None:
        for name in ("elements", "partners", "exclude"):
            told = getattr(self, name)
            if isinstance(told, str):
                raise InputError(f"{name} is a list of elements, not one text: use ['{told}']")
            if told is not None:
                object.__setattr__(self, name, _symbols(told, name))
        if not self.elements:
            raise InputError("no element is asked for: name at least one that every compound holds")
        if self.max_elements < max(2, len(self.elements)):
            least = max(2, len(self.elements))
            raise InputError(f"max_elements is {self.max_elements}: a compound asked for here has {least}")
        if self.max_atoms is not None and self.max_atoms < 1:
            raise InputError(f"max_atoms is {self.max_atoms}: at least one atom is needed")
        if self.partners is not None:
            object.__setattr__(
                self,
                "partners",
                tuple(p for p in self.partners if p not in {*self.elements, *self.exclude}),
            )
            if not self.partners and len(self.elements) < 2:
                raise InputError("no partner element is left: allow at least one that is not excluded")
        both = sorted(set(self.elements) & set(self.exclude))
        if both:
            raise InputError(f"{', '.join(both)} is both asked for and excluded: take it out of one list")

    @property
    def max_sites(self) -> int | None:
        """Sites in any cell that may be a conventional one."""
        return None if self.max_atoms is None else _CELLS * self.max_atoms

    def text(self, provider: Provider) -> str:
        """Return the OPTIMADE filter.

        Parentheses and NOT are avoided: some servers answer them with things not asked for (JARVIS:
        https://github.com/atomgptlab/jarvis/issues/4).
        """
        parts = [self.essential_text()]
        if self.partners:
            parts.append("elements HAS ANY " + ",".join(f'"{p}"' for p in self.partners))
        if self.max_sites is not None:
            parts.append(f"nsites<={self.max_sites}")
        if self.max_energy_above_hull is not None and provider.hull_filter:
            parts.append(f"{provider.hull_filter}<={self.max_energy_above_hull:g}")
        return " AND ".join(parts)

    def essential_text(self) -> str:
        """Return the least that a server must be able to filter by."""
        held = "elements HAS ALL " + ",".join(f'"{e}"' for e in self.elements)
        if self.max_elements == 2:
            return f"{held} AND nelements=2"
        return f"{held} AND nelements>=2 AND nelements<={self.max_elements}"

    def asked_for(self, elements: Iterable[str]) -> bool:
        """Tell whether a compound of these elements meets the essential conditions."""
        held = set(elements)
        return set(self.elements) <= held and 2 <= len(held) <= self.max_elements

    def allows(self, elements: Iterable[str], sites: int) -> bool:
        """Tell whether a structure meets all conditions on elements and sites."""
        held = set(elements)
        others = held - set(self.elements)
        return (
            self.asked_for(held)
            and not held & set(self.exclude)
            and (self.partners is None or others <= set(self.partners))
            and (self.max_sites is None or sites <= self.max_sites)
        )


def _symbols(names: Sequence[str], where: str) -> tuple[str, ...]:
    from pymatgen.core.periodic_table import Element

    for name in names:
        if not Element.is_valid_symbol(name):
            raise InputError(f"{where} names {name!r}, which is no element: correct the symbol")
    return tuple(sorted(set(names)))
