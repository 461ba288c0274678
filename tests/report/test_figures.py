"""Figures are drawn at full size, then checked for what a reader would see: labels, values, nothing cut."""

import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from stores.errors import InputError
from workflows.report.audit_figure import audit_figure
from workflows.report.convergence_figure import scan_figure, thickness_figure
from workflows.report.phase import chemical_potential_figure
from workflows.report.potential import potential_figure
from workflows.report.scatter import MOST_LABELS, pareto_front, scatter_figure
from workflows.report.style import facet_mathtext, formula_mathtext, miller_mathtext, save
from workflows.report.summary_figure import summary_figure
from workflows.report.training_figures import learning_curve_figure
from workflows.report.wulff import wulff_figure


@pytest.fixture
def shown(request):
    """Lay a figure out (and write it to MGSURF_FIGURES, if set, to be looked at) and return its texts."""

    def write(figure):
        if folder := os.environ.get("MGSURF_FIGURES"):
            save(figure, Path(folder) / f"{request.node.name.removeprefix('test_')}.png")
        figure.draw_without_rendering()
        return [t.get_text() for t in figure.findobj(Text) if t.get_visible() and t.get_text()]

    return write


def labels_apart(axes):
    """No two labels of points cover one another."""
    boxes = [t.get_window_extent() for t in axes.texts if t.get_text()]
    return not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_figures_are_written_as_png_with_nothing_cut_off(mgag, tmp_path):
    save(potential_figure(mgag[0]), tmp_path / "potential.png")
    assert (tmp_path / "potential.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "potential.png").stat().st_size > 10_000


def test_figures_of_one_panel_draw_on_given_axes(mgag, mgag_bulk):
    page = Figure(figsize=(12, 9))
    for place, draw in enumerate(
        (
            lambda ax: chemical_potential_figure(mgag, ax=ax),
            lambda ax: scatter_figure(mgag, ax=ax),
            lambda ax: potential_figure(mgag[0], ax=ax),
            lambda ax: learning_curve_figure(
                [{"preset": "a", "n": 9, "metric": "MAE", "error": 1, "spread": 0}], "gap", ax=ax
            ),
            lambda ax: audit_figure([("MgAg", "faulty", 0.5, [(0.1, -0.05)])], [(0.2, 0.01)], ax=ax),
        ),
        start=1,
    ):
        ax = page.add_subplot(2, 3, place)
        assert draw(ax) is page
        assert ax.get_xlabel() and ax.get_ylabel() and (ax.lines or ax.collections)
    solid = page.add_subplot(2, 3, 6, projection="3d")
    assert wulff_figure(mgag, mgag_bulk, ax=solid) is page
    labels = [text.get_text() for text in solid.get_legend().get_texts()]
    assert labels[0].startswith("$(") and labels[0].endswith("%")
    with pytest.raises(InputError, match="3d"):
        wulff_figure(mgag, mgag_bulk, ax=page.axes[0])
    page.draw_without_rendering()


def test_typography():
    assert miller_mathtext((1, 0, -1)) == r"$(10\overline{1})$"
    assert miller_mathtext((12, -1, 0)) == r"$(12\,\overline{1}\,0)$"
    assert formula_mathtext("Mg17Al12") == "Mg$_{17}$Al$_{12}$"


def test_hexagonal_facets_are_named_by_four_indices(magnesium):
    assert [facet_mathtext(r) for r in magnesium] == ["$(0001)$", r"$(10\overline{1}0)$"]


def test_potential(mgag, shown):
    texts = shown(potential_figure(mgag[0]))
    assert texts.count(r"$\Phi$ = 3.378 eV") == 2
    assert "$E_F$" in texts and "Mg" in texts and "Ag" in texts


def test_potential_of_a_slab_cut_by_the_cell_boundary(mgag, shown):
    record = mgag[1]
    n = len(record["potential"]["z"])
    record["potential"]["potential"] = np.roll(record["potential"]["potential"], n // 2).tolist()
    for site in record["relaxed_slab"]["sites"]:
        site["abc"][2] = (site["abc"][2] + 0.5) % 1.0
    assert shown(potential_figure(record)).count(r"$\Phi$ = 4.304 eV") == 2


def test_potential_missing(mgag):
    mgag[0]["potential"] = None
    with pytest.raises(InputError, match="no planar potential"):
        potential_figure(mgag[0])


def test_chemical_potential(mgag, shown):
    figure = chemical_potential_figure(mgag)
    texts = shown(figure)
    assert {"Mg-rich", "Ag-rich", "$(100)$ Ag"} <= set(texts)
    ends = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    # (100) Ag: 0.0778 - 0.42/(2*3.34^2) = 0.0590 at the Ag-rich end
    assert ends["$(100)$ Ag"] == pytest.approx([0.0778 - 0.42 / (2 * 3.34**2), 0.0778])


def test_chemical_potential_of_36_facets(laves, shown):
    figure = chemical_potential_figure(laves)
    assert sum("rejected" in text for text in shown(figure)) > 0
    drawn = {
        (line.get_color(), str(line._unscaled_dash_pattern), line.get_marker())
        for line in figure.axes[0].lines
    }
    assert len(drawn) == 36  # every facet is distinguished from the others


def test_chemical_potential_of_100_facets_fits_a_page(laves):
    many = [{**r, "surface_energy": r["surface_energy"] * f} for f in (1.0, 1.3, 1.6) for r in laves]
    figure = chemical_potential_figure(many)
    axes = figure.axes[0]
    assert max(figure.get_size_inches()) < 12
    assert len(axes.lines) >= 108
    named = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert len(named) == 44 and "44 of 108" in axes.get_title()
    lowest = sorted(min(line.get_ydata()) for line in axes.lines)
    assert max(min(line.get_ydata()) for line in named) == pytest.approx(lowest[43])


def test_chemical_potential_needs_one_binary(campaign, magnesium):
    with pytest.raises(InputError, match="one compound"):
        chemical_potential_figure(campaign)
    with pytest.raises(InputError, match="no window"):
        chemical_potential_figure(magnesium)


def beats(a, b):
    """Whether a is at least as good as b in both values and better in one."""
    gain = a["work_function"] - b["work_function"]
    saved = b["surface_energy"] - a["surface_energy"]
    return gain >= 0 and saved >= 0 and (gain > 0 or saved > 0)


PARTNERS = ("Ag", "Pd", "Zn", "Cu", "Ni", "Pt", "Au", "Sc", "Y", "Gd", "Al", "Ga")


def crowd(make_record, n, seed=0, digits=3):
    """n accepted and rejected facets of twelve compounds; rounding makes some of them equal."""
    random = np.random.default_rng(seed)
    return [
        make_record(
            formula=f"Mg{PARTNERS[i % 12]}", miller=(1, i % 3, i % 2),
            termination=i // 12, label=f"Mg-{i}", gamma=round(float(random.normal(0.06, 0.015)), digits),
            phi=round(float(random.normal(3.9, 0.3)), digits - 1),
            gamma_verdict=("reconstructed", "moved") if random.uniform() < 0.15 else ("accepted", ""),
        )
        for i in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize(("n", "digits"), [(1, 3), (12, 3), (36, 3), (120, 2)])
def test_the_pareto_front_is_what_no_other_beats_and_all_of_it_is_labelled(make_record, n, digits):
    facets = crowd(make_record, n, digits=digits)
    good = [r for r in facets if r["verdicts"]["surface_energy"]["status"] == "accepted"]
    free = [r for r in good if not any(beats(other, r) for other in good)]
    assert sorted(r["termination_label"] for r in pareto_front(facets)) == sorted(
        r["termination_label"] for r in free
    )
    axes = scatter_figure(facets).axes[0]
    texts = {t.get_text() for t in axes.texts}
    assert {facet_mathtext(r, with_formula=n > 1) for r in free} <= texts
    if n > MOST_LABELS:
        assert len(texts - {""}) == len({facet_mathtext(r, with_formula=True) for r in free})
        assert f"{len(free)} of {n} facets are labelled: the Pareto front" in axes.get_title()
    assert labels_apart(axes)


@pytest.mark.parametrize("n", [36, 120])
def test_each_label_belongs_to_its_point(make_record, n):
    """The point nearest to a label without a leader is its own; a leader ends at its own point."""
    facets = {facet_mathtext(r, with_formula=True): r for r in crowd(make_record, n, seed=1)}
    figure = scatter_figure(facets.values())
    axes = figure.axes[0]
    points = axes.transData.transform([(r["surface_energy"], r["work_function"]) for r in facets.values()])
    ends = [axes.transData.transform(t.xy) for t in axes.texts if not t.get_text()]
    for label in axes.texts:
        if not label.get_text():
            continue
        own = facets[label.get_text()]
        place = axes.transData.transform((own["surface_energy"], own["work_function"]))
        assert axes.transData.transform(label.xy) == pytest.approx(place)
        box = label.get_window_extent()
        low, high = np.array([box.x0, box.y0]), np.array([box.x1, box.y1])
        gaps = np.linalg.norm(np.maximum(0, np.maximum(low - points, points - high)), axis=1)
        leader = any(np.allclose(end, place) for end in ends)
        assert leader or np.allclose(points[np.argmin(gaps)], place, atol=5 * figure.dpi / 72)


@pytest.mark.parametrize("n_compounds", [1, 100])
def test_the_legend_leaves_room_for_panel_and_title(make_record, n_compounds):
    random = np.random.default_rng(3)
    n = max(40, n_compounds)
    facets = [
        make_record(
            formula=f"Mg{i % n_compounds + 1}Ag", miller=(1, i % 20, 0), termination=i, label=f"Mg-{i}",
            gamma=float(random.normal(0.06, 0.001)), phi=float(random.normal(3.9, 0.3)),
        )
        for i in range(n)
    ]  # fmt: skip
    figure = scatter_figure(facets)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert f" of {n} facets are labelled" in axes.get_title()
    assert not axes.title.get_window_extent().overlaps(figure.legends[0].get_window_extent())
    assert axes.get_position().width > 0.5
    assert sum(len(points.get_offsets()) for points in axes.collections) == n


def test_scatter(mgag, shown):
    figure = scatter_figure(mgag)
    assert labels_apart(figure.axes[0])
    texts = shown(figure)
    assert "Pareto front" in texts
    assert texts.count("$(111)$ Ag") == 1


def test_scatter_of_a_campaign(campaign, shown):
    figure = scatter_figure(campaign)
    assert labels_apart(figure.axes[0])
    assert "rejected" in shown(figure)


def test_scatter_of_36_facets(laves, shown):
    figure = scatter_figure(laves)
    assert labels_apart(figure.axes[0])
    named = [text for text in shown(figure) if " " in text and text.startswith("$(")]
    assert len(named) >= 30  # crowded points may go without, most may not


def test_scatter_without_values(mgag):
    for record in mgag:
        record["work_function"] = None
    with pytest.raises(InputError, match="no record has both"):
        scatter_figure(mgag)


def test_wulff(mgag, mgag_bulk, shown):
    texts = shown(wulff_figure(mgag, mgag_bulk))
    assert any("weighted by area" in text for text in texts)
    assert "$(100)$ Mg" in texts and "0.0364" in texts and "3.378" in texts


def test_wulff_of_36_facets(laves, laves_bulk, shown):
    shown(wulff_figure(laves, laves_bulk, dmu=-0.2))


def test_wulff_that_does_not_exist(mgag, mgag_bulk, campaign):
    mgag[0]["surface_energy"] = -0.01
    with pytest.raises(InputError, match="MgAg: no Wulff shape"):
        wulff_figure(mgag, mgag_bulk)
    with pytest.raises(InputError, match="one bulk"):
        wulff_figure(campaign, mgag_bulk)


def test_thickness(shown):
    # 2 * 0.0505 eV/A^2 * 15.8 A^2 = 1.5958 eV, E_b = -5.1 eV, scatter of a few meV
    layers = np.array([5, 7, 9, 11, 13])
    energies = 1.5958 - 5.1 * layers + np.array([0.004, -0.003, 0.002, -0.001, 0.0005])
    figure = thickness_figure("MgAg $(110)$", layers, energies, 15.8)
    assert any("0.0505" in text for text in shown(figure))


def test_scan(shown):
    series = [
        ("surface energy (eV/Å$^2$)", [0.0551, 0.0521, 0.0508, 0.0506, 0.0505], 0.0005),
        ("work function (eV)", [4.2, 4.11, 4.08, 4.08, 4.079], 0.02),
    ]
    texts = shown(
        scan_figure(
            "MgAg $(110)$: convergence with cut-off", [250, 300, 400, 500, 600], series, "cut-off (eV)"
        )
    )
    assert "within 0.0005 of the last value from 400 on" in texts


def test_summary(campaign, shown):
    texts = shown(summary_figure(campaign, "quickstart"))
    assert {"MgAg", "MgPd", "Mg", "$(100)$ Pd", "failed", "X-rich"} <= set(texts)


def test_summary_of_36_facets(laves, shown):
    assert "$(0001)$ Mg" in shown(summary_figure(laves))


@pytest.mark.parametrize(("n", "shown_of_them"), [(104, 104), (120, 104)])
def test_summary_of_100_facets_fits_a_page(make_record, n, shown_of_them):
    figure = summary_figure(crowd(make_record, n), "campaign")
    assert max(figure.get_size_inches()) < 17
    labels = [label for axes in figure.axes for label in axes.get_yticklabels()]
    assert len(labels) == shown_of_them
    title = figure.get_suptitle()
    assert title == "campaign" if n == shown_of_them else f"{shown_of_them} of {n} facets" in title


def test_summary_without_work_functions_has_no_numbers_at_their_axis(campaign):
    def ticks(records):
        return [len(axes.get_xticks()) for axes in summary_figure(records).axes[:2]]

    without = [{**record, "work_function": None} for record in campaign]
    assert min(ticks(campaign)) > 0
    assert ticks(without)[0] > 0 and ticks(without)[1] == 0


def test_summary_of_nothing():
    with pytest.raises(InputError, match="no surface record"):
        summary_figure([])


def test_drawing_leaves_no_global_state(mgag):
    import matplotlib.pyplot as plt

    before = plt.rcParams["axes.grid"]
    scatter_figure(mgag)
    assert plt.get_fignums() == []
    assert plt.rcParams["axes.grid"] == before


def test_summary_names_the_elements_in_which_surface_energies_are_rich(make_record, mgag):
    from workflows.report.summary_figure import summary_figure

    alni = make_record("AlNi", "Al-Ni", label="Al") | {"reference_element": "Al"}
    labels = [
        {text.get_text() for text in summary_figure(records).legends[0].get_texts()}
        for records in ([alni], [alni, *mgag], mgag)
    ]
    assert [next(text for text in found if "rich" in text and text != "X-rich") for found in labels] == [
        "Al-rich",
        "A-rich (A: Mg, Al)",
        "Mg-rich",
    ]
