"""Fingerprints cover what a calculation used: setups of other elements rename nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stores.records import Method
from workflows.engines.gpaw import engine as gpaw
from workflows.engines.gpaw.engine import GPAWEngine
from workflows.engines.vasp import inputs as vasp_magnetism
from workflows.engines.vasp import potcars as vasp_potcars
from workflows.engines.vasp.engine import VaspEngine

OLD = {
    ("gpaw", "demo"): "gpaw-demo-6c950fd686fd26ac",
    ("gpaw", "production"): "gpaw-production-d250c59726982345",
    ("vasp", "demo"): "vasp-demo-ec3fd3a35cd7cd40",
    ("vasp", "production"): "vasp-production-119cc143768dedb8",
}
"""Fingerprints of records made when a fingerprint covered whole tables (gpaw-data 1.2.1)."""

THEN = {("gpaw", "demo"): {"convergence": {"energy": 5e-5, "density": 1e-3, "eigenstates": 1e-5}}}
"""Settings of those records that the preset has changed since."""

PLAIN = {
    "engine": "emt", "preset": "x", "functional": "EMT", "cutoff": 0.0, "k_density": 1.0, "smearing": "none",
    "smearing_width": 0.0, "force_tolerance": 0.01,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _package(monkeypatch):
    monkeypatch.setattr(gpaw, "setups_source", lambda: "gpaw-data 1.2.1")


def engine(name, preset, **options):
    return {"gpaw": GPAWEngine, "vasp": VaspEngine}[name](preset=preset, **options)


def old_method(name, preset):
    method = engine(name, preset).method()
    return method.model_copy(update={"extra": {**method.extra, **THEN.get((name, preset), {})}})


@pytest.mark.parametrize(("name", "preset"), OLD)
@pytest.mark.parametrize(
    "elements", [(), ("Mg",), ("Ag", "Mg"), ("Gd", "Mg"), ("Mg", "Ni"), ("Cu", "Mg", "Zn")]
)
def test_methods_with_standard_tables_keep_their_fingerprint(name, preset, elements):
    method = old_method(name, preset)
    own = method.for_elements(elements)
    assert {own.fingerprint, method.fingerprint, method.family} == {OLD[name, preset]}
    assert method.whole_fingerprint == OLD[name, preset]
    assert set(own.setups) == set(elements)
    stored = Method.model_validate(own.model_dump(mode="json"))
    assert stored == own == own.for_elements(elements)
    assert stored.for_elements(("Mg", "Y")).fingerprint == OLD[name, preset]


@pytest.mark.parametrize(("name", "preset"), OLD)
def test_records_of_a_preset_whose_settings_changed_are_of_another_method(name, preset):
    now, then = engine(name, preset).method(), old_method(name, preset)
    assert (now.family != then.family) is ((name, preset) in THEN)
    assert (now.fingerprint != then.fingerprint) is ((name, preset) in THEN)


@pytest.mark.parametrize("setting", ["energy", "density", "eigenstates"])
@pytest.mark.parametrize("preset", ["demo", "production"])
def test_scf_criteria_are_part_of_the_method(monkeypatch, preset, setting):
    before, settings = GPAWEngine(preset=preset).method(), gpaw.PRESETS[preset]
    tighter = {**settings.convergence, setting: settings.convergence[setting] / 2}
    monkeypatch.setitem(gpaw.PRESETS, preset, replace(settings, convergence=tighter))
    assert GPAWEngine(preset=preset).method().family != before.family


@pytest.mark.parametrize("element", ["Po", "At", "Mg", "Zn"])
def test_an_entry_of_the_table_counts_for_its_element_alone(monkeypatch, element):
    before = VaspEngine().method()
    monkeypatch.setitem(vasp_potcars.POTCAR_LABELS, element, f"{element}_new")
    after = VaspEngine().method()
    for elements in (("Mg",), ("Mg", "Zn"), ("Mg", element), ("Ag", "Cu")):
        same = element not in elements
        assert (before.for_elements(elements).fingerprint == after.for_elements(elements).fingerprint) is same
    assert after.family == before.family
    if element in ("Po", "At"):
        assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize(
    ("change", "touched"),
    [({"Gd": 6.0}, "Gd"), ({"Y": 1.0}, "Y"), ({"Ni": None}, "Ni")],
)
def test_start_moments_count_for_their_element_alone(monkeypatch, change, touched):
    before = VaspEngine().method()
    for element, moment in change.items():
        if moment is None:
            monkeypatch.delitem(vasp_magnetism.START_MOMENTS, element)
        else:
            monkeypatch.setitem(vasp_magnetism.START_MOMENTS, element, moment)
            monkeypatch.delitem(vasp_magnetism.OPEN_4F_MOMENTS, element, raising=False)
    after = VaspEngine().method()
    for elements in (("Mg",), ("Ag", "Mg"), ("Mg", touched)):
        own, then = after.for_elements(elements), before.for_elements(elements)
        assert (own.fingerprint == then.fingerprint) is (touched not in elements)
        assert Method.model_validate(own.model_dump(mode="json")).for_elements(elements) == own


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vasp", {"potcars": {"Zn": "Zn_sv"}}),
        ("vasp", {"potcars": {"Zn": "Zn_sv", "Po": "Po_d"}}),
        ("gpaw", {"setups": {"Mg": "2", "Ag": "11", "Pd": "10", "Zn": "12"}}),
    ],
)
def test_options_count_for_their_elements_alone(monkeypatch, name, options):
    monkeypatch.setattr(gpaw, "setup_labels", dict)  # whatever is installed here
    plain = engine(name, "demo").method()
    own = engine(name, "demo", **options).method()
    assert own.fingerprint != plain.fingerprint
    assert own.family == plain.family
    assert own.for_elements(("Ag", "Mg")).fingerprint == plain.fingerprint
    assert own.for_elements(("Mg", "Zn")).fingerprint != plain.fingerprint


def test_an_element_that_a_table_leaves_out_takes_the_default(monkeypatch):
    monkeypatch.setattr(gpaw, "setup_labels", dict)
    own = GPAWEngine(setups={}).method()
    assert own.for_elements(("Ag", "Mg")).setups == {"Ag": "paw", "Mg": "paw"}
    assert (
        own.for_elements(("Mg", "Zn")).fingerprint
        == GPAWEngine(setups={"Ag": "11"}).method().for_elements(("Mg", "Zn")).fingerprint
    )
    assert own.for_elements(("Ag", "Mg")).fingerprint != GPAWEngine().method().fingerprint


def test_engines_without_a_standard_table():
    two = Method(**PLAIN, setups={"Mg": "a", "Ag": "b"})
    three = Method(**PLAIN, setups={"Mg": "a", "Ag": "b", "Cu": "c"}, extra={"start_moments": {"Cu": 1.0}})
    other = Method(**PLAIN, setups={"Mg": "a", "Ag": "B"})
    assert two.for_elements(("Ag", "Mg")) == three.for_elements(("Ag", "Mg"))
    assert two.for_elements(("Mg",)) == three.for_elements(("Mg",)) == other.for_elements(("Mg",))
    assert two.for_elements(("Ag",)).fingerprint != other.for_elements(("Ag",)).fingerprint
    assert two.family == three.family == other.family
    with_default = Method(**PLAIN, setups={"default": "x", "Cu": "c"})
    assert with_default.for_elements(("Ag", "Mg")).setups == {"default": "x"}
    assert with_default.for_elements(("Cu",)).fingerprint == with_default.fingerprint


def test_settings_that_are_no_tables_by_element_count_for_all():
    one, other = (Method(**PLAIN, extra={"U": {"U": value}, "N": 3}) for value in (1.0, 2.0))
    assert one.for_elements(("Mg",)).fingerprint != other.for_elements(("Mg",)).fingerprint
