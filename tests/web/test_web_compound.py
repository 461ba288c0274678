from __future__ import annotations

import numpy as np
import pytest

from stores.connections import open_store
from stores.learning.candidates import Predicted, add_candidates
from tests.web.candidates import candidate
from workflows.report.wulff import wulff_report


def shown(client, query=""):
    return client.get(f"/compounds/MgAg.json{query}").json()


def test_the_shape_is_that_of_the_report(client, filled, records):
    with open_store(str(filled), must_exist=True) as store:
        stored = list(store.query({"formula": "MgAg"}))
    for dmu in (0.0, -0.35):
        found = shown(client, f"?dmu={dmu}")
        report = wulff_report(stored, records.bulk().structure, dmu=dmu)
        assert found["shape"]["surface_energy"] == pytest.approx(report.result.surface_energy)
        assert found["shape"]["shape_factor"] == pytest.approx(report.result.shape_factor)
        assert sum(f["area_fraction"] for f in found["facets"]) == pytest.approx(1)
        largest = report.present()[0]
        assert found["facets"][0]["area_fraction"] == pytest.approx(report.result.area_fractions[largest])


def test_faces_enclose_the_middle_and_their_normals_look_outwards(client):
    faces = shown(client)["shape"]["faces"]
    assert len(faces) == 6 + 12 + 8 or len(faces) == 6 + 12
    for face in faces:
        corners, normal = np.array(face["corners"]), np.array(face["normal"])
        assert (corners @ normal > 0).all()
        around = np.cross(corners[1] - corners[0], corners[2] - corners[1])
        assert around @ normal > 0


def test_surface_energies_are_those_at_the_chemical_potential(client):
    facets = {
        (tuple(f["miller_index"]), f["termination_label"]): f for f in shown(client, "?dmu=-0.6")["facets"]
    }
    assert facets[(1, 0, 0), "Mg"]["surface_energy"] == pytest.approx(0.0591)
    assert facets[(1, 0, 0), "Ag"]["surface_energy"] == pytest.approx(0.0551)


def test_the_dissolution_potential_is_nernst_s(client):
    found = shown(client)["dissolution"]
    assert found["cations"] == ["Ag+", "Mg2+"]
    assert found["formation_energy_per_atom"] == pytest.approx(-0.3)
    # free energies of Ag+ 0.799 and Mg2+ -4.71 eV (cations.csv), RT ln 1e-6 = -0.355 eV, three electrons
    assert found["potential"] == pytest.approx((0.799 - 4.71 - 2 * 0.355 + 0.6) / 3, abs=0.03)


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("?dmu=0.2", 400, "outside the window"),
        ("?dmu=-3", 400, "outside the window"),
        ("?dmu=much", 400, "no finite number"),
        ("?dmu=nan", 400, "no finite number"),
        ("?bulk=none", 404, "No crystal"),
        ("?colour=1", 400, "does not know"),
    ],
)
def test_what_cannot_be_shown_is_one_line(client, query, status, words):
    answer = client.get(f"/compounds/MgAg{query}")
    assert answer.status_code == status
    assert words in answer.text


def test_an_unknown_compound_is_named(client):
    for formula in ("MgCu2", f"Mg{'9' * 400}"):
        answer = client.get(f"/compounds/{formula}")
        assert answer.status_code == 404
        assert f"nothing of {formula[:80]}" in answer.text


def test_a_chemical_potential_without_window_is_an_error_also_without_the_crystal(client):
    answer = client.get("/compounds/Mg.json?dmu=-0.1")
    assert answer.status_code == 400
    assert "no window" in answer.json()["error"]


def test_the_slider_keeps_crystal_and_method(client, records):
    record = records.quickstart_surfaces()[0]
    query = f"bulk={record.bulk_id}&method={record.method_fingerprint}"
    text = client.get(f"/compounds/MgAg?{query}").text
    for name in ("bulk", "method"):
        assert f'<input type="hidden" name="{name}"' in text


def test_the_order_of_elements_does_not_matter(client):
    assert client.get("/compounds/AgMg.json").json()["formula"] == "MgAg"


def test_without_its_crystal_a_compound_still_has_its_facets(client):
    found = client.get("/compounds/Mg.json").json()
    assert len(found["facets"]) == 3
    assert found["shape"] is None
    assert "lacks the crystal" in found["reason"]


def test_three_elements_have_work_functions_and_no_shape(client_of, records, tmp_path):
    path = tmp_path / "store.sqlite"
    ternary = records.surface(
        formula="MgAlZn", chemsys="Al-Mg-Zn", surface_energy=None, surface_energy_x_rich=None,
        surface_energy_slope=None, chemical_potential_window=None, bulk_id="three",
    )  # fmt: skip
    bulk = records.bulk().model_copy(update={"id": "three", "formula": "MgAlZn", "chemsys": "Al-Mg-Zn"})
    with open_store(str(path)) as store:
        store.add([ternary, bulk])
    client = client_of(path)
    assert client.get(f"/facets/{ternary.id}").status_code == 200
    found = client.get("/compounds/MgAlZn.json").json()
    assert found["facets"][0]["work_function"] == 3.378
    assert "elements and binary compounds only" in found["reason"]
    assert client.get("/compounds/MgAlZn").status_code == 200


def test_candidates_that_are_not_computed_are_listed_by_predicted_energy(client_of, records, tmp_path):
    path, first = tmp_path / "store.sqlite", records.quickstart_surfaces()[0]
    lower = {"surface_energy": Predicted(value=0.02, sigma=None)}
    listed = [
        candidate(first, first.id),
        candidate(first, "second", miller_index=(1, 1, 0)),
        candidate(first, "third", miller_index=(1, 1, 1), predictions=lower),
    ]
    with open_store(str(path)) as store:
        store.add([first, records.bulk()])
        add_candidates(store, listed)
    found = shown(client_of(path))["candidates"]
    assert [c["id"] for c in found] == ["third", "second"]
    assert "0.0200" in client_of(path).get("/compounds/MgAg").text
