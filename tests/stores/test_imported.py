from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stores.connections import open_store
from stores.errors import InputError
from stores.imported import ImportedSurface, as_surface, imported_surface, imported_surfaces
from stores.labelled import LabelRecord, add_labels, source_fingerprint
from stores.records import content_hash

SLAB = {
    "lattice": {"matrix": [[3.3, 0.0, 0.0], [0.0, 3.3, 0.0], [0.0, 0.0, 25.0]], "pbc": [True, True, True]},
    "sites": [{"species": [{"element": "Mg", "occu": 1}], "abc": [0.0, 0.0, 0.5], "label": "Mg"}],
}


def label(number=1, **more):
    fields = {
        "id": content_hash({"source": "them", "source_id": str(number)}),
        "created_at": datetime(2026, 1, number, tzinfo=UTC),
        "source": "them",
        "source_id": str(number),
        "method_fingerprint": source_fingerprint("them"),
        "formula": "Mg3Ag2",
        "chemsys": "Ag-Mg",
        "composition": {"Mg": 3, "Ag": 2},
        "n_atoms": 5,
        "compound": "MgAg 18.2",
        "slab": SLAB,
        "geometry": "as_cut",
        "targets": {"surface_energy": 0.05, "work_function": 4.0},
        "units": {"surface_energy": "eV/A^2", "work_function": "eV"},
    }
    return LabelRecord(**(fields | more))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (0.05, 4.0, "accepted", "accepted")),
        ({"units": {}}, (0.05, 4.0, "accepted", "accepted")),
        ({"targets": {"surface_energy": None, "work_function": 4.0}}, (None, 4.0, "failed", "accepted")),
        ({"targets": {"band_gap": 1.0}}, (None, None, "failed", "failed")),
        ({"units": {"surface_energy": "J/m2"}}, (None, 4.0, "failed", "accepted")),
        ({"excluded": {"work_function": "audit: outlier"}}, (0.05, 4.0, "accepted", "faulty")),
    ],
)
def test_values_and_verdicts(more, expected):
    found = as_surface(label(**more).model_dump())
    gamma, phi = found["verdicts"]["surface_energy"], found["verdicts"]["work_function"]
    assert (found["surface_energy"], found["work_function"], gamma["status"], phi["status"]) == expected
    assert all(verdict["reason"] for verdict in (gamma, phi) if verdict["status"] != "accepted")


def test_the_formula_is_that_of_the_crystal_and_unknown_planes_are_marked():
    found = as_surface(label().model_dump())
    assert (found["formula"], found["miller_index"], found["termination_label"]) == ("MgAg", [0, 0, 0], "?")
    found = as_surface(label(miller_index=(1, 1, 0), termination="Ag", compound="Mg3Ag2").model_dump())
    assert (found["formula"], found["miller_index"], found["termination_label"]) == (
        "Mg3Ag2",
        (1, 1, 0),
        "Ag",
    )


@pytest.mark.parametrize(
    ("criteria", "numbers"),
    [
        ({}, "123"),
        ({"formula": "MgAg"}, "12"),
        ({"formula": "Mg3Ag2"}, ""),
        ({"chemsys": "Mg-Zn"}, "3"),
        ({"miller_index": {"$in": [[1, 1, 0], [-1, -1, 0]]}}, "2"),
        ({"surface_energy": {"$lt": 0.05}}, "2"),
        ({"work_function": {"$gte": 4.5}}, "3"),
        ({"verdicts.surface_energy.status": "accepted"}, "123"),
        ({"verdicts.work_function.status": "faulty"}, "2"),
        ({"method_fingerprint": {"$regex": "^imported-them"}}, "123"),
        ({"created_at": {"$gte": "2026-01-02"}}, "23"),
        ({"campaign": "a"}, ""),
        ({"n_layers": {"$gt": 1}}, ""),
        ({"source_id": "3"}, "3"),
        ({"targets.work_function": 5.0}, "3"),
    ],
)
def test_filters_on_surfaces_find_imported_slabs_by_the_fields_they_have(criteria, numbers):
    with open_store("memory://") as store:
        add_labels(
            store,
            [
                label(1),
                label(
                    2,
                    targets={"surface_energy": 0.04, "work_function": 4.2},
                    miller_index=(1, 1, 0),
                    excluded={"work_function": "x"},
                ),
                label(
                    3,
                    chemsys="Mg-Zn",
                    compound="MgZn2 17.0",
                    targets={"surface_energy": 0.06, "work_function": 5.0},
                ),
            ],
        )
        found = list(imported_surfaces(store, criteria))
        assert "".join(surface["source_id"] for surface in found) == numbers
        assert not any("slab" in surface for surface in found)
        assert all("slab" in surface for surface in imported_surfaces(store, criteria, with_slabs=True))


@pytest.mark.parametrize(
    ("format", "relaxed"), [(f, r) for f in ("csv", "jsonl", "extxyz", "ase", "cgcnn") for r in (False, True)]
)
def test_every_format_takes_imported_slabs(tmp_path, format, relaxed):
    from stores.export import export

    records = [ImportedSurface.of(label(1)), ImportedSurface.of(label(2, geometry="relaxed"))]
    path = tmp_path / "out"
    assert export(records, path, format, relaxed=relaxed) == (1 if relaxed else 2)
    if format == "jsonl":
        first = LabelRecord.model_validate_json(path.read_text().splitlines()[0])
        assert first == label(2 if relaxed else 1, **({"geometry": "relaxed"} if relaxed else {}))
    elif format == "cgcnn":
        assert len(list(path.glob("*.cif"))) == (1 if relaxed else 2)
    elif format == "ase":
        from ase.db import connect

        row = next(connect(path, type="db").select())
        assert (row.source, row.data["source_id"], row.surface_energy) == (
            "them",
            "2" if relaxed else "1",
            0.05,
        )
    else:
        text = path.read_text()
        assert "them" in text and "0.05" in text and "accepted" in text


def test_excluded_values_are_written_on_request_only(tmp_path):
    from stores.export import export

    record = ImportedSurface.of(label(excluded={"work_function": "audit"}))
    for name, wanted in (("a.jsonl", None), ("b.jsonl", 4.0)):
        export([record], tmp_path / name, "jsonl", include_rejected=wanted is not None)
        written = LabelRecord.model_validate_json((tmp_path / name).read_text())
        assert written.targets == {"surface_energy": 0.05, "work_function": wanted}


def test_a_record_that_cannot_be_read_is_one_line():
    with open_store("memory://") as store:
        add_labels(store, [label(1)])
        assert imported_surface(store, label(1).id) == ImportedSurface.of(label(1))
        assert imported_surface(store, "x") is None
        document = next(store.query({}, collection="labels")) | {"new_field": 1}
        store.collection("labels").upsert([document])
        with pytest.raises(InputError, match=f"{label(1).id} .*new_field"):
            imported_surface(store, label(1).id)
