from __future__ import annotations

import sqlite3

import pytest

from stores.errors import InputError
from workflows.flows.campaign.file import load_campaign
from workflows.flows.campaign.settings import CandidateSource, Filters
from workflows.flows.enumeration.lock_file import sections_of
from workflows.flows.enumeration.resolved_sources import ResolvedSource, requested_compounds
from workflows.structures.prototypes import PROTOTYPES, structure_for
from workflows.structures.sources.optimade_providers import PROVIDERS

SOURCES = """\
name: a
sources:
  - optimade: [mp, OQMD, "https://example.org/optimade"]
    timeout: 20
  - materials_project: true
  - prototypes: [B2, C14]
    partners: [Zn, Ag]
  - folder: cifs
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "campaign.yaml"
        path.write_text(text, encoding="utf-8")
        return load_campaign(path)

    return load


@pytest.fixture
def lines_of(load, tmp_path):
    def lines(text):
        with pytest.raises(InputError) as raised:
            load(text)
        return [line.removeprefix(f"{tmp_path}/") for line in str(raised.value).splitlines()]

    return lines


def test_sources_replace_compounds(load):
    campaign = load(SOURCES)
    assert campaign.compounds == []
    assert campaign.sources[0].optimade == ["mp", "OQMD", "https://example.org/optimade"]
    assert campaign.filters.max_elements == 2
    assert campaign.filters.metals_only
    assert not campaign.filters.radioactive


def test_all_problems_at_once_each_with_its_line(lines_of):
    names = ", ".join(provider.name for provider in PROVIDERS)
    assert lines_of(
        """\
name: a
sources:
  - optimade: [mp, okmd]
  - optimade: []
  - materials_project: false
  - prototypes: [B2, C41]
  - folder: a
    file: b
  - folder: a
    partners: [Zn]
  - prototype: [B2]
filters:
  partners: [Zn, Xx, ag]
  exclude: [Mg]
  max_elements: 1
  max_atoms: 0
  max_energy_above_hull: -0.1
  radioaktive: true
"""
    ) == [
        "campaign.yaml:3: sources[1].optimade[2]: provider 'okmd' is not known; did you mean 'oqmd'? "
        f"allowed: {names}, or a base URL (https://...)",
        "campaign.yaml:4: sources[2].optimade: must not be empty",
        "campaign.yaml:5: sources[3]: materials_project is true, or left out",
        "campaign.yaml:6: sources[4].prototypes[2]: prototype 'C41' is not known; did you mean 'C1'? "
        "allowed: " + ", ".join(kind.name for kind in PROTOTYPES),
        "campaign.yaml:7: sources[5]: give exactly one of optimade, materials_project, prototypes, folder, "
        "file; found folder and file",
        "campaign.yaml:9: sources[6]: partners goes with prototypes, not with folder",
        "campaign.yaml:11: sources[7].prototype: unknown key; did you mean 'prototypes'? allowed: "
        + ", ".join(CandidateSource.model_fields),
        "campaign.yaml:13: filters.partners[2]: 'Xx' is no element; write symbols such as Zn",
        "campaign.yaml:13: filters.partners[3]: 'ag' is no element; did you mean 'Ag'?",
        "campaign.yaml:14: filters.exclude[1]: Mg is in every compound; name the other elements only",
        "campaign.yaml:15: filters.max_elements: must be at least 2, found 1",
        "campaign.yaml:16: filters.max_atoms: must be at least 1, found 0",
        "campaign.yaml:17: filters.max_energy_above_hull: must be at least 0, found -0.1",
        "campaign.yaml:18: filters.radioaktive: unknown key; did you mean 'radioactive'? allowed: "
        + ", ".join(Filters.model_fields),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\n", "there is nothing to compute; give compounds, sources or both"),
        ("name: a\nsources: []\n", "campaign.yaml:2: sources: must not be empty"),
        (
            "name: a\ncompounds:\n  - formula: Mg\nfilters: {max_atoms: 3}\n",
            "filters choose among the compounds of sources",
        ),
        ("name: a\nsources:\n  - prototypes: [B2]\n", "sources[1]: prototypes need elements; give partners"),
        (
            SOURCES + "filters: {partners: [Zn], exclude: [Zn]}\n",
            "campaign.yaml:9: filters: Zn cannot be both in partners and in exclude",
        ),
    ],
)
def test_one_line_for_one_problem(lines_of, text, line):
    found = lines_of(text)
    assert len(found) == 1, found
    assert line in found[0]


def test_what_decides_the_list(load):
    """Defaults written out, patience and everything outside the three sections do not."""
    plain = sections_of(load(SOURCES))
    for same in (
        SOURCES + "filters: {max_elements: 2, radioactive: false}\nslabs: {vacuum: 20.0}\n",
        SOURCES.replace("    timeout: 20\n", ""),
    ):
        assert sections_of(load(same)) == plain
    assert sections_of(load(SOURCES + "filters: {max_atoms: 30}\n")) != plain


def test_every_field_is_described():
    for model in (CandidateSource, Filters):
        for name, field in model.model_fields.items():
            assert field.description, (model, name)


def test_a_cache_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MGSURF_CACHE", str(tmp_path))

    class Source:
        problems = ()

        def candidates(self):
            yield from sqlite3.connect(":memory:").execute("SELECT * FROM entries")

    source = ResolvedSource("mg.yaml:2", Source())
    assert list(source.candidates(tmp_path)) == []
    assert source.problems == [
        "mg.yaml:2: the cache of answers cannot be used (no such table: entries); run again, or delete "
        f"{tmp_path / 'sources.sqlite'}"
    ]
    assert not source.answered


def test_own_files_of_a_campaign_are_named_from_its_folder_on(load, tmp_path):
    structure_for("MgAg", "B2").to(str(tmp_path / "MgAg.cif"))
    (requested,) = requested_compounds(load("name: a\ncompounds:\n  - file: MgAg.cif\n"))
    assert requested.candidate.provenance.identifiers == ["MgAg.cif"]
