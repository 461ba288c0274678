"""Wulff shape of stored records with the conditions under which it holds, as a table and as lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from workflows.report.stable_windows import unstable_note
from workflows.report.style import facet_text, signed
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workflows.analysis.stability_window import StableWindow
    from workflows.analysis.wulff import WulffResult
    from workflows.analysis.wulff_conditions import ChemicalPotential, LeftOut

_SMALLEST_SHARE = 1e-6
"""Faces below this share of the area are rounding errors of the hull."""


@dataclass(frozen=True)
class WulffReport:
    """A Wulff shape and its conditions.

    Attributes
    ----------
    record
        One of the records, to name planes by.
    result
        Shape and averages.
    potential
        Chemical potential of the surface energies.
    missing
        Planes without an accepted surface energy, and rejected terminations.
    stable_note
        Line about phases that form at this chemical potential; empty if none is known to.
    """

    record: Mapping[str, Any]
    result: WulffResult
    potential: ChemicalPotential
    missing: list[LeftOut]
    stable_note: str = ""

    def present(self) -> list[int]:
        """Return indices into the facets of the shape, the largest share of the area first."""
        shares = self.result.area_fractions
        return sorted(
            (i for i, share in enumerate(shares) if share > _SMALLEST_SHARE), key=lambda i: -shares[i]
        )

    def conditions(self) -> str:
        """Return the chemical potential as text; empty for an element."""
        at = self.potential
        if not at.partner:
            return ""
        value = f"Δμ({at.reference}) = {signed(at.dmu, 3) if at.dmu else '0'} eV"
        if at.window is None:
            return f"{at.end}, {value}"
        ends = f"{signed(at.window[0], 3)} ({at.partner}-rich) to 0 ({at.reference}-rich)"
        return f"{at.end}, {value}; window {ends}" if at.end else f"{value}; window {ends}"

    def missing_lines(self) -> list[str]:
        """Return lines that name what the shape leaves out, grouped by the reason."""
        lines = []
        for start, entries in (
            ("planes not in the shape and its averages", [m for m in self.missing if not m.label]),
            ("terminations left out", [m for m in self.missing if m.label]),
        ):
            reasons = dict.fromkeys(entry.reason for entry in entries)
            texts = [
                f"{', '.join(self._named(e) for e in entries if e.reason == reason)} ({reason})"
                for reason in reasons
            ]
            lines += [f"{start}: {'; '.join(texts)}"] if texts else []
        return lines

    def _named(self, entry: LeftOut) -> str:
        plane = facet_text({**self.record, "miller_index": entry.miller_index})
        return f"{plane} {entry.label}".rstrip()


def wulff_report(
    records: Iterable[Mapping[str, Any]],
    bulk: Mapping[str, Any],
    *,
    dmu: float = 0.0,
    x_rich: bool = False,
    known: Iterable[Mapping[str, Any]] | None = None,
    max_index: int | None = None,
    stable: StableWindow | None = None,
) -> WulffReport:
    """Build the Wulff shape of one compound from its accepted facets.

    Parameters
    ----------
    records
        Stored surface records of one bulk and one method.
    bulk
        `structure` of its BulkRecord, the cell the Miller indices refer to.
    dmu
        Chemical potential of the reference element (eV); 0 is Mg-rich.
    x_rich
        Take the X-rich end of the window.
    known
        All records of this bulk and method, to find what is missing; `records` if None.
    max_index
        Planes up to this Miller index are expected; the largest in `known` if None.
    stable
        Where the compound is stable against other phases; a line is added outside.

    Raises
    ------
    InputError
        If the records belong to several bulks or methods, the chemical potential lies outside the window, or
        there is no Wulff shape: the message gives the reason.
    """
    from stores.structures.document import structure_from_document
    from workflows.analysis.wulff import facets_from_records, wulff
    from workflows.analysis.wulff_conditions import chemical_potential, is_usable, left_out
    from workflows.structures.crystal import crystal_of

    chosen = list(records)
    if not chosen:
        raise InputError("Wulff shape: no record; widen the filter")
    if len({(r["bulk_id"], r["method_fingerprint"]) for r in chosen}) > 1:
        names = ", ".join(sorted({r["formula"] for r in chosen}))
        raise InputError(f"Wulff shape: one bulk and one method at a time, found {names}; filter the records")
    at = chemical_potential(chosen, dmu, x_rich)
    crystal = structure_from_document(dict(bulk), "the bulk crystal")
    result = wulff(crystal, facets_from_records(r for r in chosen if is_usable(r, at.dmu)), at.dmu)
    if result.shape is None:
        raise InputError(f"{chosen[0]['formula']}: {result.reason}")
    missing = left_out(crystal_of(crystal), chosen, chosen if known is None else known, at.dmu, max_index)
    return WulffReport(chosen[0], result, at, missing, unstable_note(stable, at.dmu))


def wulff_table(report: WulffReport) -> Table:
    """Table of the faces of the shape; below it the averages and what is left out."""
    from workflows.report.tables import EV_PER_A2_IN_J_PER_M2

    result = report.result
    title = ": ".join(part for part in (report.record["formula"], report.conditions()) if part)
    numbers = ("area\n%", "γ\neV/Å²", "γ\nJ/m²", "Φ\neV")
    columns = [Column("facet"), Column("termination", short="term.")]
    table = Table([*columns, *(Column(name, right=True) for name in numbers)], title)
    for index in report.present():
        facet, gamma = result.facets[index], result.surface_energies[index]
        table.add_row(
            facet_text({**report.record, "miller_index": facet.miller_index}),
            facet.label,
            f"{100 * result.area_fractions[index]:.1f}",
            f"{gamma:.4f}",
            f"{gamma * EV_PER_A2_IN_J_PER_M2:.3f}",
            "–" if facet.work_function is None else f"{facet.work_function:.3f}",
        )
    phi = "–" if result.work_function is None else f"{result.work_function:.3f} eV"
    table.notes.append(
        f"weighted by area: γ = {result.surface_energy:.4f} eV/Å², Φ = {phi}; "
        f"shape factor {result.shape_factor:.2f} (sphere 4.84)"
    )
    table.notes += [line for line in (result.reason, report.stable_note, *report.missing_lines()) if line]
    return table
