"""Faulty labels in constructed stores: what is found, what is left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Element

from model.audit.bulk_offset import compare_with_peers
from model.audit.checks import Finding, audit_slabs
from model.audit.expectations import cross_validated
from model.audit.slabs import AuditSlabs, Peer, find_peers, formula_type, partner_distance, read_audit_slabs
from model.data.importers import import_slabs
from stores.connections import open_store
from stores.exclusions import exclude, list_excluded
from stores.labelled import add_labels
from tests.model.d03_series import SERIES, cuts, label, series, units


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> AuditSlabs:
    """All facets of all compounds; surface energies change a little, work functions too, along the series."""
    uri = f"{tmp_path_factory.mktemp('series')}/s.sqlite"
    records = series(SERIES)
    with open_store(uri) as store:
        add_labels(store, records)
    (slabs,) = read_audit_slabs(uri)
    known = {record.id: units(record) for record in records}
    assert slabs.units == pytest.approx([known[entry.record_id] for entry in slabs.entries])
    return slabs


def changed(
    slabs: AuditSlabs, energies: dict[str, float] | None = None, **labels: dict[str, float]
) -> AuditSlabs:
    """Labels with wrong bulk energies (eV per formula unit), and single values put in their place."""
    values = {target: array.copy() for target, array in slabs.labels.items()}
    for i, entry in enumerate(slabs.entries):
        partner = entry.record_id.split("-")[0]
        values["surface_energy"][i] -= (energies or {}).get(partner, 0.0) * slabs.units[i]
        for target, wanted in labels.items():
            values[target][i] = wanted.get(entry.record_id, values[target][i])
    return replace(slabs, labels=values)


def findings_of(slabs: AuditSlabs, check: str | None = None, **options: Any) -> list[Finding]:
    found = audit_slabs(slabs, with_trees=False, **options).findings
    return [finding for finding in found if check in (None, finding.check)]


@pytest.mark.parametrize(
    "energies", [{}, {"La": 0.29}, {"La": 0.29, "Tb": 0.26}, {"Ho": -0.25}, {"Nd": 0.2, "Y": -0.2}]
)
def test_wrong_bulk_energies_are_found_with_their_size_and_nothing_else_is(sound, energies):
    findings = findings_of(changed(sound, energies))
    assert {f.formula for f in findings} == {f"Mg3{partner}" for partner in energies}
    for finding in findings:
        assert (finding.check, finding.level, finding.target) == ("bulk-energy", "faulty", "surface_energy")
        assert finding.offset.energy == pytest.approx(energies[finding.formula[3:]], abs=0.03)
        assert len(finding.records) == finding.compared == len(cuts())
        assert finding.offset.scatter < finding.offset.constant_scatter  # in proportion


@pytest.mark.parametrize(
    ("energy", "constant", "words"),
    [(0.29, 0.0, "in proportion to their formula units, within"), (0.0, 0.035, "by nearly the same, within")],
)
def test_the_reason_states_what_the_facets_follow(sound, energy, constant, words):
    gamma = {
        entry.record_id: sound.labels["surface_energy"][i] - constant - energy * sound.units[i]
        for i, entry in enumerate(sound.entries)
        if entry.record_id.startswith("La")
    }
    (finding,) = findings_of(changed(sound, surface_energy=gamma), "bulk-energy")
    assert words in finding.reason


def test_a_shift_with_other_work_functions_is_chemistry(sound):
    phi = {e.record_id: 4.5 for e in sound.entries if e.record_id.startswith("Dy")}
    assert findings_of(changed(sound, {"Dy": 0.3}, work_function=phi), "bulk-energy") == []


@pytest.mark.parametrize(
    ("levels", "clear"), [((0.05, 0.05, 0.05, 0.05), True), ((0.05, 0.05, 0.08, 0.08), False)]
)
def test_a_compound_between_unlike_peers_is_not_faulty(levels, clear):
    """Pd lies between Ag and Au, which are peers of each other, and Rh and Pt, which are, too."""
    names = ("C", "A1", "A2", "B1", "B2")  # four facets each
    gamma = np.repeat([0.10, *levels], 4)
    pairs = {(i, j): tuple((4 * i + k, 4 * j + k) for k in range(4)) for i in range(5) for j in range(5)}
    known = {0: (1, 2, 3, 4), 1: (0, 2), 2: (0, 1), 3: (0, 4), 4: (0, 3)}
    peers = {names[i]: [Peer(names[j], 0.1, pairs[i, j]) for j in others] for i, others in known.items()}
    found = compare_with_peers(peers, gamma, np.full(20, np.nan), np.full(20, 0.12))
    assert found["C"].offset.is_clear() == clear


def test_one_wrong_facet_is_no_wrong_bulk_energy(sound):
    assert findings_of(changed(sound, surface_energy={"La-0": 0.1}), "bulk-energy") == []


def test_facets_ordered_against_all_peers(sound):
    (finding,) = findings_of(changed(sound, surface_energy={"Pm-0": 0.1, "Pm-3": 0.05}), "order")
    assert (finding.formula, finding.level) == ("Mg3Pm", "suspect")
    assert {"Pm-0", "Pm-3"} <= set(finding.records)


def test_values_that_no_surface_has_are_found_and_spoil_nothing(sound):
    slabs = changed(sound, {"La": 0.29}, surface_energy={"Lu-0": 50.0}, work_function={"Lu-1": 4100.0})
    found = [(finding.check, finding.formula) for finding in findings_of(slabs)]
    assert found == [("range", "Mg3Lu"), ("range", "Mg3Lu"), ("bulk-energy", "Mg3La")]
    assert findings_of(slabs, checks=["order"]) == []


def test_excluded_values_neither_bar_nor_leave_a_store_that_is_imported(tmp_path):
    records = [label("La", 0, 50.0, 2.8), label("Ce", 0, 1.5, 2.8), label("Y", 0, 0.05, 2.9)]
    with open_store(f"{tmp_path}/s.sqlite") as store:
        add_labels(store, records)
        exclude(store, {name: {"surface_energy": "meV"} for name in ("La-0", "Ce-0")})
    result = import_slabs(f"{tmp_path}/s.sqlite", f"{tmp_path}/t.sqlite")
    assert (result.n_read, result.problems) == (3, [])
    assert result.n_labels == {"surface_energy": 1, "work_function": 3}
    with open_store(f"{tmp_path}/t.sqlite") as store:
        assert {value["id"] for value in list_excluded(store)} == {"La-0", "Ce-0"}


@pytest.mark.parametrize(
    ("gamma", "phi", "targets"),
    [
        (0.050, 2.8, set()),
        (0.0525, 2.85, set()),
        (0.056, 2.8, {"surface_energy"}),
        (0.05, 3.0, {"work_function"}),
        (0.07, 3.2, {"surface_energy", "work_function"}),
    ],
)
def test_identical_slabs_with_different_labels(tmp_path, gamma, phi, targets):
    with open_store(f"{tmp_path}/s.sqlite") as store:
        add_labels(store, [label("La", 0, 0.05, 2.8), label("La", 0, gamma, phi, "twin")])
    (slabs,) = read_audit_slabs(f"{tmp_path}/s.sqlite")
    findings = findings_of(slabs, "duplicates")
    assert {f.target for f in findings} == targets
    assert all(set(f.records) == {"La-0", "twin"} for f in findings)


def test_partners_are_near_where_chemistry_is():
    z = {symbol: (Element(symbol).Z,) for symbol in ("La", "Ce", "Ag", "Si")}
    assert partner_distance(z["La"], z["Ce"]) < 0.2 < partner_distance(z["La"], z["Ag"])
    assert formula_type({12: 34, 13: 24}) == (17, 12)


def test_equal_facets_are_recognised_across_a_series(sound):
    for alike in find_peers(list(sound.compounds.values())).values():
        assert len(alike) >= 3
        for peer in alike:
            for ours, theirs in peer.pairs:
                one, other = (sound.entries[i].record_id.split("-")[1] for i in (ours, theirs))
                assert one == other


def test_predictions_out_of_sample_do_not_know_the_label():
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(136, 4)).astype(np.float32)
    compounds = [f"c{i // 8}" for i in range(136)]
    labels = descriptors[:, 0].astype(float)
    labels[:8] += 9.0  # a compound of its own
    labels[100] = np.nan
    expected = cross_validated(descriptors, labels, compounds)
    errors = np.abs(labels - expected.values) / expected.half_width
    assert (errors[:8] > 3).all()
    assert np.nanmean(errors[8:] > 1) < 0.15
    assert cross_validated(descriptors[:50], labels[:50], compounds[:50]) is None
