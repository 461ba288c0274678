"""Equilibrium potential at which a compound dissolves as bare cations (V against SHE).

For A_a B_b ... -> sum_i n_i M_i^(z_i+) + sum_i n_i z_i e-:

    E = [sum_i n_i (dG_i + R T ln c) - E_f] / sum_i n_i z_i

dG_i is the standard free energy of formation of the cation (eV), c its activity, taken as its concentration
in mol/L, and E_f the formation energy of the compound (eV per formula unit), taken at 0 K. This is Nernst's
equation with the free energies of ``cations.csv``, whose rows name their sources; SHE is the standard
hydrogen electrode.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BOLTZMANN = 8.617333262e-5  # eV/K (CODATA 2018)

CLOSE = 0.05
"""Cations whose elemental potentials are closer than this (V) are both reported: the data cannot decide."""


@dataclass(frozen=True)
class Cation:
    """A bare cation in water."""

    element: str  # symbol
    charge: int  # in units of e, positive
    energy: float  # standard free energy of formation at 298.15 K (eV)
    source: str  # publication of the value

    def __str__(self) -> str:
        return f"{self.element}{self.charge if self.charge > 1 else ''}+"

    def potential(self, concentration: float, temperature: float) -> float:
        """Equilibrium potential of the pure element against this cation (V against SHE)."""
        return (self.energy + BOLTZMANN * temperature * math.log(concentration)) / self.charge


@dataclass(frozen=True)
class Dissolution:
    """Potential at which a compound dissolves, or the reason why it is unknown."""

    potential: float | None  # v against SHE; None if a cation or the formation energy is missing
    cations: tuple[Cation, ...] = ()  # one for each element, in alphabetical order
    notes: tuple[str, ...] = ()  # choices of a cation that other data could turn
    reason: str = ""  # why there is no potential; else empty
    # standard deviation that follows from that of the formation energy (V); None if that is not known
    potential_sigma: float | None = None


@cache
def known_cations() -> dict[str, tuple[Cation, ...]]:
    """Cations by element, in order of their charge."""
    text = files("workflows.analysis").joinpath("cations.csv").read_text(encoding="utf-8")
    found: dict[str, tuple[Cation, ...]] = {}
    for row in csv.DictReader(text.splitlines()):
        energy = float(row["formation_free_energy_eV"])
        cation = Cation(row["element"], int(row["charge"]), energy, row["source"])
        found[cation.element] = (*found.get(cation.element, ()), cation)
    return found


def parse_ions(texts: Iterable[str]) -> dict[str, int]:
    """Read choices of a cation, such as ``Fe=2``, into charges by element.

    Raises
    ------
    InputError
        If a text is no such choice, an element is given twice or the table lacks the cation.
    """
    charges: dict[str, int] = {}
    for text in texts:
        element, _, charge = (part.strip() for part in text.partition("="))
        digits = charge.removesuffix("+")
        if not element or not digits.isascii() or not digits.isdigit() or len(digits) > 2:
            raise InputError(f"--ion {text[:60]}: write element and charge, such as Fe=2")
        if charges.get(element, int(digits)) != int(digits):
            raise InputError(f"--ion {text}: {element} has charge {charges[element]} already; give it once")
        charges[element] = int(digits)
        _with_charge(element, charges[element])
    return charges


def _with_charge(element: str, charge: int) -> Cation:
    known = known_cations().get(element, ())
    for cation in known:
        if cation.charge == charge:
            return cation
    has = f"known: {', '.join(map(str, known))}" if known else "no cation of this element is known"
    raise InputError(f"no free energy of {element} with charge {charge}+ ({has})")


def dissolution(
    amounts: Mapping[str, float],
    formation_energy: float | None,
    *,
    concentration: float = 1e-6,
    temperature: float = 298.15,
    charges: Mapping[str, int] | None = None,
    formation_energy_sigma: float | None = None,
) -> Dissolution:
    """Return the dissolution potential of a compound.

    Where `charges` names no cation, the one with the lowest potential of its pure element is formed.

    Parameters
    ----------
    amounts
        Number of atoms by element; only their ratios count.
    formation_energy
        eV/atom, negative for compounds that form; None if unknown.
    concentration
        Of each cation (mol/L).
    temperature
        K. Free energies of formation stay those at 298.15 K.
    charges
        Chosen charges by element, see `parse_ions`.
    formation_energy_sigma
        Standard deviation of the formation energy (eV/atom); None if it is not known.

    Raises
    ------
    InputError
        If concentration or temperature is not positive, or a chosen cation is unknown.
    """
    if not (0 < concentration < math.inf and 0 < temperature < math.inf):
        raise InputError(
            f"concentration {concentration:g} mol/L, temperature {temperature:g} K: both must be positive"
        )
    cations: list[Cation] = []
    notes: list[str] = []
    missing = sorted(set(amounts) - set(known_cations()))
    if missing:
        return Dissolution(None, reason=f"no free energy of a bare cation of {', '.join(missing)}")
    for element in sorted(amounts):
        known = sorted(known_cations()[element], key=lambda c: c.potential(concentration, temperature))
        chosen = known[0]
        if charges and element in charges:
            chosen = _with_charge(element, charges[element])
        else:
            notes += [
                f"{chosen} chosen; {other} lies {difference:.3f} V above"
                for other in known[1:]
                if (
                    difference := other.potential(concentration, temperature)
                    - known[0].potential(concentration, temperature)
                )
                < CLOSE
            ]
        cations.append(chosen)
    if formation_energy is None:
        return Dissolution(None, tuple(cations), tuple(notes), "no formation energy")
    shift = BOLTZMANN * temperature * math.log(concentration)
    energy = sum(amounts[c.element] * (c.energy + shift) for c in cations)
    electrons = sum(amounts[c.element] * c.charge for c in cations)
    atoms = sum(amounts.values())
    potential = (energy - formation_energy * atoms) / electrons
    sigma = None if formation_energy_sigma is None else formation_energy_sigma * atoms / electrons
    return Dissolution(potential, tuple(cations), tuple(notes), potential_sigma=sigma)
