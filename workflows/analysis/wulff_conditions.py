"""Conditions of a Wulff shape: at which chemical potential it holds, and which planes it leaves out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from workflows.analysis.surface_energy import reference_element
from workflows.structures.facets import distinct_facets, standard_plane
from workflows.structures.planes import plane_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from workflows.structures.crystal import Crystal
    from workflows.structures.facets import Miller

    Record = Mapping[str, Any]

_SHOWN_DIGITS = 0.0005
"""Bounds are shown with three decimals (eV); what was typed from there counts as the bound itself."""


@dataclass(frozen=True)
class ChemicalPotential:
    """Chemical potential at which surface energies are taken.

    Attributes
    ----------
    dmu
        Of `reference`, relative to its elemental phase (eV).
    window
        From X-rich to Mg-rich (eV); None for elements and where it is not known.
    reference, partner
        Element whose chemical potential it is (Mg wherever there is Mg), and the other one; the partner of
        an element is empty.
    """

    dmu: float
    window: tuple[float, float] | None
    reference: str
    partner: str

    @property
    def end(self) -> str:
        """Name of the end of the window where this is, such as "Mg-rich"; empty in between."""
        if not self.partner:
            return ""
        if self.dmu == 0:
            return f"{self.reference}-rich"
        return f"{self.partner}-rich" if self.window and self.dmu == self.window[0] else ""


def chemical_potential(
    records: Sequence[Record], dmu: float = 0.0, x_rich: bool = False
) -> ChemicalPotential:
    """Find the chemical potential for surface records of one crystal and one method.

    Parameters
    ----------
    records
        With `formula`, `chemsys` and `chemical_potential_window`.
    dmu
        Of the reference element (eV); 0 is Mg-rich.
    x_rich
        Take the other end of the window.

    Raises
    ------
    InputError
        If both are given, or it lies outside the window within which the elements do not precipitate.
    """
    if x_rich and dmu != 0:
        raise InputError("--dmu and --x-rich exclude each other; choose one")
    formula = records[0]["formula"]
    elements = str(records[0]["chemsys"]).split("-")
    if len(elements) > 2:
        raise InputError(f"{formula}: surface energies are defined for elements and binary compounds only")
    reference = reference_element(elements)
    partner = next((element for element in elements if element != reference), "")
    windows = [w for record in records if (w := record.get("chemical_potential_window"))]
    window = (max(float(w[0]) for w in windows), 0.0) if windows else None
    wanted = "--x-rich" if x_rich else f"--dmu {dmu:g}"
    if window is None:
        if x_rich or dmu != 0:
            why = (
                "it is an element"
                if not partner
                else f"its formation energy is positive or the reference of {partner} is missing"
            )
            raise InputError(f"{formula} has no window of the chemical potential ({why}); leave out {wanted}")
        return ChemicalPotential(0.0, None, reference, partner)
    low = window[0]
    if x_rich or low - _SHOWN_DIGITS <= dmu < low:
        dmu = low
    if not low <= dmu <= 0:  # also for what is not a number
        shown = f"{dmu:g}" if math.isfinite(dmu) else str(dmu)
        raise InputError(
            f"{formula}: --dmu {shown} lies outside the window of the chemical potential of {reference}, "
            f"{low:.3f} eV ({partner}-rich) to 0 eV ({reference}-rich); choose a value within it"
        )
    return ChemicalPotential(dmu + 0.0, window, reference, partner)


@dataclass(frozen=True)
class LeftOut:
    """A plane, or a termination of a plane, that has no part in a Wulff shape.

    Attributes
    ----------
    miller_index
        In the conventional standard cell.
    label
        Termination; empty for a whole plane.
    reason
        One line.
    """

    miller_index: Miller
    label: str
    reason: str


def left_out(
    crystal: Crystal,
    used: Iterable[Record],
    known: Iterable[Record],
    dmu: float = 0.0,
    max_index: int | None = None,
) -> list[LeftOut]:
    """List planes without an accepted surface energy, and rejected terminations of the other planes.

    Parameters
    ----------
    crystal
        The bulk.
    used
        Records that the shape is made of; their rejected ones are not.
    known
        All records of the same bulk and method in the store.
    dmu
        Chemical potential of the shape (eV).
    max_index
        Planes up to this Miller index are expected; the largest of `known` if None.

    Returns
    -------
    list of LeftOut
        Whole planes first, each in the order of `distinct_facets`.
    """
    planes: dict[Miller, list[Record]] = {}
    for record in known:
        if any(record["miller_index"]):
            planes.setdefault(standard_plane(crystal, tuple(record["miller_index"])), []).append(record)
    taken = {
        (standard_plane(crystal, tuple(r["miller_index"])), _label(r)) for r in used if is_usable(r, dmu)
    }
    present = {plane for plane, _ in taken}
    largest = max_index or max((abs(i) for plane in planes for i in plane), default=1)
    expected = [*distinct_facets(crystal, largest), *planes]
    whole = [
        LeftOut(plane, "", _why(crystal, plane, planes.get(plane, []), dmu))
        for plane in dict.fromkeys(expected)
        if plane not in present
    ]
    single = [
        LeftOut(plane, _label(record), _status(record))
        for plane, records in planes.items()
        if plane in present
        for record in records
        if not is_usable(record, dmu) and (plane, _label(record)) not in taken
    ]
    return whole + list(dict.fromkeys(single))


def _label(record: Record) -> str:
    return str(record.get("termination_label") or "")


def is_usable(record: Record, dmu: float = 0.0) -> bool:
    """Whether the record has an accepted surface energy of a known plane at a chemical potential (eV)."""
    accepted = record["verdicts"]["surface_energy"]["status"] == "accepted"
    known = record.get("surface_energy") is not None and any(record["miller_index"])
    return bool(accepted and known and (dmu == 0 or record.get("surface_energy_slope") is not None))


def _status(record: Record) -> str:
    if is_usable(record):
        return "surface energy known at the Mg-rich end only"
    return str(record["verdicts"]["surface_energy"]["status"]).replace("_", " ")


def _why(crystal: Crystal, plane: Miller, records: Sequence[Record], dmu: float) -> str:
    if any(is_usable(record, dmu) for record in records):
        return "not among the selected records"
    if records:
        return ", ".join(dict.fromkeys(_status(record) for record in records))
    polar = plane_of(crystal, plane).is_polar
    return "polar direction: no symmetric slab exists" if polar else "not computed"
