"""Surface energies where the compound is stable, as a table for people and as fields for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.analysis.stability_window import SAME_ENERGY, surface_energies_at
from workflows.report.style import signed, sort_key
from workflows.report.table import Column, Table
from workflows.report.tables import (
    EV_PER_A2_IN_J_PER_M2,
    facet_cells,
    facet_columns,
    method_names,
    status_style,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workflows.analysis.stability_window import StableWindow


def window_fields(surface: Mapping[str, Any], window: StableWindow) -> dict[str, Any]:
    """Return what JSON shows of a surface's compound: energies in eV, surface energies in eV/A^2."""
    return {
        "stable_window": _plain(window.window),
        "stable_surface_energies": _plain(surface_energies_at(window.window, surface)),
        "stable_limits": _plain(window.limits),
        "energy_above_hull": window.energy_above_hull,
        "decomposition": dict(window.decomposition),
        "competing_phases": list(window.competing),
        "stable_method": window.method,
        "stable_reason": window.reason,
    }


def flat_window_fields(surface: Mapping[str, Any], window: StableWindow) -> dict[str, Any]:
    """Return the same for CSV, each end in a column of its own."""
    flat: dict[str, Any] = {}
    energies = surface_energies_at(window.window, surface)
    for name, ends in (
        ("stable_window", window.window),
        ("stable_surface_energy", energies),
        ("stable_limit", window.limits),
    ):
        flat[f"{name}_from"], flat[f"{name}_to"] = ends or (None, None)
    return {
        **flat,
        "energy_above_hull": window.energy_above_hull,
        "decomposition": " + ".join(f"{share:.4g} {name}" for name, share in window.decomposition),
        "competing_phases": ", ".join(window.competing),
        "stable_method": window.method,
        "stable_reason": window.reason,
    }


def _plain(ends: tuple[Any, Any] | None) -> list[Any] | None:
    return None if ends is None else list(ends)


def stable_window_table(
    surfaces: Sequence[Mapping[str, Any]], windows: Sequence[StableWindow], sort: bool = True
) -> Table:
    """Table of facets with gamma at both ends of their compound's stable window.

    Parameters
    ----------
    surfaces
        Documents as stored, with `surface_energy_slope` and `chemical_potential_window`.
    windows
        One for each.
    sort
        By compound, plane and termination; False keeps the order given.

    Returns
    -------
    Table
        Below it one line for each compound: from where to where, what forms beyond, what it was compared
        with.
    """
    from rich.text import Text

    listed = list(zip(surfaces, windows, strict=True))
    if sort:
        listed.sort(key=lambda pair: sort_key(pair[0]))
    methods = method_names({str(surface["method_fingerprint"]) for surface in surfaces})
    several_methods = len(methods) > 1
    columns = [*facet_columns(), Column("γ Mg-rich\neV/Å²", right=True)]
    columns += [
        Column(name, right=True) for name in ("Δμ from\neV", "Δμ to\neV", "γ(from)\neV/Å²", "γ(to)\neV/Å²")
    ]
    columns += [Column(name, right=True, spare=True) for name in ("γ(from)\nJ/m²", "γ(to)\nJ/m²")]
    columns += [Column("method")] if several_methods else []
    table = Table([*columns, Column("verdict γ", wrap=True)])
    for surface, window in listed:
        status = str(surface["verdicts"]["surface_energy"]["status"])
        gamma, ends = surface.get("surface_energy"), surface_energies_at(window.window, surface)
        style = "" if status == "accepted" else "yellow"
        cells = [
            *facet_cells(surface),
            Text("–" if gamma is None else f"{gamma:.4f}", style=style),
            *(Text("–" if window.window is None else signed(x, 3)) for x in window.window or (0, 0)),
            *(Text("–" if ends is None else f"{x:.4f}", style=style) for x in ends or (0, 0)),
        ]
        joule = [x * EV_PER_A2_IN_J_PER_M2 for x in ends or (0, 0)]
        cells += [Text("–" if ends is None else f"{x:.3f}", style=style) for x in joule]
        if several_methods:
            cells.append(Text(methods[str(surface["method_fingerprint"])]))
        table.add_row(*cells, Text(status.replace("_", " "), style=status_style(status)))
        line = describe(surface, window, methods)
        if line not in table.notes:
            table.notes.append(line)
    return table


def unstable_note(window: StableWindow | None, dmu: float) -> str:
    """Return a line if another phase forms at a chemical potential (eV), else an empty text."""
    if window is None or window.energy_above_hull is None:
        return ""
    if window.window is None or window.limits is None:
        return window.reason
    (low, high), (left, right) = window.window, window.limits
    if low - SAME_ENERGY <= dmu <= high + SAME_ENERGY:
        return ""
    phase = left if dmu < low else right
    return (
        f"not stable at this chemical potential: {phase} forms; stable from {signed(low, 3)} to "
        f"{signed(high, 3)} eV ({window.method})"
    )


def describe(surface: Mapping[str, Any], window: StableWindow, methods: Mapping[str, str]) -> str:
    """Say in one line where a compound is stable, or why nowhere; `methods` has short names of some."""
    method = methods.get(window.method, window.method)
    formula = surface["formula"]
    phases = ", ".join(window.competing)
    against = (
        f"compared with {phases} by {method}"
        if phases
        else f"only elemental reference phases available from {method}"
    )
    if window.window is None or window.limits is None:
        line = window.reason if window.reason.startswith(formula) else f"{formula}: {window.reason}"
        return line if window.energy_above_hull is None else f"{line} ({against})"
    (low, high), (left, right) = window.window, window.limits
    whole = surface.get("chemical_potential_window")
    own, of = str(surface["method_fingerprint"]), ""
    if whole and own == window.method:
        of = f", of {signed(whole[0], 3)} to 0"
    elif whole:  # another formation energy, so that one window need not lie in the other
        of = f"; the elements alone leave {signed(whole[0], 3)} to 0 by {methods.get(own, own)}"
    return (
        f"{formula}: stable at Δμ({window.reference}) from {signed(low, 3)} eV ({left} forms below) to "
        f"{signed(high, 3)} eV ({right} forms above){of}; {against}"
    )
