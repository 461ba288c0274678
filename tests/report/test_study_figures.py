from __future__ import annotations

import pytest

from workflows.report.study_figures import curves_figure, matrix_figure, percent

NAMES = ("formation", "band-gap", "phonon")


def cell(name, source, labels, change, significant=False, metric="MAE"):
    return {"data_set": name, "source": source, "labels": labels, "change": change,
            "significant": significant, "metric": metric}  # fmt: skip


def all_cells():
    cells = [
        cell(name, source, labels, -0.02 * (i + 1) * (j + 1) + 0.05, significant=i == j - 1)
        for i, name in enumerate(NAMES)
        for j, source in enumerate((*NAMES, "mpt-equal"))
        for labels in (100, 0)
        if name != source
    ]
    return [*cells, cell("phonon", "outside", 100, 0.3)]


def test_the_matrix_has_a_panel_for_each_number_of_labels_and_a_star_where_it_is_sure():
    figure = matrix_figure(all_cells(), NAMES)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["100 labels", "all labels"]
    first = panels[0]
    sources = [label.get_text() for label in first.get_xticklabels()]
    assert sources == [*NAMES, "outside", "mpt-equal"]  # sources that are no data set of the rows come after
    written = {text.get_text() for text in first.texts}
    assert "+30" in written
    assert "\N{MINUS SIGN}19*" in written
    assert len(first.texts) == 10
    assert not [t for t in panels[1].texts if t.get_position() == (sources.index("outside"), 2)]


def test_data_sets_of_one_size_each_share_a_panel():
    sizes = {"formation": 800, "band-gap": 800, "phonon": 0}
    cells = [cell for cell in all_cells() if cell["source"] != "outside"]
    cells = [c | {"labels": sizes[c["data_set"]]} for c in cells if c["labels"] == 0]
    figure = matrix_figure(cells, NAMES)
    (panel,) = [axes for axes in figure.axes if axes.get_title()]
    assert panel.get_title() == "800 or all labels"
    assert len(panel.texts) == 9
    # beside smaller numbers that all of them have
    figure = matrix_figure([*cells, *(c | {"labels": 100} for c in cells)], NAMES)
    assert [t for axes in figure.axes if (t := axes.get_title())] == ["100 labels", "800 or all labels"]


def test_curves_have_a_panel_for_each_data_set_and_one_legend():
    points = [
        {"n": 100, "metric": "MAE", "error": 0.02, "spread": 0.001},
        {"n": 800, "metric": "MAE", "error": 0.01, "spread": None},
    ]
    curves = {name: {"scratch": points, "mpt-equal": points} for name in NAMES[:2]}
    curves[NAMES[2]] = {"scratch": points[:1]}
    figure = curves_figure(curves, dict.fromkeys(NAMES, "work_function"))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == list(NAMES)
    assert panels[0].get_ylabel() == "test MAE (eV)"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["scratch", "mpt-equal"]
    assert [t.get_text() for t in panels[0].get_xticklabels()] == ["100", "800"]


@pytest.mark.parametrize("count", [1, 7])
def test_figures_of_few_and_many_data_sets_can_be_drawn(count, tmp_path):
    from workflows.report.style import save

    names = [f"set-{i}" for i in range(count)]
    cells = [cell(a, b, n, -0.1) for a in names for b in [*names, "other"] for n in (10, 100, 800) if a != b]
    save(matrix_figure(cells, names), tmp_path / "matrix.png")
    points = [{"n": n, "metric": "MAE", "error": 0.3 / n, "spread": 0.0} for n in (10, 100, 800)]
    save(
        curves_figure({n: {"scratch": points} for n in names}, dict.fromkeys(names, "x")), tmp_path / "c.png"
    )
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("matrix.png", "c.png"))


def test_changes_stay_short_enough_for_their_columns():
    changes = (-0.999, -0.004, 0.004, 0.35, 9.99, 10.0, 4e35)
    assert [percent(change) for change in changes] == ["−100", "0", "0", "+35", "+999", ">999", ">999"]


def test_errors_of_both_kinds_are_named_where_they_meet():
    cells = [
        cell("formation", "metal", 100, -0.1),
        cell("metal", "formation", 100, -0.2, metric="log loss"),
    ]
    figure = matrix_figure(cells, ("formation", "metal"))
    panel = next(axes for axes in figure.axes if axes.get_title())
    assert [text.get_text() for text in panel.get_yticklabels()] == ["formation\n(MAE)", "metal\n(log loss)"]
    assert any(axes.get_ylabel() == "test error against scratch (%)" for axes in figure.axes)
    alike = matrix_figure(cells[1:], ("formation", "metal"))
    assert any(axes.get_ylabel() == "test log loss against scratch (%)" for axes in alike.axes)
    points = [{"n": n, "metric": "log loss", "error": 0.65 - n / 1e5, "spread": None} for n in (100, 800)]
    (axes,) = curves_figure({"metal": {"scratch": points}}, {"metal": "metal"}).axes
    assert axes.get_ylabel() == "test log loss"
    low, high = axes.get_ylim()  # narrow as it is, it has ticks
    assert sum(low <= tick <= high for tick in axes.get_yticks()) > 1
