"""Croissant, RO-Crate, citation, datasheet and model card."""

from __future__ import annotations

import json
from datetime import date

import pytest
from ruamel.yaml import YAML

from stores.connections import open_store
from stores.errors import InputError
from stores.learning.model_card import ModelFacts
from stores.learning.registry import ModelRegistry
from stores.paths import user_and_host
from workflows.publication.markdown import table
from workflows.publication.model import registered_model
from workflows.publication.private import public_text
from workflows.publication.terms import Creator, Terms

KINDS = ("surfaces", "labels", "compositions")


@pytest.mark.parametrize("kind", KINDS)
def test_croissant_loads_without_issues_and_yields_the_records(published, kind):
    mlc = pytest.importorskip("mlcroissant")
    dataset = mlc.Dataset(jsonld=published[kind] / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    found = list(dataset.records("entries"))
    data = pytest.importorskip("duckdb").sql(f"select * from '{published[kind] / 'data.parquet'}' ").df()
    assert [one["entries/record_id"].decode() for one in found] == list(data["record_id"])
    column = "hardness" if kind == "compositions" else "work_function"
    assert [one[f"entries/{column}"] for one in found] == list(data[column])
    if kind != "compositions":
        assert [list(one["entries/fractional"]) for one in found] == [list(one) for one in data["fractional"]]


@pytest.mark.parametrize("kind", KINDS)
def test_ro_crate_names_every_file_its_people_and_its_licence(stored, published, kind):
    crates = pytest.importorskip("rocrate.rocrate")
    crate = crates.ROCrate(published[kind])
    there = {f"{p.name}/" if p.is_dir() else p.name for p in published[kind].iterdir()}
    assert {one.id for one in crate.data_entities} == there - {"SHA256SUMS", "ro-crate-metadata.json"}
    assert crate.root_dataset["license"].id == "https://creativecommons.org/licenses/by/4.0/"
    assert [one["name"] for one in crate.root_dataset["author"]] == ["Ada Lovelace", "Madonna"]
    graph = json.loads((published[kind] / "ro-crate-metadata.json").read_text())["@graph"]
    assert len({one["@id"] for one in graph}) == len(graph)
    assert all(" " not in one["@id"] for one in graph)
    assert {one["value"] for one in crate.root_dataset["additionalProperty"]} >= {stored[kind].snapshot}


def test_the_citation_has_what_the_format_needs(stored, published):
    cited = YAML(typ="safe").load((published["surfaces"] / "CITATION.cff").read_text())
    assert (cited["cff-version"], cited["type"], cited["title"]) == ("1.2.0", "dataset", "Surfaces of MgAg")
    assert cited["authors"] == [
        {"family-names": "Lovelace", "given-names": "Ada", "orcid": "https://orcid.org/0000-0002-1825-0097"},
        {"name": "Madonna"},
    ]
    assert (cited["doi"], cited["license"]) == ("10.5281/zenodo.1234567", "CC-BY-4.0")
    with open_store(stored["surfaces"].uri) as store:
        made = next(store.query({}, ["created_at"], collection="snapshots"))["created_at"]
    assert date.fromisoformat(cited["date-released"]) == date.fromisoformat(made[:10])
    assert "SPDX-License-Identifier: CC-BY-4.0" in (published["surfaces"] / "LICENSE.txt").read_text()


def test_the_datasheet_states_methods_counts_and_sources(published):
    text = (published["surfaces"] / "datasheet.md").read_text()
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "Motivation", "Composition", "Collection process", "Preprocessing, cleaning and labelling", "Uses",
        "Distribution", "Maintenance",
    ]  # fmt: skip
    assert "| cutoff (eV) | 480.0 |" in text and "| functional | PBE |" in text
    assert "| `work_function` |" in text and "| eV | 6 |" in text
    assert "| others2020 | 5 |" in (published["labels"] / "datasheet.md").read_text()


def test_a_model_is_published_with_its_card_but_without_the_host(stored, tmp_path):
    errors = {"n": 2, "mae": 0.0123, "rmse": 0.02, "r2": 0.9}
    with open_store(f"sqlite:///{tmp_path / 'models.sqlite'}") as store:
        facts = ModelFacts(
            label="sem-cgcnn, random, seed 0",
            snapshot=stored["surfaces"].snapshot,
            targets=("surface_energy",),
            elements=("Ag", "Mg"),
            config={"preset": "sem-cgcnn", "store": "/scratch/somebody/x/a.sqlite"},
            sizes={"train": 4, "test": 2},
            metrics={"random": {"surface_energy": {"test": errors}}},
        )
        ModelRegistry(store).add(facts, {"manifest.json": b"{}", "member-0.pt": b"weights"})
        model = registered_model(store, "v1")
    stored["surfaces"].publish(tmp_path / "out", model=model)
    folder = tmp_path / "out" / "model"
    assert {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith("model_card")} == {
        "manifest.json": b"{}", "member-0.pt": b"weights"
    }  # fmt: skip
    card = (folder / "model_card.md").read_text()
    assert (
        "which is this data set" in card
        and "| random | surface energy | test | 2 | 0.0123 | 0.02 | 0.9 |" in card
    )
    everything = card + (folder / "model_card.json").read_text()
    assert user_and_host() not in everything and "somebody" not in everything
    assert json.loads((folder / "model_card.json").read_text())["config"]["store"] == "a.sqlite"
    assert "which is not the published one" in _card_of_another(model)


def _card_of_another(model):
    from workflows.publication.model import model_card

    return model_card(model, "another")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"creators": []}, "--creator"),
        ({"creators": ["Ada <0000-0002-1825-0098>"]}, "ORCID"),
        ({"creators": ["Ada <me@example.org>"]}, "ORCID"),
        ({"creators": ["<0000-0002-1825-0097>"]}, "--creator"),
        ({"licence": ""}, "--license"),
        ({"licence": "free for all"}, "SPDX"),
        ({"licence": "CC-BY-4.0 OR MIT"}, "SPDX"),
        ({"licence": "LicenseRef-mine"}, "SPDX"),
        ({"creators": [", Ada"]}, "--creator"),
        ({"doi": "zenodo.1234"}, "--doi"),
        ({"version": "first"}, "--data-version"),
        ({"title": "a\nb"}, "--title"),
    ],
)
def test_wrong_terms_are_refused_by_the_name_of_their_option(changes, word):
    given = {"title": "", "creators": ["Ada Lovelace"], "licence": "CC-BY-4.0"} | changes
    with pytest.raises(InputError, match=word) as error:
        Terms.parse(**given)
    assert "\n" not in str(error.value)


def test_people_may_have_a_name_of_one_word_or_the_family_name_first():
    assert Creator.parse("Lovelace, Ada <https://orcid.org/0000-0002-1694-233X>").names == ("Ada", "Lovelace")
    assert Creator.parse("Madonna").names == ("", "Madonna")


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("see /scratch/somebody/runs/OUTCAR", "see OUTCAR"),
        ("node17:/scratch/somebody/runs/OUTCAR", "node17:OUTCAR"),
        ("file:///scratch/somebody/OUTCAR", "OUTCAR"),
        (json.dumps("stopped\n/scratch/somebody/OUTCAR"), json.dumps("stopped\nOUTCAR")),
        ("see /scratch/Ada Lovelace/my data/OUTCAR", "see OUTCAR"),
        ("of sqlite:////scratch/ada/s.sqlite and folder:///scratch/ada/records", "of s.sqlite and records"),
        ("cannot read '/scratch/Ada de la Cruz/set of data 2/OUTCAR'", "cannot read 'OUTCAR'"),
        (json.dumps({"a": "/my data/POSCAR", "b": "x"}), json.dumps({"a": "POSCAR", "b": "x"})),
        (json.dumps('no "/my data of 2025/x"'), json.dumps('no "x"')),
        ("/my data/OUTCAR: 0.03 eV/A after 3 steps", "OUTCAR: 0.03 eV/A after 3 steps"),
        ("in /scratch/run 12 atoms/cell, /tmp or /dev/shm/x", "in run 12 atoms/cell, /tmp or x"),
        ("/scratch/a and energies/forces", "a and energies/forces"),
        ("of /scratch/ada/a is x/y, of /scratch/My Data/b too", "of a is x/y, of b too"),
        ("https://example.org/a/b/c, eV/A^2, 1/2/3", "https://example.org/a/b/c, eV/A^2, 1/2/3"),
    ],
)
def test_folders_are_cut_off_and_addresses_are_not(text, public):
    assert public_text(text) == public


def test_cells_of_a_table_are_text():
    line = table(("a", "b"), [("x\\|y", "<b>\n[z](w)")]).splitlines()[2]
    assert line == r"| x\\\|y | &lt;b> \[z](w) |"
