"""Surface energy of a symmetric slab over the window of the chemical potential, and consistency checks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stores.records import CalculationRecord, StructureDict

# e = 1.602176634e-19 C exactly (SI 2019, CODATA 2018) and 1 A^2 = 1e-20 m^2
EV_PER_A2_IN_J_PER_M2 = 16.02176634

CELL_TOLERANCE = 1e-3
"""Largest relative difference of the in-plane cell (edges and short diagonal) that counts as agreement."""


@dataclass(frozen=True)
class SurfaceEnergy:
    """Surface energy of one termination and how it depends on the chemical potential."""

    # at dmu = 0, rich in the reference element (eV/A^2); None without that element's reference, unless the
    # slab is stoichiometric; an element's own value for an elemental slab
    surface_energy: float | None
    # at dmu = dH_f/a (eV/A^2); None if a reference is missing, if dH_f > 0, and for elements
    surface_energy_x_rich: float | None
    slope: float  # d gamma / d dmu = -(N_A - a N_X/b) / (2 A) (1/A^2)
    # dmu of the reference element from X-rich to rich (eV); None like `surface_energy_x_rich`
    window: tuple[float, float] | None
    # dH_f (eV per reduced formula); None without both references and for elements
    formation_energy: float | None
    # atoms of each element beyond what the other element's number would make of bulk, both sides together:
    # N_A - (a/b) N_X and N_X - (b/a) N_A
    excess: dict[str, float] = field(default_factory=dict)
    reference_element: str = ""  # the element whose chemical potential varies
    reason: str = ""  # one line saying why a value is None; empty if none is

    def at(self, dmu: float) -> float | None:
        """Return gamma (eV/A^2) at a chemical potential `dmu` (eV) of the reference element."""
        return None if self.surface_energy is None else self.surface_energy + self.slope * dmu


def reference_element(elements: Iterable[str]) -> str:
    """Return the element in the role of Mg: the one whose chemical potential spans the window.

    It is Mg wherever there is Mg; otherwise the less electronegative one on Pauling's scale (L. Pauling, The
    Nature of the Chemical Bond, 3rd ed., 1960; revised by A. L. Allred, J. Inorg. Nucl. Chem. 17, 215 (1961);
    values as in pymatgen), of equal ones the first in the alphabet. An element without a reference crystal,
    such as H in PdH, only counts beside another of the kind: at its end no surface energy is known.

    Raises
    ------
    InputError
        If there is no element, or more than two.
    """
    symbols = sorted(set(elements))
    if not 1 <= len(symbols) <= 2:
        raise InputError(
            f"surface energy of {'-'.join(symbols) or 'nothing'}: defined for elements and binaries only; "
            "compounds of three or more elements can be listed and cut, not given a surface energy"
        )
    if "Mg" in symbols:
        return "Mg"
    if len(symbols) == 1:
        return symbols[0]
    from pymatgen.core import Element

    from workflows.structures.elements import elements_with_ground_state

    known = [symbol for symbol in symbols if symbol in elements_with_ground_state()] or symbols
    electronegativity = {symbol: float(Element(symbol).X) for symbol in known}
    if any(math.isnan(value) for value in electronegativity.values()):
        return known[0]
    return min(known, key=electronegativity.__getitem__)


def reference_element_of(record: Mapping[str, Any]) -> str:
    """Return the element whose chemical potential a stored surface varies; the element itself of an element.

    Records name it where it is not Mg; those made before they did follow `reference_element`.
    """
    named: str | None = record.get("reference_element")
    return named or reference_element(str(record["chemsys"]).split("-"))


def formation_energy(
    bulk_energy: float, bulk_composition: Mapping[str, float], mu0: Mapping[str, float]
) -> float | None:
    """Return dH_f = E_b - sum_i n_i mu0_i (eV per reduced formula), None if a reference is missing.

    Parameters
    ----------
    bulk_energy
        Energy of the conventional cell (eV per reduced formula).
    bulk_composition
        Atoms of each element in the reduced formula.
    mu0
        Energy of each element's ground state (eV/atom).
    """
    if any(element not in mu0 for element in bulk_composition):
        return None
    return bulk_energy - sum(n * mu0[element] for element, n in bulk_composition.items())


def surface_energy(
    slab_energy: float,
    slab_composition: Mapping[str, int],
    area: float,
    bulk_energy: float,
    bulk_composition: Mapping[str, float],
    mu0: Mapping[str, float],
    conventional_bulk_energy: float | None = None,
) -> SurfaceEnergy:
    """Surface energy of a symmetric slab of an element or of a binary A_a X_b, A being Mg if present.

    With N_A, N_X atoms, area A_s of one side and bulk energy E_b per reduced formula,

        gamma(dmu) = [E_slab - (N_X/b) E_b - (N_A - a N_X/b) (mu0_A + dmu)] / (2 A_s),

    with dmu from dH_f/a (X-rich) to 0 (A-rich): the surface is in equilibrium with bulk, a mu_A + b mu_X
    = E_b, and neither element may precipitate (Reuter and Scheffler, Phys. Rev. B 65, 035406 (2001),
    for constant temperature and without vibrations). The factor 2 counts the two equal sides.

    Parameters
    ----------
    slab_energy
        Of the relaxed slab (eV).
    slab_composition
        Atoms of each element in the slab.
    area
        Of one side (A^2).
    bulk_energy
        E_b from the facet's own oriented cell (eV per reduced formula; per atom for an element).
    bulk_composition
        Atoms of each element in the reduced formula.
    mu0
        Energy of each element's ground state (eV/atom), where known.
    conventional_bulk_energy
        Energy of the conventional cell for dH_f (eV per reduced formula); `bulk_energy` if None.

    Returns
    -------
    SurfaceEnergy
        Values at both ends, slope, window and excesses.

    Raises
    ------
    InputError
        If there are three or more elements, slab and bulk differ in their elements, or the area is not
        positive.
    """
    bulk = {element: float(n) for element, n in bulk_composition.items() if n}
    slab = {element: int(n) for element, n in slab_composition.items() if n}
    reference = reference_element(bulk)
    if set(slab) - set(bulk) or not slab:
        raise InputError(
            f"slab of {'-'.join(sorted(slab)) or 'nothing'} does not belong to a bulk of "
            f"{'-'.join(sorted(bulk))}; give the energy of the bulk the slab was cut from"
        )
    if not area > 0:
        raise InputError(f"surface energy: the area of one side must be positive, got {area} A^2")

    if len(bulk) == 1:
        n_units = slab[reference] / bulk[reference]
        gamma = (slab_energy - n_units * bulk_energy) / (2 * area)
        return SurfaceEnergy(gamma, None, 0.0, None, None, {reference: 0.0}, reference)

    (partner,) = set(bulk) - {reference}
    a, b = bulk[reference], bulk[partner]
    n_reference, n_partner = slab.get(reference, 0), slab.get(partner, 0)
    # one rounding for both: (b N_A - a N_X) is an exact zero for stoichiometric slabs
    imbalance = b * n_reference - a * n_partner
    excess = {reference: imbalance / b, partner: -imbalance / a}
    slope = 0.0 if imbalance == 0 else -excess[reference] / (2 * area)

    known = dict(mu0)
    gamma_rich: float | None = None
    reasons = []
    if imbalance == 0 or reference in known:
        reservoir = excess[reference] * known[reference] if imbalance else 0.0
        gamma_rich = (slab_energy - n_partner / b * bulk_energy - reservoir) / (2 * area)
    else:
        reasons.append(f"no reference energy of {reference}: a non-stoichiometric slab needs it")

    total = bulk_energy if conventional_bulk_energy is None else conventional_bulk_energy
    dH_f = formation_energy(total, bulk, known)
    window: tuple[float, float] | None = None
    gamma_poor: float | None = None
    if dH_f is None:
        missing = ", ".join(sorted(element for element in bulk if element not in known))
        reasons.append(f"no {partner}-rich end: the reference energy of {missing} is missing")
    elif dH_f > 0:
        reasons.append(f"no {partner}-rich end: formation energy {dH_f:.3f} eV per formula unit is positive")
    else:
        window = (dH_f / a, 0.0)
        gamma_poor = None if gamma_rich is None else gamma_rich + slope * window[0]
    return SurfaceEnergy(gamma_rich, gamma_poor, slope, window, dH_f, excess, reference, "; ".join(reasons))


def check_consistency(
    slab: CalculationRecord, bulk: CalculationRecord, references: Iterable[CalculationRecord] = ()
) -> list[str]:
    """Return reasons why the energies of a slab, its bulk and the elements may not be subtracted.

    They must agree in every field of their methods (functional, cut-off, smearing, label convention, ...),
    in the PAW setup or POTCAR actually used for each shared element, and slab and oriented bulk in their
    in-plane cell and k mesh. Errors that cancel only between equal settings are larger than a surface
    energy.

    Parameters
    ----------
    slab
        Calculation of the slab's energy.
    bulk
        Static calculation of the facet's oriented bulk cell.
    references
        Calculations of the elements' ground states.

    Returns
    -------
    list of str
        One line per disagreement; empty if the energies are consistent.
    """
    reasons = []
    for other in (bulk, *references):
        reasons += _method_differences(slab, other)
        reasons += _setup_differences(slab, other)
    return reasons + _mesh_differences(slab, bulk)


def _method_differences(slab: CalculationRecord, other: CalculationRecord) -> list[str]:
    shared = set(slab.chemsys.split("-")) & set(other.chemsys.split("-"))
    shown = {"cutoff": "cut-off", "extra": "further settings"}
    ours, theirs = (record.method.for_elements(shared).model_dump() for record in (slab, other))
    return [
        f"{shown.get(name, name.replace('_', ' '))} of {other.label} is {_short(theirs[name])}, "
        f"of the slab {_short(ours[name])}"
        for name in ours
        if ours[name] != theirs[name] and (name != "setups" or ours["engine"] == theirs["engine"])
    ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _setup_differences(slab: CalculationRecord, other: CalculationRecord) -> list[str]:
    ours, theirs = slab.output.setups, other.output.setups
    return [
        f"setup of {element} in {other.label} is {theirs[element]}, in the slab {ours[element]}"
        for element in sorted(set(ours) & set(theirs))
        if _different_setups(ours[element], theirs[element])
    ]


def _different_setups(ours: str, theirs: str) -> bool:
    """Compare names, and checksums where both have one: ``11 (md5 1a2b3c4d)``."""
    (our_name, _, our_sum), (their_name, _, their_sum) = (s.partition(" (md5 ") for s in (ours, theirs))
    return our_name != their_name or bool(our_sum and their_sum and our_sum != their_sum)


def _mesh_differences(slab: CalculationRecord, bulk: CalculationRecord) -> list[str]:
    reasons = []
    ours, theirs = slab.output.kpoints, bulk.output.kpoints
    if ours is not None and theirs is not None and ours[:2] != theirs[:2]:
        reasons.append(
            f"in-plane k mesh of {bulk.label} is {theirs[0]} x {theirs[1]}, of the slab {ours[0]} x {ours[1]}"
        )
    if slab.output.structure is not None and bulk.output.structure is not None:
        cells = zip(_in_plane(slab.output.structure), _in_plane(bulk.output.structure), strict=True)
        difference = max(abs(mine / other - 1) for mine, other in cells)
        if difference > CELL_TOLERANCE:
            reasons.append(
                f"in-plane cell of {bulk.label} differs from the slab's by {100 * difference:.2f} %"
            )
    return reasons


def _in_plane(structure: StructureDict) -> tuple[float, float, float]:
    """Lengths of a and b (A) and of a - b (A), which fix the in-plane cell up to a rotation."""
    a, b = structure["lattice"]["matrix"][:2]
    return math.hypot(*a), math.hypot(*b), math.dist(a, b)
