from __future__ import annotations

import json

import pytest

from stores.errors import InputError
from stores.method import content_hash
from stores.records import Provenance
from workflows.flows.enumeration import rounded
from workflows.flows.lock_changes import changes
from workflows.flows.lock_file import (
    LOCK_VERSION,
    LockedCompound,
    LockFile,
    campaign_lock,
    dump_lock,
    read_lock,
    sections_of,
    write_lock,
)
from workflows.structures.crystal import crystal_of
from workflows.structures.identity import bulk_key
from workflows.structures.prototypes import structure_for


def compound(formula="MgAg", prototype="B2", names=("mp-1",), source="mp", scale=1.0, **more):
    structure = crystal_of(structure_for(formula, prototype)).structure
    structure.scale_lattice(structure.volume * scale)
    lattice, sites = rounded(structure)
    return LockedCompound(
        **{
            "label": f"{formula} {prototype}",
            "formula": formula,
            "spacegroup_number": 221,
            "spacegroup_symbol": "Pm-3m",
            "n_atoms": 2,
            "provenance": Provenance(source=source, identifiers=list(names)),
            "slabs": {"(100)": 2},
            "lattice": lattice,
            "sites": sites,
        }
        | more
    )


def lock(*compounds):
    return LockFile(mgsurf="1", made_from="abc", sections={}, slab_settings={}, compounds=list(compounds))


@pytest.mark.parametrize(("formula", "prototype"), [("MgAg", "B2"), ("MgZn2", "C14"), ("Mg2Ni", "C_a")])
def test_rounding_keeps_the_crystal(formula, prototype):
    structure = crystal_of(structure_for(formula, prototype)).structure
    again = compound(formula, prototype).structure()
    assert bulk_key(again) == bulk_key(structure)
    assert crystal_of(again).spacegroup_number == crystal_of(structure).spacegroup_number


def test_rounded_sites_are_sorted_and_inside_the_cell():
    structure = structure_for("MgAg", "B2")
    structure.translate_sites([0, 1], [-1e-10, 0.0, 0.0], to_unit_cell=False)
    _, sites = rounded(structure)
    assert sites == [("Mg", 0.0, 0.0, 0.0), ("Ag", 0.5, 0.5, 0.5)] or sites[0][0] == "Mg"
    assert all(0 <= u < 1 for site in sites for u in site[1:])
    assert "-0.0" not in json.dumps(sites)


def test_what_is_written_is_read_back_and_one_site_takes_one_line(tmp_path):
    path = tmp_path / "a.lock.json"
    written = lock(compound(), compound("MgZn2", "C14", ("oqmd-2",), "oqmd"))
    write_lock(dump_lock(written), path)
    assert read_lock(path, "x") == written
    text = path.read_text()
    assert text == dump_lock(written)
    assert json.loads(text) == written.model_dump(mode="json", exclude_defaults=True) | {
        "lock_version": LOCK_VERSION
    }
    assert '        ["Ag", 0.5, 0.5, 0.5]' in text or '        ["Ag", 0.0, 0.0, 0.0]' in text
    assert text.endswith("}\n")
    assert list(tmp_path.iterdir()) == [path], "no half-written file is left"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text[:300], "damaged"),
        (
            lambda text: text.replace(f'"lock_version": {LOCK_VERSION}', '"lock_version": 99'),
            "written by a newer mgsurf",
        ),
        (lambda text: text.replace('"n_atoms": 2', '"n_atoms": "two"'), "compounds.1.n_atoms"),
        (lambda text: text.replace('"slabs"', '"slubs"'), "compounds.1.slabs"),
        (lambda text: "<<<<<<< ours\n" + text, "a.lock.json:1: the lock file is damaged"),
        (lambda text: "[]", "damaged"),
        (lambda text: "\x00\xff", "damaged"),
        (lambda text: "[" * 100_000, "damaged"),
    ],
)
def test_a_damaged_file_is_one_line_that_says_what_to_do(tmp_path, spoil, words):
    path = tmp_path / "a.lock.json"
    path.write_text(spoil(dump_lock(lock(compound()))), encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_lock(path, "mgsurf enumerate a.yaml")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "mgsurf enumerate a.yaml --update" in str(raised.value) or "upgrade" in str(raised.value)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_lock(dump_lock(lock(compound())), tmp_path / "nowhere" / "a.lock.json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write_lock(dump_lock(lock(compound())), tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_changes_are_told_by_kind():
    old = lock(compound(), compound("MgZn2", "C14", ("oqmd-2",), "oqmd"), compound("Mg2Ni", "C_a", ("mp-9",)))
    new = lock(
        compound(names=("mp-1", "oqmd-7"), scale=1.02),
        compound("Mg2Ni", "C_a", ("mp-9",), hull={"energy": 0.01, "method": "mp"}),
        compound("Mg3Ag", "D0_19", ("mp-4",)),
    )
    found = changes(old, new)
    assert found.added == ["Mg3Ag D0_19 (mp-4)"]
    assert found.removed == ["MgZn2 C14 (oqmd-2)"]
    assert found.geometry == ["MgAg B2: cell edges change by up to 0.66 %"]
    assert found.other == ["Mg2Ni C_a"]
    assert len(found.lines()) == 4
    assert not changes(old, old)
    more = old.model_copy(update={"competing": [("Mg3Ag", -0.1, "oqmd", "oqmd-3")]})
    found = changes(old, more)
    assert found and not found.of_crystals
    assert found.lines() == ["competing 1 refused phase, were 0; 1 new or changed"]


def test_a_geometry_from_another_source_is_told():
    found = changes(lock(compound()), lock(compound(names=("file:a.cif", "mp-1"), source="file", scale=1.01)))
    assert found.geometry == ["MgAg B2: taken from file, was mp, cell edges change by up to 0.33 %"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ({"sites": [("Xq", 0.0, 0.0, 0.0)]}, "Xq"),
        ({"lattice": ((3.0, 0.0, 0.0), (0.0, 3.0, 0.0), (3.0, 3.0, 0.0))}, "no volume"),
        ({"sites": [("Mg", 0.0, 0.0, 0.0), ("Ag", 0.1, 0.0, 0.0)]}, "apart"),
        ({"sites": [("Mg", 0.0, 0.0, 0.0), ("Zn", 0.5, 0.5, 0.5)]}, "MgZn"),
        ({"sites": [("Mg", 0.0, 0.0, 0.0)]}, "MgAg"),
        ({"lattice": ((3.3, 0.0, 0.0), (0.0, 3.3, 0.0), (0.0, 0.0, 20.0))}, "vacuum"),
    ],
)
def test_a_crystal_spoilt_by_hand_is_one_line_that_names_the_file(tmp_path, spoil, words):
    from workflows.flows.campaign_file import campaign_structures, load_campaign

    path = tmp_path / "a.yaml"
    path.write_text("name: a\nsources:\n  - prototypes: [B2]\n    partners: [Ag]\n")
    campaign = load_campaign(path)
    spoilt = lock(compound(**spoil)).model_copy(update={"made_from": content_hash(sections_of(campaign))})
    write_lock(dump_lock(spoilt), tmp_path / "a.lock.json")
    with pytest.raises(InputError) as error:
        campaign_structures(campaign)
    assert "a.lock.json: MgAg B2" in str(error.value) and words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def listed(tmp_path):
    """A campaign, and what writes its lock file: of some version, with sections that may be changed."""
    from workflows.flows.campaign_file import load_campaign

    path = tmp_path / "a.yaml"
    path.write_text("name: a\nsources:\n  - prototypes: [B2]\n    partners: [Ag]\n")
    campaign = load_campaign(path)

    def write(version, **filters):
        sections = sections_of(campaign, version)
        if filters:
            sections["filters"] = sections["filters"] | filters
        made = {"lock_version": version, "sections": sections, "made_from": content_hash(sections)}
        write_lock(dump_lock(lock(compound()).model_copy(update=made)), tmp_path / "a.lock.json")

    return campaign, write


def test_a_default_that_changed_since_is_told(listed):
    campaign, write = listed
    write(LOCK_VERSION)
    assert campaign_lock(campaign).compounds
    write(LOCK_VERSION, metals_only=False)  # as if that had been the default
    with pytest.raises(InputError, match=r"filters.metals_only was false, is true\); run"):
        campaign_lock(campaign)


def test_lock_files_of_the_first_layout_stay_good(listed):
    campaign, write = listed
    write(1)
    found = campaign_lock(campaign)
    assert found.lock_version == 1
    assert found.sections == {"sources": [{"prototypes": ["B2"], "partners": ["Ag"]}]}
    assert found.competing == []


def test_a_list_that_an_older_version_wrote_is_not_laid_at_the_databases_door(listed, tmp_path):
    from workflows.cli.enumerate import settle
    from workflows.flows.enumeration import Enumeration

    campaign, write = listed
    path = tmp_path / "a.lock.json"
    write(1)
    old = read_lock(path, "x")
    competing = [("MgAg3", -0.1, "oqmd", "oqmd-3")]
    new = old.model_copy(update={"lock_version": LOCK_VERSION, "competing": competing})

    def said(whole):
        return settle(Enumeration(new, dump_lock(new), [], 1, whole=whole), path, campaign, update=False)

    before = path.read_bytes()
    assert said(whole=True) == [
        f"lock file {path} was kept, for it was written by an older mgsurf:",
        "  competing 1 refused phase, were 0; 1 new or changed",
        f"  mgsurf enumerate {campaign.path} --update replaces it",
    ]
    assert "for not every source answered in full" in said(whole=False)[0]
    assert path.read_bytes() == before
