from __future__ import annotations

import json
from pathlib import Path

import pytest

from stores.errors import InputError
from stores.records import Provenance, content_hash
from workflows.flows.campaign.file import campaign_structures, load_campaign
from workflows.flows.enumeration.lock_file import (
    campaign_lock,
    changes,
    checked_lock,
    dump_lock,
    locked_structures,
    read_lock,
    sections_of,
    write_lock,
)
from workflows.flows.enumeration.lock_model import LOCK_VERSION, LockedCompound, LockFile, rounded
from workflows.structures.crystal import bulk_key, crystal_of
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
    return LockFile(
        mgsurf="1", made_from=content_hash({}), sections={}, slab_settings={}, compounds=list(compounds)
    )


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
    plain = json.loads(text)
    assert [label for label, _ in plain.pop("checksums")["compounds"]] == ["MgAg B2", "MgZn2 C14"]
    assert plain == written.model_dump(mode="json", exclude_defaults=True) | {"lock_version": LOCK_VERSION}
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


FULL = lock(
    compound(
        values=[{"method": "mp", "formation_energy": -0.2, "energy_above_hull": 0.0, "band_gap": 0.1}],
        hull={"energy": 0.01, "method": "mp"},
        facets=[(1, 0, 0)],
        provenance=Provenance(source="mp", identifiers=["mp-1", "oqmd-2"], lattice_is_guess=True),
    ),
    compound("MgZn", names=("mp-3",)),
).model_copy(
    update={
        "left_out": ["oqmd: down"],
        "slab_settings": {"max_miller_index": 1, "max_terminations": None},
        "competing": [("Mg3Ag", -0.1, "mp", "mp-9")],
    }
)
"""A lock file in which every field has a value."""


def leaves(value, place=()):
    """Yield the place of every value that holds no others."""
    if isinstance(value, (dict, list)) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*place, key))
    else:
        yield place


def others(value):
    """Yield values a hand or a disk may leave in place of one."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield from (value + 1, -value - 0.5, str(value), None)
    elif isinstance(value, str):
        yield from (value + "x", value[1:], None, 7)
    else:
        yield from (0, "x")


def refusal(path, plain):
    """Return the line by which a lock file is refused; empty if it is not."""
    try:
        checked_lock(plain, path, "mgsurf enumerate a.yaml")
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error), error
        return str(error)
    return ""


def entry_of(place):
    """Return what a message about a change must name."""
    if place[0] == "checksums":  # a label or digest that is no text is no checksum at all
        return str(place[1]) if place[1] != "compounds" else "c"
    return f"compound {place[1] + 1} " if place[0] == "compounds" else str(place[0])


def test_every_changed_value_is_noticed_and_named(tmp_path):
    path, whole = tmp_path / "a.lock.json", dump_lock(FULL)
    path.write_text(whole)
    assert read_lock(path, "x") == FULL
    places = list(leaves(json.loads(whole)))
    assert len(places) > 70
    for place in places:
        plain = json.loads(whole)
        *parents, last = place
        parent = plain
        for key in parents:
            parent = parent[key]
        for value in others(parent[last]):
            parent[last] = value
            line = refusal(path, plain)
            assert "a.lock.json" in line, f"{place} = {value!r} was not noticed"
            named = ("damaged", "changed since", "newer", "its formula")
            assert any(word in line for word in named), line
            if "changed since" in line and place[0] != "lock_version":
                assert entry_of(place) in line, (place, line)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda plain: plain["compounds"].append(plain["compounds"][0] | {"label": "MgAg x"}),
            "3 (MgAg x) added",
        ),
        (lambda plain: plain["compounds"].append(plain["compounds"][0]), "repeated or moved"),
        (lambda plain: plain.update(compounds=[plain["compounds"][1] | {"n_atoms": 3}]), "1 (MgZn B2) added"),
        (lambda plain: plain["checksums"]["compounds"].append([]), "checksums are"),
        (lambda plain: plain["checksums"]["compounds"].append(5), "checksums are"),
        (lambda plain: plain["compounds"].reverse(), "compound 1 (MgZn B2) changed"),
        (lambda plain: plain["compounds"][0].pop("hull"), "compound 1 (MgAg B2) changed"),
        (lambda plain: plain["compounds"][0].update(formula="MgAu"), "compound 1 (MgAg B2) changed"),
        (lambda plain: plain.pop("competing"), "competing removed"),
        (lambda plain: plain.pop("left_out"), "left_out removed"),
        (lambda plain: plain.pop("lock_version"), "lock_version removed"),
        (lambda plain: plain.update(lock_version=2), "lock_version is 2, which has no checksums"),
        (lambda plain: plain.pop("checksums"), "checksums are missing"),
        (lambda plain: plain.update(checksums=[]), "checksums are missing"),
        (lambda plain: plain["checksums"].pop("sections"), "sections added"),
        (lambda plain: plain["slab_settings"].update(max_terminations=2**80), "damaged"),
        (lambda plain: plain["sections"].update(x=float("nan")), "damaged (sections.x"),
        (lambda plain: plain["sections"].update(x="\ud800"), "damaged"),
    ],
)
def test_what_is_taken_out_or_put_in_is_named(tmp_path, change, words):
    plain = json.loads(dump_lock(FULL))
    change(plain)
    assert words in refusal(tmp_path / "a.lock.json", plain)


def test_a_compound_may_be_deleted_by_hand_and_is_named(tmp_path):
    campaign = campaign_with_lock(tmp_path, LOCK_VERSION, compound(), compound("MgZn", names=("mp-3",)))
    path = tmp_path / "a.lock.json"
    plain = json.loads(path.read_text())
    del plain["compounds"][1]
    path.write_text(json.dumps(plain))
    found = campaign_lock(campaign)
    assert found.removed == ["MgZn B2"]
    structures, (line,) = locked_structures(found, path, "x")
    assert len(structures) == 1 and "1 compound deleted by hand: MgZn B2" in line


def test_a_file_written_before_checksums_is_read_and_its_sections_are_checked(tmp_path):
    plain = json.loads(dump_lock(FULL.model_copy(update={"lock_version": 2})))
    assert "checksums" not in plain
    path = tmp_path / "a.lock.json"
    assert refusal(path, plain) == ""
    assert "made_from is not the hash of sections" in refusal(path, plain | {"sections": {"filters": {}}})
    assert "made_from is not the hash of sections" in refusal(path, plain | {"made_from": "x"})


@pytest.mark.parametrize("version", [2, LOCK_VERSION])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ({"sites": [("Xq", 0.0, 0.0, 0.0)]}, ["MgAg", "restore"]),
        ({"sites": [("Mg", 0.0, 0.0, 0.0), ("Xq", 0.5, 0.5, 0.5)]}, ["MgXq", "MgAg"]),
        ({"lattice": ((3.0, 0.0, 0.0), (0.0, 3.0, 0.0), (3.0, 3.0, 0.0))}, ["no volume"]),
        ({"sites": [("Mg", 0.0, 0.0, 0.0), ("Ag", 0.1, 0.0, 0.0)]}, ["apart"]),
        ({"sites": [("Mg", 0.0, 0.0, 0.0), ("Zn", 0.5, 0.5, 0.5)]}, ["MgZn", "MgAg"]),
        ({"sites": [("Zn", 0.0, 0.0, 0.0), ("Ag", 0.5, 0.5, 0.5)]}, ["MgAg"]),
        ({"sites": [("Zn", 0.0, 0.0, 0.0), ("Ag", 0.5, 0.5, 0.5)], "formula": "ZnCu"}, ["ZnAg", "ZnCu"]),
        ({"sites": [("Mg", 0.0, 0.0, 0.0)]}, ["MgAg"]),
        ({"formula": "Mg2Ag"}, ["MgAg", "Mg2Ag"]),
        ({"lattice": ((3.3, 0.0, 0.0), (0.0, 3.3, 0.0), (0.0, 0.0, 20.0))}, ["vacuum"]),
        ({"lattice": ((3.3, 0.0, 0.0), (0.0, 3.3, 0.0), (0.0, 0.0, 3.6))}, ["P4/mmm (123)", "Pm-3m (221)"]),
        ({"sites": [("Mg", 0.0, 0.0, 0.0), ("Ag", 0.5, 0.5, 0.4)]}, ["P4mm (99)", "Pm-3m (221)"]),
        ({"spacegroup_number": 225}, ["(221)", "(225)"]),
        ({"spacegroup_symbol": "Fm-3m"}, ["Pm-3m", "Fm-3m"]),
        ({"n_atoms": 4}, ["2 atoms", "4 atoms"]),
        ({"label": "MgZn Pm-3m"}, ["MgAg", "MgZn Pm-3m"]),
        (
            {
                "lattice": ((6.6, 0.0, 0.0), (0.0, 3.3, 0.0), (0.0, 0.0, 3.3)),
                "sites": [
                    (element, (x + i) / 2, x, x) for element, x in (("Mg", 0.0), ("Ag", 0.5)) for i in (0, 1)
                ],
            },
            ["4 in the conventional one"],
        ),
    ],
)
def test_a_compound_that_contradicts_itself_is_one_line_that_names_file_and_entry(
    tmp_path, version, spoil, words
):
    campaign = campaign_with_lock(tmp_path, version, compound().model_copy(update=spoil))
    with pytest.raises(InputError) as error:
        campaign_structures(campaign)
    label = spoil.get("label", "MgAg B2")
    assert f"a.lock.json: {label}" in str(error.value)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"slabs": {"(100)": 2, "(110)": 1, "(111)": 2}}, ""),
        ({"slabs": {"(100)": 7, "(110)": 1, "(111)": 2}}, "(100):7 (110):1 (111):2"),
        ({"slabs": {"(100)": 2, "(111)": 2}}, "(100):2 (110):1 (111):2"),
        ({"slabs": {"(100)": 2, "(110)": 1, "(123)": 2}}, "(123):2"),
        ({"slabs": {"(100)": 2}, "facets": [(1, 0, 0)]}, ""),
        ({"slabs": {"(100)": 2}, "facets": [(0, 1, 0)]}, ""),
        ({"slabs": {"(100)": 1}, "facets": [(1, 0, 0)]}, "(100):1"),
    ],
)
def test_slabs_of_old_files_are_counted_again(more, line):
    listed = lock(compound(**more)).model_copy(update={"lock_version": 2})
    structures, lines = locked_structures(listed, Path("a.lock.json"), "x")
    assert len(structures) == 1
    assert len(lines) == bool(line)
    assert all("MgAg B2" in said and line in said for said in lines)


@pytest.mark.parametrize(
    ("more", "settings", "words"),
    [
        ({"slabs": {"(100)": 2}, "facets": [(1, 1, 0)]}, {}, "(100):2"),
        ({"facets": [(0, 0, 0)]}, {}, "slab_settings"),
        ({}, {"max_miller": 1}, "max_miller"),
        ({}, {"min_thickness": -1.0}, "min_thickness"),
    ],
)
def test_planes_chosen_that_are_not_those_listed_are_refused(more, settings, words):
    listed = lock(compound(**more)).model_copy(update={"lock_version": 2, "slab_settings": settings})
    with pytest.raises(InputError) as error:
        locked_structures(listed, Path("a.lock.json"), "x")
    assert "a.lock.json: MgAg B2" in str(error.value) and words in str(error.value)


def campaign_with_lock(folder, version, *compounds, **filters):
    """Return a campaign beside its lock file: of some version, with filters that may be changed."""
    path = folder / "a.yaml"
    path.write_text("name: a\nsources:\n  - prototypes: [B2]\n    partners: [Ag]\n")
    campaign = load_campaign(path)
    sections = sections_of(campaign, version)
    if filters:
        sections["filters"] = sections["filters"] | filters
    made = {"lock_version": version, "sections": sections, "made_from": content_hash(sections)}
    written = lock(*compounds or [compound()]).model_copy(update=made)
    write_lock(dump_lock(written), folder / "a.lock.json")
    return campaign


def test_a_default_that_changed_since_is_told(tmp_path):
    assert campaign_lock(campaign_with_lock(tmp_path, LOCK_VERSION)).compounds
    campaign = campaign_with_lock(
        tmp_path, LOCK_VERSION, metals_only=False
    )  # as if that had been the default
    with pytest.raises(InputError, match=r"filters.metals_only was false, is true\); run"):
        campaign_lock(campaign)


def test_lock_files_of_the_first_layout_stay_good(tmp_path):
    found = campaign_lock(campaign_with_lock(tmp_path, 1))
    assert found.lock_version == 1
    assert found.sections == {"sources": [{"prototypes": ["B2"], "partners": ["Ag"]}]}
    assert found.competing == []


def test_a_list_that_an_older_version_wrote_is_not_laid_at_the_databases_door(tmp_path):
    from workflows.cli.enumerate import settle
    from workflows.flows.enumeration.enumeration import Enumeration

    campaign = campaign_with_lock(tmp_path, 1)
    path = tmp_path / "a.lock.json"
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
