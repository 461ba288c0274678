"""Figure, table and rows of DFT and predicted Wulff shapes."""

from __future__ import annotations

import io
import json

import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from pymatgen.core import Lattice, Structure
from rich.console import Console

from stores.errors import InputError
from tests.analysis.test_wulff_comparison import FCC, PLATINUM, hexagonal, slab
from workflows.analysis.wulff_comparison import compare_shapes
from workflows.cli.ablate import draw_shapes
from workflows.execution.progress_bar import ProgressBar
from workflows.report.style import save
from workflows.report.wulff_comparison import (
    FIELDS,
    comparison_document,
    comparison_figure,
    comparison_table,
    facet_rows,
)
from workflows.structures.crystal import crystal_of


@pytest.fixture(scope="module")
def platinum():
    """Published DFT values and predictions that are too high by a tenth, that of (322) by less."""
    slabs = [
        slab(f"Pt{h}", h, g / 16.02177, g / 16.02177 * (1.05 if h == (3, 2, 2) else 1.1), (5.5, 5.3), 0.002)
        for h, g in PLATINUM.items()
    ]
    return compare_shapes("Pt", FCC, slabs, "best", missing=["planes not in the shape: (433) (not computed)"])


@pytest.fixture(scope="module")
def magnesium():
    """Two terminations of each facet; by the model another one of (10-10) is lowest."""
    values = {(0, 0, 1): (0.033, 0.030), (1, 0, 0): (0.038, 0.039), (1, 0, 1): (0.040, 0.041)}
    slabs = [slab(f"{h}", h, dft, model, (3.7, 3.8), 0.001) for h, (dft, model) in values.items()]
    slabs.append(slab("other", (1, 0, 0), 0.045, 0.035, (3.5, 3.4), 0.001))
    return compare_shapes("Mg", crystal_of(hexagonal()), slabs, "best")


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_rows_are_plain_values(platinum):
    found = facet_rows(platinum)
    assert all(tuple(row) == FIELDS for row in found) and len(found) == 13
    (row,) = [one for one in found if one["miller_index"] == "1 1 1"]
    assert (row["facet"], row["spacegroup_symbol"], row["slab_dft"]) == ("(111)", "Fm-3m", "Pt(1, 1, 1)")
    assert row["surface_energy_error"] == pytest.approx(0.1 * 1.4878 / 16.02177)
    assert row["work_function_error"] == pytest.approx(-0.2)
    assert sum(one["area_dft"] for one in found) == pytest.approx(1)
    document = json.loads(json.dumps(comparison_document(platinum)))
    assert document["facets"] == found and len(document["slabs"]) == 13
    assert document["dft"]["surface_energy"] == pytest.approx(0.09958, abs=1e-4)


@pytest.mark.parametrize("width", [80, 160])
def test_table(platinum, magnesium, width):
    output = io.StringIO()
    console = Console(file=output, width=width)
    console.print(comparison_table(platinum))
    console.print(comparison_table(magnesium))
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    (line,) = [one.split() for one in lines if one.startswith("(111)")]
    assert " ".join(line) == "(111) 0.0929 0.1021 ± 0.0020 +0.0093 5.50 5.30 -0.20 27 11"
    assert sum(one.startswith("(10-10)*") for one in lines) == 1
    text = " ".join(output.getvalue().split())
    assert "(0.0996) eV/Å²" in text and "(433)" in text and "over 13 facets: γ 0.0" in text


def test_facets_above_one_percent_are_labelled_on_both_shapes(platinum, tmp_path):
    figure = comparison_figure([platinum])
    assert figure.get_figwidth() * 2.54 == pytest.approx(17.8, abs=0.1)
    names = texts(figure)
    shares = {
        f"$({''.join(map(str, facet.miller_index))})$": (facet.area_dft, facet.area_predicted)
        for facet in platinum.facets
    }
    for name, pair in shares.items():
        # once in the list beside the shapes, once on each shape
        listed = max(pair) > 1e-6
        assert names.count(name) == listed + sum(share > 0.01 for share in pair), name
    assert "DFT" in names and "predicted (best)" in names
    assert any("(0.0996) eV" in name for name in names) and any("(5.50) eV" in name for name in names)
    for ending in ("png", "svg", "pdf"):
        save(figure, tmp_path / f"x.{ending}")
        assert (tmp_path / f"x.{ending}").stat().st_size > 5000


def test_labels_keep_off_each_other(platinum):
    figure = comparison_figure([platinum])
    figure.draw_without_rendering()
    left = [
        text.get_window_extent() for text in figure.texts
        if text.get_text().startswith("$(") and text.get_position()[0] < 0.38
    ]  # fmt: skip
    assert len(left) == 7
    assert not any(a.overlaps(b) for i, a in enumerate(left) for b in left[:i])


def test_a_family_has_one_colour_in_both_shapes(magnesium):
    figure = comparison_figure([magnesium])
    assert (
        len({patch.get_facecolor() for patch in figure.findobj(Rectangle) if patch.get_width() == 0.1}) == 3
    )
    left, right = (
        {tuple(round(c, 6) for c in face.get_facecolor()[0]) for face in axes.collections}
        for axes in figure.axes
        if axes.name == "3d"
    )
    assert left == right  # shades depend on colour and direction alone, which both have in common


def test_several_crystals_are_rows(platinum, magnesium):
    one, two = comparison_figure([platinum]), comparison_figure([platinum, magnesium])
    assert two.get_figheight() > 1.8 * one.get_figheight()
    assert any("6_{3}" in text for text in texts(two))


def test_what_has_no_shape_is_not_drawn(platinum):
    flat = compare_shapes("Mg", crystal_of(hexagonal()), [slab("a", (0, 0, 1), 0.05, 0.06)], "best")
    with pytest.raises(InputError, match=r"Mg P6_3/mmc.*more facets"):
        comparison_figure([platinum, flat])
    with pytest.raises(InputError, match="no crystal has both"):
        comparison_figure([])
    assert len(comparison_table(flat).rows) == 1


def test_many_facets_of_a_triclinic_crystal_fit(tmp_path):
    from workflows.structures.facets import distinct_facets

    crystal = crystal_of(
        Structure(Lattice.from_parameters(4, 5, 6, 80, 95, 100), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.4, 0.3]])
    )
    slabs = [slab(str(h), h, 0.05 + 0.0005 * i, 0.05) for i, h in enumerate(distinct_facets(crystal, 1))]
    figure = comparison_figure([compare_shapes("MgAg", crystal, slabs, "best")])
    save(figure, tmp_path / "x.png")
    figure.draw_without_rendering()
    listed = [text.get_window_extent() for text in figure.axes[-1].texts]
    frame = figure.bbox
    assert all(frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in listed)


def test_two_crystals_of_one_name_are_two_pictures(magnesium, tmp_path):
    with ProgressBar(quiet=True) as bar:
        documents = draw_shapes([magnesium, magnesium], tmp_path, bar)
    assert len(documents) == 2
    names = {path.stem for path in tmp_path.glob("*.png")}
    assert names == {"Mg_194_best", "Mg_194_best_2"} == {path.stem for path in tmp_path.glob("*.svg")}
