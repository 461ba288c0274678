from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from stores.errors import InputError
from workflows.flows.campaign.file import campaign_structures, check_runnable, load_campaign
from workflows.flows.campaign.settings import Campaign, Compound, EngineSettings, SlabSection
from workflows.structures.prototypes import PROTOTYPES, structure_for

GOOD = """\
name: quick-start_1
compounds:
  - formula: Mg
    facets: ["(0001)", (10-10), 11-20]
  - formula: MgAg
    prototype: B2
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "campaign.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def lines_of(write, tmp_path):
    """Load a bad campaign file; return the problems without the folder."""

    def load(text: str) -> list[str]:
        with pytest.raises(InputError) as raised:
            load_campaign(write(text))
        return [line.removeprefix(f"{tmp_path}/") for line in str(raised.value).splitlines()]

    return load


def test_defaults(write):
    campaign = load_campaign(write(GOOD))
    assert campaign.name == "quick-start_1"
    assert campaign.slabs.model_dump() == {
        "max_miller_index": 1,
        "min_thickness": 10.0,
        "vacuum": 15.0,
        "free_depth": 3.0,
        "layer_tolerance": 0.1,
        "max_terminations": None,
        "max_atoms": 200,
        "pre_relaxation": "none",
    }
    assert (campaign.engine.name, campaign.engine.preset, campaign.engine.options) == ("gpaw", "demo", {})
    assert campaign.verdicts.max_displacement == 0.5
    assert campaign.store is None
    assert campaign.work_dir is None


@pytest.mark.parametrize(
    "facet",
    [
        "0110",
        "0112",
        "-0110",
        "0o110",
        "0x6E",
        "1_10",
        "+110",
        "1e2",
        "1",
        "10",
        "~",
        "[0, 1, 1, 0]",
        "[0110]",
    ],
)
def test_an_unquoted_plane_is_refused_as_the_quoted_one(write, facet):
    """YAML makes numbers of these (0110 is 110 or 72), and the plane would be another one."""
    messages = []
    for text in (facet, facet if facet[0] == "[" else f"'{facet}'"):
        with pytest.raises(InputError) as error:
            load_campaign(write(f"name: a\ncompounds:\n  - formula: Mg\n    facets: [{text}]\n"))
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert "compounds[1].facets[1]" in messages[0]
    if facet in ("0110", "0112", "[0, 1, 1, 0]"):
        assert "= -1" in messages[0]


@pytest.mark.parametrize("version", ["", "%YAML 1.1\n---\n"])
def test_four_unquoted_digits_are_a_plane_in_every_version_of_yaml(write, version):
    text = f"{version}name: a\ncompounds:\n  - formula: Mg\n    facets: [0001, 001, 110, -1010]\n"
    assert load_campaign(write(text)).compounds[0].facets == [(0, 0, 1), (0, 0, 1), (1, 1, 0), (-1, 0, 0)]


@pytest.mark.parametrize(
    ("compound", "fits"),
    [
        ("formula: Mg", True),
        ("{formula: MgAg, prototype: B2}", False),
        ("{file: CONTCAR.B2}", False),
        ("{folder: .}", False),
    ],
)
def test_four_indices_need_hexagonal_axes(write, tmp_path, compound, fits):
    structure_for("MgAg", "B2").to(str(tmp_path / "CONTCAR.B2"), fmt="poscar")
    entry = compound.strip("{}")
    campaign = load_campaign(write(f"name: a\ncompounds:\n  - {{{entry}, facets: [10-10]}}\n"))
    if fits:
        assert campaign_structures(campaign)[0].facets == [(1, 0, 0)]
    else:
        with pytest.raises(InputError, match=r"compounds\[1\]\.facets: .*\(10-10\).*Pm-3m"):
            campaign_structures(campaign)


@pytest.mark.parametrize(
    ("more", "pairs"), [("", ("(100) is (010)", "(001) is (100)")), (", facets: [100]", ("(100) is (010)",))]
)
def test_planes_of_a_file_in_other_axes_are_named_in_both_before_anything_is_computed(
    write, tmp_path, caplog, more, pairs
):
    pnma = Structure.from_spacegroup(
        "Pnma", Lattice.orthorhombic(6.0, 4.1, 5.5), ["Mg", "Pd"], [[0.18, 0.25, 0.62], [0.03, 0.25, 0.12]]
    )
    (pnma * [[0, 0, 1], [1, 0, 0], [0, 1, 0]]).to(str(tmp_path / "POSCAR"), fmt="poscar")
    campaign_structures(load_campaign(write(f"name: a\ncompounds:\n  - {{file: POSCAR{more}}}\n")))
    (line,) = [record.getMessage() for record in caplog.records]
    assert all(pair in line for pair in ("POSCAR", *pairs))


def test_facets_are_read_in_every_way_people_write_them(write):
    facets = "[(0001), 110, 001, -110, [1, 0, -1], [1, 0, -1, 0]]"
    text = f"name: a\ncompounds:\n  - formula: Mg\n    facets: {facets}\n"
    facets = load_campaign(write(text)).compounds[0].facets
    assert facets == [(0, 0, 1), (1, 1, 0), (0, 0, 1), (-1, 1, 0), (1, 0, -1), (1, 0, 0)]


def test_everything_can_be_set(write):
    campaign = load_campaign(
        write(
            GOOD
            + """\
slabs: {max_index: 2, min_thickness: 12, vacuum: 20.0, max_terminations: 3, max_atoms: 100}
engine:
  name: my_package.engines:Special
  preset: rough
  options:
    ranks: 4
    overrides: {cutoff: 250}
verdicts: {max_vacuum_slope: 0.02}
store: sqlite:///mine.sqlite
work_dir: runs
"""
        )
    )
    assert campaign.slabs.min_thickness == 12.0
    assert campaign.engine.options == {"ranks": 4, "overrides": {"cutoff": 250}}
    assert type(campaign.engine.options["overrides"]) is dict
    assert campaign.verdicts.max_vacuum_slope == 0.02
    assert campaign.store == "sqlite:///mine.sqlite"


def test_all_problems_at_once_each_with_line_field_and_what_is_allowed(lines_of):
    assert lines_of(
        """\
name: my campaign
compounds:
  - formula: Mg
    facets: [(200), foo]
  - formula: MgAg
    prototyp: B2
  - file: a.cif
    folder: b
  - Mg
  - formula: MgAg
    prototype: B22
slabs:
  vacuum: thick
  max_atoms: 1.5
  free_depth: .nan
  max_indx: 1
engine:
  name: gpwa
verdicts:
  max_displacement: -1
"""
    ) == [
        "campaign.yaml:1: name: 'my campaign' may hold letters, digits, - and _ only",
        "campaign.yaml:4: compounds[1].facets[1]: Miller index (200) has the common divisor 2: "
        "a facet is named by (100)",
        "campaign.yaml:4: compounds[1].facets[2]: Miller index 'foo' cannot be read: write three indices "
        "such as 110, 10-1 or '1 0 -1', or four hexagonal ones such as 10-10",
        "campaign.yaml:6: compounds[2].prototyp: unknown key; did you mean 'prototype'? "
        "allowed: formula, prototype, file, folder, facets, symprec",
        "campaign.yaml:7: compounds[3]: give exactly one of formula, file, folder; found file and folder",
        "campaign.yaml:9: compounds[4]: expected a mapping (key: value), found 'Mg'",
        "campaign.yaml:11: compounds[5].prototype: prototype 'B22' is not known; did you mean 'B2'? "
        "allowed: " + ", ".join(kind.name for kind in PROTOTYPES),
        "campaign.yaml:13: slabs.vacuum: expected a number, found 'thick'",
        "campaign.yaml:14: slabs.max_atoms: expected a whole number, found 1.5",
        "campaign.yaml:15: slabs.free_depth: expected a finite number, found nan",
        "campaign.yaml:16: slabs.max_indx: unknown key; did you mean 'max_index'? "
        "allowed: max_index, min_thickness, vacuum, free_depth, layer_tolerance, max_terminations, "
        "max_atoms, pre_relaxation",
        "campaign.yaml:18: engine.name: engine 'gpwa' is not known; did you mean 'gpaw'? "
        "allowed: gpaw, mlip, vasp",
        "campaign.yaml:20: verdicts.max_displacement: must be above 0, found -1",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "campaign.yaml: is empty; a campaign needs at least `name` and"),
        ("# only a comment\n", "campaign.yaml: is empty; a campaign needs at least `name` and"),
        ("- Mg\n", "campaign.yaml:1: expected `key: value` lines at the top level"),
        ("compounds:\n  - formula: Mg\n", "campaign.yaml: name: required, but missing"),
        ("name: a\ncompounds: []\n", "campaign.yaml:2: compounds: must not be empty"),
        ("name: a\ncompounds:\n", "campaign.yaml:2: compounds: expected a list, found nothing"),
        ("name: a\nname: b\n", "campaign.yaml:2: the key 'name' is there twice"),
        ("name: a\ncompounds:\n\t- formula: Mg\n", "campaign.yaml:3:1: not valid YAML: a tab"),
        ("name: a\ncompounds: [\n", "campaign.yaml:3:1: not valid YAML: "),
        ("name: a: b\n", "campaign.yaml:1:8: not valid YAML: mapping values are not allowed here"),
        ("name: a\ncompounds:\n  - formula: MgAg\n", "campaign.yaml:3: compounds[1]: MgAg is no element"),
        ("name: a\ncompounds:\n  - file: a\n    prototype: B2\n", "prototype goes with formula"),
        ("name: a\ncompounds:\n  - {}\n", "give exactly one of formula, file, folder; found none of them"),
        ("name: 7\ncompounds:\n  - formula: Mg\n", "campaign.yaml:1: name: expected text, found 7"),
        (GOOD + "engine: {preset: dmo}\n", "preset 'dmo' is not known; did you mean 'demo'?"),
        (GOOD + "slabs: 3\n", "slabs: expected a mapping (key: value), found 3"),
        (GOOD + "slabs: {max_terminations: true}\n", "expected a whole number, found True"),
        (
            GOOD + "slabs: {pre_relaxation: chgnt}\n",
            "pre-relaxation 'chgnt' is not known; did you mean 'chgnet'? allowed: none, chgnet",
        ),
        (GOOD + "slabs: {vacuum: 5}\n", "slabs.vacuum: must be at least 12.5, found 5"),
        (GOOD + "slabs: {vacuum: 12}\n", "campaign.yaml:7: slabs.vacuum: must be at least 12.5, found 12"),
        (
            GOOD + "store: postgres://x\n",
            "campaign.yaml:7: store: The store 'postgres://x' has no known form",
        ),
        (
            GOOD + "store: ~nosuchuser/x.db\n",
            "campaign.yaml:7: store: the store: ~nosuchuser/x.db",
        ),
        (GOOD + "work_dir: ~nosuchuser/x\n", "campaign.yaml:7: work_dir: ~nosuchuser/x: there is no user"),
        ("name: a\ncompounds:\n  - file: ~nosuchuser/x.cif\n", "campaign.yaml:3: compounds[1].file: ~nosuch"),
        (
            "name: a\ncompounds:\n  - folder: ~nosuchuser\n",
            "campaign.yaml:3: compounds[1].folder: ~nosuchuser",
        ),
        ("name: a\nsources:\n  - folder: ~nosuchuser\n", "campaign.yaml:3: sources[1].folder: ~nosuchuser"),
        (GOOD + 'work_dir: "a\\0b"\n', "campaign.yaml:7: work_dir: 'a\\x00b' holds a control character"),
        ('name: a\ncompounds:\n  - file: "a\\0b"\n', "campaign.yaml:3: compounds[1].file: 'a\\x00b' holds"),
        (GOOD + "engine: {name: ':'}\n", "campaign.yaml:7: engine.name: ':' is no place of a class"),
        (GOOD + "engine: {name: '.a:B'}\n", "campaign.yaml:7: engine.name: '.a:B' is no place of a class"),
        (GOOD + f"slabs: {{max_atoms: {'9' * 5000}}}\n", "campaign.yaml:7: a number of over 1,000 digits"),
        (GOOD + f"slabs: {{max_atoms: 0x{'f' * 5000}}}\n", "campaign.yaml:7: a number of over 1,000 digits"),
        (GOOD + f"slabs: {{vacuum: {'9' * 999}}}\n", "campaign.yaml:7: slabs.vacuum: "),
        (GOOD + f"  - formula: Mg{'9' * 400}Ag\n    prototype: B2\n", "compounds[3].formula: a formula with"),
        (GOOD + "work_dir: 2026-13-01\n", "campaign.yaml: a date or number cannot be read (month must be"),
        (GOOD + "slabs: {max_index: 9}\n", "slabs.max_index: must be at most 5, found 9"),
        (GOOD + "slabs: {max_miller_index: 9}\n", "slabs.max_miller_index: must be at most 5, found 9"),
        (GOOD + "slabs: {max_index: 2, max_miller_index: 2}\n", "two spellings of one key; keep max_index"),
    ],
)
def test_one_line_for_one_problem(lines_of, text, line):
    found = lines_of(text)
    assert len(found) == 1, found
    assert line in found[0]


def test_files_that_cannot_be_read(tmp_path, write):
    write(GOOD, "campaign.yaml")
    with pytest.raises(
        InputError, match=r"campain\.yaml: no such campaign file; did you mean 'campaign\.yaml'"
    ):
        load_campaign(tmp_path / "campain.yaml")
    with pytest.raises(InputError, match="is a folder"):
        load_campaign(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a text file"):
        load_campaign(binary)


def test_structures_of_elements_prototypes_files_and_folders(tmp_path, write):
    (tmp_path / "structures").mkdir()
    crystal = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.31), ["Mg", "Ag"], [[0, 0, 0], [0.5] * 3])
    crystal.to(str(tmp_path / "MgAg.cif"))
    crystal.to(str(tmp_path / "structures" / "one.cif"))
    crystal.to(str(tmp_path / "structures" / "POSCAR_two"), fmt="poscar")
    campaign = load_campaign(write(GOOD + "  - file: MgAg.cif\n    facets: [110]\n  - folder: structures\n"))
    found = campaign_structures(campaign)
    assert [entry.label for entry in found] == [
        "Mg (A3)",
        "MgAg (B2)",
        "MgAg (MgAg.cif)",
        "MgAg (POSCAR_two)",
        "MgAg (one.cif)",
    ]
    assert [entry.facets for entry in found] == [
        [(0, 0, 1), (1, 0, 0), (1, 1, 0)],
        None,
        [(1, 1, 0)],
        None,
        None,
    ]
    assert [entry.provenance.lattice_is_guess for entry in found] == [False, True, False, False, False]
    assert found[1].structure.lattice.a == pytest.approx(3.31, abs=0.15)
    assert found[2].where == f"{campaign.path}:7: compounds[3].file"


def test_structures_that_cannot_be_used_are_all_named_with_their_lines(tmp_path, write):
    disordered = Structure(Lattice.cubic(3.3), [{"Mg": 0.5, "Ag": 0.5}], [[0, 0, 0]])
    disordered.to(str(tmp_path / "disordered.cif"))
    overlapping = Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.05, 0, 0]])
    overlapping.to(str(tmp_path / "overlapping.json"))
    campaign = load_campaign(
        write(
            """\
name: bad
compounds:
  - file: disordered.cif
  - file: overlapping.json
  - file: missing.cif
  - folder: nowhere
  - formula: He
  - file: %s
  - formula: MgNi2
    prototype: B2
"""
            % ("x" * 300)
        )
    )
    with pytest.raises(InputError) as raised:
        campaign_structures(campaign)
    lines = str(raised.value).splitlines()
    assert len(lines) == 7
    for number, words in enumerate(
        [
            "disordered",
            "overlapping atoms",
            "does not exist",
            "does not exist",
            "noble gas",
            "File name too long",
            "ratio 1:1",
        ]
    ):
        assert f"campaign.yaml:{number + 3}: compounds[{number + 1}]." in lines[number]
        assert words in lines[number]


def test_only_elements_and_binaries_run():
    for elements in (["Mg", "Ag"], ["Al", "Ni"]):
        check_runnable(Structure(Lattice.cubic(3.3), elements, [[0, 0, 0], [0.5] * 3]), "here")
    check_runnable(Structure(Lattice.cubic(3.3), ["Cu"], [[0, 0, 0]]), "here")
    ternary = Structure(Lattice.cubic(4.3), ["Mg", "Ag", "Cu"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]])
    with pytest.raises(InputError, match="MgCuAg holds more than two elements"):
        check_runnable(ternary, "here")


def test_every_field_is_described():
    for model in (Campaign, Compound, EngineSettings, SlabSection):
        for name, field in model.model_fields.items():
            assert field.description, (model, name)
