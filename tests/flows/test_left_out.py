"""Predictions of a compound that was left out, compared with DFT crystal by crystal."""

from __future__ import annotations

import pytest

from stores.connections import open_store
from stores.errors import InputError
from stores.labelled import add_labels
from tests.cli import records as cli_records
from tests.flows.test_imported_crystals import cut, records
from tests.stores.test_imported import label
from workflows.flows.learning.left_out import compare_left_out


def c14_labels():
    """All slabs of C14 MgCo2 up to Miller index 1, without their planes."""
    return [
        label(
            1 + number % 28,
            id=f"C14-{number}",
            source_id=f"s{number}",
            chemsys="Co-Mg",
            compound="MgCo2 13.3",
            slab=slab.structure.as_dict(verbosity=0),
            targets={"surface_energy": 0.08 + 0.002 * number, "work_function": 3.5 + 0.05 * number},
        )
        for number, slab in enumerate(cut("C14", 1, 10.0))
    ]


def row(record_id, formula="MgCo2", part="test", chemsys="Co-Mg", error=0.01, **more):
    number = int(record_id.rpartition("-")[2])
    return {
        "record_id": record_id,
        "formula": formula,
        "chemsys": chemsys,
        "part": part,
        "surface_energy": 0.08 + 0.002 * number,
        "surface_energy_predicted": 0.08 + 0.002 * number + error,
        "surface_energy_sigma": 0.005,
        "work_function": 3.5 + 0.05 * number,
        "work_function_predicted": 3.4 + 0.05 * number,
        "work_function_sigma": 0.1,
        **more,
    }


@pytest.fixture
def store(tmp_path):
    with open_store(str(tmp_path / "s.sqlite")) as opened:
        add_labels(opened, c14_labels())
        yield opened


def rows(**more):
    return [row(one.id, **more) for one in c14_labels()]


def test_planes_terminations_and_errors_are_those_of_the_slabs(store):
    (found,), problems = compare_left_out(store, [rows()], "best")
    assert not problems and found.name == "MgCo2 P6_3/mmc" and found.missing == ()
    expected = {f"s{number}": slab for number, slab in enumerate(cut("C14", 1, 10.0))}
    assert {one.name: one.dft.miller_index for one in found.slabs} == {
        name: slab.miller_index for name, slab in expected.items()
    }
    for one in found.slabs:  # without the letter that distinguishes equal layers
        assert one.dft.label == expected[one.name].termination_label.partition("-")[0]
    assert found.errors() == pytest.approx(
        {
            "surface_energy_mae_facets": 0.01,
            "surface_energy_mae_slabs": 0.01,
            "work_function_mae_facets": 0.1,
            "work_function_mae_slabs": 0.1,
        }
    )
    assert found.dft.reason == found.predicted.reason == ""
    assert found.predicted.surface_energy_sigma == pytest.approx(0.005, abs=0.001)


def test_runs_are_averaged(store):
    both = [rows(error=0.01), rows(error=0.02, surface_energy_sigma=0.007)]
    (found,), _ = compare_left_out(store, both, "best")
    assert found.errors()["surface_energy_mae_slabs"] == pytest.approx(0.015)
    assert found.slabs[0].predicted.surface_energy_sigma == pytest.approx(((0.005**2 + 0.007**2) / 2) ** 0.5)


def test_uncertainty_of_the_averages_follows_the_shared_error_that_the_model_states(store):
    def spread(*runs):
        (found,), _ = compare_left_out(store, runs, "best")
        return found.predicted.surface_energy_sigma

    alike = spread(rows(surface_energy_shared=0.005, work_function_shared=0.1))
    apart = spread(rows(surface_energy_shared=0.0, work_function_shared=0.0))
    unknown = spread(rows())  # as runs of earlier versions
    assert apart < 0.8 * alike and apart < unknown < alike
    assert alike == pytest.approx(0.005, rel=0.15)
    assert spread(rows(surface_energy_shared=None)) == unknown
    # of several runs the root mean square, unless one of them does not state it
    (found,), _ = compare_left_out(
        store, [rows(surface_energy_shared=0.003), rows(surface_energy_shared=0.004)], "best"
    )
    assert found.slabs[0].predicted.surface_energy_shared == pytest.approx((12.5e-6) ** 0.5)
    assert spread(rows(surface_energy_shared=0.005), rows()) == unknown


def test_a_compound_that_was_trained_on_is_not_compared(store):
    ordinary = rows()
    for seen in (
        [[*ordinary[1:], {**ordinary[0], "part": "val"}]],
        [ordinary, [{**one, "part": "train"} for one in ordinary[:1]]],
    ):
        found, problems = compare_left_out(store, seen, "best")
        assert not found and "--split compound:MgCo2" in problems[0]
    # by the model that the training began with, whatever order its formula is written in
    found, (problem,) = compare_left_out(store, [ordinary], "b", [row("x-0", formula="Co2Mg", part="train")])
    assert not found and "MgCo2" in problem


def test_what_is_missing_is_named(store):
    without = [{**one, "surface_energy": None} for one in rows()]
    found, (problem,) = compare_left_out(store, [without], "best")
    assert not found and "MgCo2 P6_3/mmc" in problem
    # a facet without any slab, and one facet alone
    basal = [f"C14-{n}" for n, slab in enumerate(cut("C14", 1, 10.0)) if slab.miller_index == (0, 0, 1)]
    (found,), _ = compare_left_out(store, [[one for one in rows() if one["record_id"] not in basal]], "best")
    assert "(0001) (not computed)" in found.missing[0]
    (found,), problems = compare_left_out(
        store, [[one for one in rows() if one["record_id"] in basal]], "best"
    )
    assert len(found.facets) == 1 and len(problems) == 2
    assert all("more facets are needed" in line for line in problems)
    with pytest.raises(InputError, match="best: predicts no surface energy"):
        energies = ("surface_energy", "surface_energy_predicted", "surface_energy_sigma")
        compare_left_out(store, [[{k: v for k, v in r.items() if k not in energies} for r in rows()]], "best")


def test_a_model_without_work_function_compares_surface_energies(store):
    short = [{k: v for k, v in one.items() if not k.startswith("work")} for one in rows()]
    (found,), problems = compare_left_out(store, [short], "stl")
    assert found.predicted.surface_energy == pytest.approx(found.dft.surface_energy + 0.01, abs=0.002)
    assert found.predicted.work_function is None and "work function" in problems[0]


def test_slabs_that_are_too_thin_are_counted(tmp_path):
    thick, _ = records(max_index=1)
    thin, _ = records(max_index=1, thickness=0.5, named=False, first=20)
    kept = ("id", "source_id", "compound", "slab", "geometry")
    labels, predicted = [], []
    for number, one in enumerate([*thick, *thin]):
        plane = tuple(one["miller_index"]) if any(one["miller_index"]) else None
        labels.append(label(1 + number, chemsys="Pt", miller_index=plane, **{key: one[key] for key in kept}))
        predicted.append({**row(f"Pt-{number}", "Pt", chemsys="Pt"), "record_id": one["id"]})
    with open_store(str(tmp_path / "s.sqlite")) as store:
        add_labels(store, labels)
        found, (problem,) = compare_left_out(store, [predicted], "best")
    assert [one.name for one in found] == ["Pt Fm-3m"] and len(found[0].slabs) == 3
    assert "3 slabs left out" in problem and "fcc20" in problem


def test_computed_surfaces_are_compared_in_the_cell_of_their_bulk(tmp_path):
    with open_store(str(tmp_path / "s.sqlite")) as store:
        surfaces = [s for s in cli_records.quickstart_surfaces() if s.formula == "MgAg"]
        store.add([cli_records.bulk()])
        store.add([s.model_copy(update={"bulk_id": cli_records.bulk().id}) for s in surfaces])
        values = [
            {
                **row(f"x-{n}", formula="MgAg", chemsys="Ag-Mg"),
                "record_id": s.id,
                "surface_energy": s.surface_energy,
                "surface_energy_predicted": s.surface_energy,
            }
            for n, s in enumerate(surfaces)
        ]
        (found,), _ = compare_left_out(store, [values], "best")
    assert {one.name: one.dft.miller_index for one in found.slabs} == {s.id: s.miller_index for s in surfaces}
    assert found.dft.surface_energy == pytest.approx(found.predicted.surface_energy)
