"""Elements of a store beside the published set."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from benchmarks.validation import compare, published_facets, summary
from stores.errors import InputError
from workflows.flows.campaign.file import campaign_structures, check_runnable, load_campaign

ROOT = Path(__file__).parents[2]


def published(name, miller, a, b, gamma, atoms, energy, phi):
    return {
        "id": name, "chemsys": "Cu", "composition": "Cu", "miller": miller, "n_atoms": atoms,
        "surface_energy": energy, "work_function": phi,
        "cell": [a, b, 30.0, 90.0, 90.0, gamma],
    }  # fmt: skip


@pytest.fixture
def path(tmp_path):
    records = [
        published("fcc", [1, 0, 0], 2.56, 2.56, 90.0, 10, 0.0900, 4.40),
        published("thin", [1, 0, 0], 2.56, 2.56, 90.0, 6, 0.0800, 4.30),
        published("bcc", [1, 0, 0], 2.86, 2.86, 90.0, 12, 0.1200, 4.20),
        published("missing row", [1, 1, 0], 2.56, 7.24, 90.0, 14, 0.1000, 4.10),
        published("hcp", [1, 0, -1, 0], 2.56, 4.18, 60.0, 10, 0.0900, 3.9),
    ]
    file = tmp_path / "slabs.json.gz"
    with gzip.open(file, "wt") as stream:
        json.dump({"units": {}, "records": records}, stream)
    return file


def cu(make_record, miller, gamma, phi, area, **changes):
    made = make_record("Cu", "Cu", miller=miller, gamma=gamma, phi=phi, spacegroup=225, dmu=None)
    return made | {"area": area} | changes


def test_a_facet_meets_its_own_polymorph(path, make_record):
    records = [
        cu(make_record, (1, 0, 0), 0.0945, 4.43, 6.57),
        cu(make_record, (1, 0, 0), 0.1500, 4.80, 6.57),  # a termination of higher energy
        cu(make_record, (1, 1, 0), 0.1000, 4.10, 9.29),  # theirs is reconstructed: twice the area
        make_record() | {"area": 6.57},  # a compound
    ]
    (one,) = compare(records, published_facets(path))
    assert (one.element, one.facet) == ("Cu", "(100)")
    assert one.published_gamma == pytest.approx(0.0900 * 16.02176634)
    assert one.gamma_deviation == pytest.approx(0.05)
    assert one.phi_deviation == pytest.approx(0.03)
    assert "γ +5.0 % (absolute 5.0 %, 0 within 3 %)" in summary([one])
    assert "Φ +0.030 eV (absolute 0.030 eV, 1 within 0.05 eV)" in summary([one])


def test_rejected_facets_do_not_count(path, make_record):
    record = cu(make_record, (1, 0, 0), 0.0945, 4.43, 6.57)
    record["verdicts"]["work_function"]["status"] = "unconverged"
    assert compare([record], published_facets(path)) == []


def test_four_indices_become_three(path):
    assert [one.miller_index for one in published_facets(path)][-1] == (1, 0, 0)


def test_another_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "slabs.json.gz").write_text("no gzip")
    with pytest.raises(InputError, match=r"slabs\.json\.gz: not the elemental set"):
        published_facets(tmp_path / "slabs.json.gz")


def test_the_example_computes_elements_with_the_free_engine():
    settings = load_campaign(ROOT / "examples" / "validation.yaml")
    assert (settings.engine.name, settings.engine.preset) == ("gpaw", "production")
    structures = campaign_structures(settings)
    assert len({entry.structure.composition.reduced_formula for entry in structures}) == 11
    assert all(check_runnable(entry.structure, entry.where) is None for entry in structures)
