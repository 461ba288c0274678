"""`mgsurf status`, `query`, `plot` and `export` of imported slabs."""

from __future__ import annotations

import csv
import io
import json
from functools import cache

import pytest

from stores.connections import open_store
from stores.errors import InputError
from stores.labelled import add_labels
from tests.stores.test_imported import label
from workflows.cli.app import app
from workflows.structures.prototypes import structure_for
from workflows.structures.slabs import SlabSettings, enumerate_slabs

ENERGIES = {(1, 0, 0): 0.036, (1, 1, 0): 0.05, (1, 1, 1): 0.054}


@cache
def cut(formula, prototype, thickness=10.0):
    facets = enumerate_slabs(
        structure_for(formula, prototype), SlabSettings(max_miller_index=1, min_thickness=thickness)
    )
    return [slab for facet in facets for slab in facet.slabs]


def labels_of(formula="MgAg", prototype="B2", thickness=10.0, first=1, **more):
    """One imported slab of each termination, without its plane."""
    return [
        label(
            number,
            compound=f"{formula} 18.0",
            slab=slab.structure.as_dict(verbosity=0),
            targets={"surface_energy": ENERGIES.get(slab.miller_index, 0.06), "work_function": 4.0},
            **more,
        )
        for number, slab in enumerate(cut(formula, prototype, thickness), start=first)
    ]


@pytest.fixture
def fill(tmp_path):
    def fill(*labels, surfaces=()):
        path = tmp_path / "s.sqlite"
        with open_store(str(path)) as store:
            add_labels(store, labels)
            for surface in surfaces:
                store.add(surface)
        return path

    return fill


@pytest.fixture
def mg(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = app([*map(str, arguments)], standalone_mode=False, prog_name="mgsurf")
        shown = capfd.readouterr()
        return status or 0, shown.out, shown.err

    return run


def test_status_counts_them_by_source(mg, fill):
    path = fill(*labels_of())
    status, out, _ = mg("status", "--store", path)
    line = next(line for line in out.splitlines() if line.startswith("imported"))
    assert status == 0 and "5 slabs: 5 from them" in line and "--labels" in line
    assert json.loads(mg("status", "--store", path, "--json")[1])["imported"] == {"them": 5}


def test_a_query_shows_them_on_request_and_names_the_option_otherwise(mg, fill, records):
    path = fill(*labels_of(), surfaces=[records.surface()])
    query = ("query", "--store", path, "--json")
    assert [row["id"] for row in json.loads(mg(*query)[1])] == [records.surface().id]
    rows = json.loads(mg(*query, "--labels", "--sort", "surface_energy")[1])
    assert len(rows) == 6
    assert [row["surface_energy"] for row in rows] == sorted(row["surface_energy"] for row in rows)
    assert {row["source"] for row in rows} == {None, "them"}
    assert len(json.loads(mg(*query, "--labels", "--limit", "2")[1])) == 2
    _, out, err = mg(*query, "--max-surface-energy", "0.0362", "--min-surface-energy", "0.0359")
    assert json.loads(out) == []
    (line,) = err.splitlines()
    assert "2 imported slabs" in line and "--labels" in line
    assert "--labels" not in mg(*query, "--formula", "MgZn2")[2]
    lines = list(csv.DictReader(io.StringIO(mg("query", "--store", path, "--csv", "--labels")[1])))
    assert {line["source_id"] for line in lines} == {"", "1", "2", "3", "4", "5"}
    assert "imported-them" in mg("query", "--store", path, "--labels")[1]


def test_a_store_of_imported_slabs_alone_is_not_called_empty(mg, fill):
    path = fill(*labels_of())
    for command in (("query",), ("plot", "scatter"), ("export", "csv")):
        _, _, err = mg(*command, "--store", path)
        assert "5 imported slabs" in err and "--labels" in err


def test_export_and_figures_take_them(mg, fill, tmp_path, records):
    path = fill(*labels_of(), surfaces=[records.surface()])
    assert mg("export", "csv", "--store", path, "--labels")[:2] == (0, "6 surfaces in surfaces.csv\n")
    lines = list(csv.DictReader((tmp_path / "surfaces.csv").open()))
    assert sorted(line["source"] for line in lines) == ["", *["them"] * 5]
    for kind in ("scatter", "summary"):
        assert mg("plot", kind, "--store", path, "--labels")[0] == 0
        assert (tmp_path / f"mgsurf_{kind}.png").stat().st_size > 10_000


def test_a_wulff_shape_finds_crystal_and_planes_in_the_slabs(mg, fill):
    status, out, err = mg("plot", "wulff", "--store", fill(*labels_of()), "--labels")
    assert status == 0
    assert all(plane in out for plane in ("(100)", "(110)", "(111)")) and "0.0360" in out
    assert "them" in err


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (lambda: labels_of(thickness=0.5), (), "too thin"),
        (
            lambda: [*labels_of(), *labels_of("MgAg", "L1_0", first=10)],
            ("--formula", "MgAg"),
            "P4/mmm",
        ),
        (lambda: [*labels_of(), *labels_of(first=10, source="others")], (), "others, them"),
        (labels_of, ("--dmu", "-0.2"), "--dmu"),
    ],
)
def test_no_wulff_shape_of_what_does_not_belong_together(refused_here, fill, labels, options, words):
    line = refused_here("plot", "wulff", "--store", fill(*labels()), "--labels", *options)
    assert words in line


def test_the_filter_that_a_refusal_names_chooses_one_crystal(mg, refused_here, fill):
    path = fill(*labels_of(), *labels_of("MgAg", "L1_0", first=10))
    line = refused_here("plot", "wulff", "--store", path, "--labels")
    chosen = line.split("--filter '")[1].split("'")[0]
    # the crystal of most slabs
    status, out, _ = mg("plot", "wulff", "--store", path, "--labels", "--filter", chosen)
    assert status == 0 and "weighted by area" in out


def test_computed_and_imported_surfaces_make_no_common_wulff_shape(refused_here, fill, records):
    path = fill(*labels_of(), surfaces=[records.surface()])
    assert "--method imported-" in refused_here("plot", "wulff", "--store", path, "--labels")


def test_what_imported_slabs_cannot_have_is_explained(mg, fill):
    path = fill(*labels_of())
    line = json.loads(mg("query", "--store", path, "--labels", "--stable-window", "--json")[1])[0]
    assert line["stable_window"] is None and "imported from them" in line["stable_reason"]
    err = mg("query", "--store", path, "--labels", "--miller", "110")[2]
    assert "5 imported slabs" in err and "5 of which no plane is known" in err


@pytest.mark.parametrize("kind", ["potential", "phase"])
def test_figures_that_need_a_calculation_refuse_them(refused_here, fill, kind):
    assert "leave out --labels" in refused_here("plot", kind, "--store", fill(*labels_of()), "--labels")


def test_a_wulff_shape_of_two_sources_names_the_methods_that_choose_one(mg, fill):
    of_two = [
        labels_of(first=1),
        labels_of(first=11, source="them-2", method_fingerprint="imported-them-2-b"),
    ]
    path = fill(*of_two[0], *of_two[1])
    own = of_two[0][0].method_fingerprint  # imported-them alone fits both
    with pytest.raises(InputError, match=f"imported-them-2-b.*{own}"):
        mg("plot", "wulff", "--labels", "--formula", "MgAg", "--store", path)
    assert mg("plot", "wulff", "--labels", "--formula", "MgAg", "--store", path, "--method", own)[0] == 0


def test_status_of_imported_slabs_alone_knows_the_last_update(mg, fill):
    _, out, _ = mg("status", "--json", "--store", fill(*labels_of()))
    assert json.loads(out)["last_update"] == "2026-01-05T00:00:00.000000Z"
