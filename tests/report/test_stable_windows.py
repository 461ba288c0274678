"""The window in which a compound is stable, in tables and figures."""

import io
from dataclasses import replace

import pytest
from matplotlib.text import Text
from rich.console import Console

from workflows.analysis.stability_window import StableWindow
from workflows.report.phase import STABLE, chemical_potential_figure
from workflows.report.tables import describe, stable_window_table

WINDOW = StableWindow((-0.3, -0.05), ("MgAg3", "Mg3Ag"), 0.0, (), ("Mg3Ag", "MgAg3"), "Mg", "oqmd")
ABOVE = StableWindow(None, energy_above_hull=0.02, reason="MgAg is 0.0200 eV/atom above the hull")


def texts(figure):
    return [t.get_text() for t in figure.findobj(Text) if t.get_visible() and t.get_text()]


def shaded(figure):
    return [p for p in figure.axes[0].patches if p.get_label() == "stable"]


def test_the_figure_shades_the_window_and_names_what_forms_beyond(mgag):
    figure = chemical_potential_figure(mgag, WINDOW)
    (span,) = shaded(figure)
    assert (span.get_x(), span.get_x() + span.get_width()) == pytest.approx((-0.3, -0.05))
    assert span.get_facecolor()[:3] == pytest.approx([int(STABLE[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    assert {"MgAg$_{3}$", "Mg$_{3}$Ag", "stable"} <= set(texts(figure))


@pytest.mark.parametrize("window", [(-0.42, 0.0), (-0.9, 0.0)], ids=["the whole", "beyond our own"])
def test_nothing_is_shaded_where_all_is_stable(mgag, window):
    assert shaded(chemical_potential_figure(mgag, StableWindow(window, ("Ag", "Mg"), 0.0))) == []


def test_one_end_at_the_border(mgag):
    figure = chemical_potential_figure(mgag, StableWindow((-0.42, -0.001), ("Ag", "Mg3Ag"), 0.0))
    assert len(shaded(figure)) == 1
    assert "Mg$_{3}$Ag" in texts(figure) and "Ag" not in texts(figure)


def test_above_the_hull_the_figure_says_so(mgag):
    figure = chemical_potential_figure(mgag, ABOVE)
    assert shaded(figure) == []
    assert any("above the hull" in text for text in texts(figure))


def test_unknown_phases_change_nothing(mgag):
    figure = chemical_potential_figure(mgag, StableWindow(None, reason="its bulk b is not in the store"))
    assert texts(figure) == texts(chemical_potential_figure(mgag))


@pytest.mark.parametrize("width", [80, 114, 160])
def test_the_table_fits(mgag, magnesium, width):
    text = io.StringIO()
    windows = [*[StableWindow(None, reason="Mg is an element")] * 2, *[WINDOW] * 4, ABOVE]
    table = stable_window_table([*magnesium, *mgag], windows)
    Console(file=text, width=width).print(table)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text.getvalue()
    row = next(line for line in lines if "(100)" in line and "Mg " in line)
    slope = 1 / (2 * 3.34**2)
    assert row.split()[3:8] == ["0.0364", "−0.300", "−0.050", f"{0.0364 + 0.3 * slope:.4f}",
                                f"{0.0364 + 0.05 * slope:.4f}"]  # fmt: skip
    joined = " ".join(text.getvalue().split())
    assert "compared with Mg3Ag, MgAg3 by oqmd" in joined


def test_a_window_by_another_method_is_no_part_of_that_by_our_own(mgag):
    surface = mgag[0]
    own = surface["method_fingerprint"]
    low = f"−{-surface['chemical_potential_window'][0]:.3f}"
    same = describe(surface, replace(WINDOW, method=own), {own: "gpaw demo"})
    assert f"(Mg3Ag forms above), of {low} to 0; compared with Mg3Ag, MgAg3 by gpaw demo" in same
    other = describe(surface, WINDOW, {own: "gpaw demo"})
    assert (
        f"(Mg3Ag forms above); the elements alone leave {low} to 0 by gpaw demo; "
        "compared with Mg3Ag, MgAg3 by oqmd"
    ) in other
