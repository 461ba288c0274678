"""Figures of convergence: slab thickness with its fit, and any other scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workflows.analysis.convergence import converged_at, fit_thickness
from workflows.analysis.surface_energy import EV_PER_A2_IN_J_PER_M2
from workflows.report.style import GAMMA_LABEL, GREY, PALETTE, add_joule_axis, new_figure, signed, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure


def thickness_figure(
    title: str, n_units: Sequence[float], slab_energies: Sequence[float], area: float
) -> Figure:
    """Draw slab energies over thickness as residuals of the Fiorentini-Methfessel line, and gamma.

    Units, energies (eV) and area (A^2) are those of `workflows.analysis.convergence.fit_thickness`.
    """
    fit = fit_thickness(n_units, slab_energies, area)
    units, energies = np.asarray(n_units, dtype=float), np.asarray(slab_energies, dtype=float)
    order = np.argsort(units)
    units, energies = units[order], energies[order]
    line = 2 * area * fit.surface_energy + units * fit.bulk_energy

    with styled():
        figure = new_figure(8.2, 3.7)
        left, right = figure.subplots(1, 2)
        figure.suptitle(f"{title}: convergence with slab thickness", fontsize=10.5)
        left.axhline(0, color=GREY, linewidth=1)
        left.plot(units, 1000 * (energies - line), "o-", color=PALETTE[0], linewidth=1)
        left.set_xlabel("bulk units in the slab")
        left.set_ylabel("slab energy less fit (meV per cell)")
        slope = signed(fit.bulk_energy, 5)
        left.set_title(
            f"$E = 2A\\gamma + N E_b$: $E_b$ = {slope} eV, rms {1000 * fit.residual:.1f} meV", fontsize=8.5
        )
        right.axhline(fit.surface_energy, color=PALETTE[1], label="fit over thickness")
        right.axhspan(
            fit.surface_energy - fit.surface_energy_error, fit.surface_energy + fit.surface_energy_error,
            color=PALETTE[1], alpha=0.18, linewidth=0,
        )  # fmt: skip
        each = (energies - units * fit.bulk_energy) / (2 * area)
        right.plot(units, each, "o", color=PALETTE[1], label="each slab, $E_b$ of the fit")
        right.margins(y=0.35)
        right.ticklabel_format(axis="y", useOffset=False)
        right.set_xlabel("bulk units in the slab")
        right.set_ylabel(GAMMA_LABEL)
        joule = fit.surface_energy * EV_PER_A2_IN_J_PER_M2
        right.set_title(
            f"$\\gamma$ = {fit.surface_energy:.4f} ± {fit.surface_energy_error:.4f} eV/Å$^2$ "
            f"({joule:.3f} J/m$^2$)",
            fontsize=8.5,
        )
        right.legend(loc="best", fontsize=8)
        add_joule_axis(right)
        return figure


def scan_figure(
    title: str,
    settings: Sequence[float],
    series: Sequence[tuple[str, Sequence[float], float]],
    setting_label: str,
) -> Figure:
    """Draw values over a setting that grows towards accuracy, with the tolerance about the last.

    A series is the axis label with unit, the values and the tolerance of one panel.
    """
    order = np.argsort(np.asarray(settings, dtype=float))
    x = np.asarray(settings, dtype=float)[order]
    with styled():
        figure = new_figure(4.2 * len(series), 3.6)
        panels = figure.subplots(1, len(series), squeeze=False)[0]
        figure.suptitle(title, fontsize=10.5)
        for number, (panel, (label, values, tolerance)) in enumerate(zip(panels, series, strict=True)):
            y = np.asarray(values, dtype=float)[order]
            reached = converged_at(x.tolist(), y.tolist(), tolerance)
            panel.axhspan(y[-1] - tolerance, y[-1] + tolerance, color=PALETTE[2], alpha=0.18, linewidth=0)
            panel.plot(x, y, "o-", color=PALETTE[number])
            if reached is not None:
                panel.axvline(reached, color=GREY, linewidth=1, linestyle=(0, (4, 2)))
            panel.set_title(
                f"within {tolerance:g} of the last value " + ("nowhere yet" if reached is None else
                f"from {reached:g} on"), fontsize=8.5,
            )  # fmt: skip
            panel.ticklabel_format(axis="y", useOffset=False)
            panel.margins(y=0.2)
            panel.set_xlabel(setting_label)
            panel.set_ylabel(label)
        return figure
