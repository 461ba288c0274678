"""Documents are data: every place is checked by name, and no module that one names is imported."""

from __future__ import annotations

import ast
import copy
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from model.graphs.slab_frame import PlainSlab
from stores.errors import InputError
from stores.structures.document import read_document, structure_from_document
from stores.structures.reading import check_structure, read_structure
from workflows.structures.sources.materials_project import _row
from workflows.structures.sources.optimade_entries import UnusableError, read_entry

ROOT = Path(__file__).resolve().parents[3]
B2 = Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
HEX = Structure(Lattice.hexagonal(3.2, 5.2), ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])


def plain(structure: Structure = B2, verbosity: int = 1) -> dict:
    return json.loads(json.dumps(structure.as_dict(verbosity=verbosity)))


def changed(document: dict, path: list, value) -> dict:
    """A document with one value put in at a path; ... removes it."""
    document = copy.deepcopy(document)
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


@pytest.mark.parametrize("verbosity", [0, 1])
@pytest.mark.parametrize("structure", [B2, HEX, B2 * (3, 1, 2)])
def test_what_pymatgen_writes_is_read_as_pymatgen_reads_it(structure, verbosity):
    document = plain(structure, verbosity)
    found = structure_from_document(document, "it")
    assert found == Structure.from_dict(document)
    assert found.lattice.matrix == pytest.approx(structure.lattice.matrix, abs=0)
    slab = PlainSlab.from_dict(document)
    np.testing.assert_array_equal(slab.numbers, structure.atomic_numbers)
    np.testing.assert_array_equal(slab.fractional, structure.frac_coords)


SPECIES = ["sites", 0, "species"]


@pytest.mark.parametrize(
    "document",
    [
        changed(plain(), SPECIES, [{"element": "Mg", "occu": 0.9995, "oxidation_state": 2, "spin": 5}]),
        changed(plain(), SPECIES, [{"element": "Mg"}]),
        changed(plain(), SPECIES, [{"element": "Mg2+", "occu": 1}]),
        changed(plain(), SPECIES, ["Mg"]),
        changed(plain(), SPECIES, "Mg2+"),
        changed(plain(), SPECIES, [{"element": "MG", "occu": 1}]),  # as in all other formats
        changed(plain(), SPECIES, ...),  # its label names it
        changed(changed(plain(), SPECIES, ...), ["sites", 0, "label"], "Mg12"),
        changed(plain(), ["sites", 0, "abc"], ...),
        changed(plain(), ["sites", 0, "xyz"], ...),
        changed(plain(), ["sites", 0, "xyz"], [3.3, -3.3, 6.6]),  # the same position in another cell
        changed(plain(), ["lattice", "matrix"], ...),
        changed(plain(), ["lattice"], {"matrix": (3.3 * np.eye(3)).tolist()}),
        changed(plain(), ["charge"], None),
        changed(plain(), ["charge"], ...),
    ],
)
def test_other_ways_to_write_the_same(document):
    found = structure_from_document(document, "it")
    assert found.species == B2.species
    np.testing.assert_allclose(found.frac_coords, B2.frac_coords, atol=1e-12)
    np.testing.assert_allclose(found.lattice.matrix, B2.lattice.matrix, atol=1e-12)


@pytest.mark.parametrize("symbol", ["D", "T"])
def test_isotopes_of_hydrogen_are_hydrogen(symbol):
    document = changed(plain(), ["sites", 1, "species", 0, "element"], symbol)
    notes: list[str] = []
    assert [e.symbol for e in structure_from_document(document, "it", notes).species] == ["Mg", "H"]
    assert len(notes) == 1 and f"({symbol})" in notes[0] and "sites[1]" in notes[0]


def test_numbers_in_properties_stay_and_nothing_else():
    rich = B2.copy()
    rich.add_site_property("magmom", [0.5, None])
    rich.add_site_property("selective_dynamics", [[True, True, False], [False] * 3])
    rich.add_site_property("wyckoff", ["a", "b"])
    rich.add_site_property("object", [{"a": 1}, [[1]]])
    found = structure_from_document(plain(rich), "it")
    assert found.site_properties == {
        "magmom": [0.5, None],
        "selective_dynamics": [[True, True, False], [False] * 3],
    }


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (["lattice"], 3.3, "lattice"),
        (["lattice"], ..., "lattice"),
        (["lattice", "matrix"], 3, "lattice.matrix"),
        (["lattice", "matrix"], [[1, 0, 0], [0, 1, 0]], "lattice.matrix"),
        (["lattice", "matrix", 1], [0, 1], "lattice.matrix[1]"),
        (["lattice", "matrix", 2, 2], "3.3", "lattice.matrix[2]"),
        (["lattice", "matrix", 2, 2], float("nan"), "lattice.matrix[2]"),
        (["lattice", "matrix", 2, 2], 10**400, "lattice.matrix[2]"),
        (["lattice", "a"], 4.3, "lattice.a"),
        (["lattice", "pbc"], True, "lattice.pbc"),
        (["lattice", "pbc"], [1, 1, 1], "lattice.pbc"),
        (["lattice"], {"a": 3, "b": 3, "c": 3, "alpha": 90, "beta": 90}, "lattice.gamma"),
        (["lattice"], {"a": 3, "b": 3, "c": -3, "alpha": 90, "beta": 90, "gamma": 90}, "lengths"),
        (["lattice"], {"a": 3, "b": 3, "c": 3, "alpha": 20, "beta": 20, "gamma": 170}, "angles"),
        (["sites"], None, "sites"),
        (["sites"], {"0": {}}, "sites"),
        (["sites", 1], ["Ag", 0, 0, 0], "sites"),
        (["sites", 1, "abc"], [0, 0], "sites[1].abc"),
        (["sites", 1, "abc"], None, "sites[1].abc"),
        (["sites", 1, "abc"], {"x": 0}, "sites[1].abc"),
        (["sites", 1, "abc"], [0.5, True, 0.5], "sites[1].abc"),
        (["sites", 1, "abc"], [0.5, float("inf"), 0.5], "sites[1].abc"),
        (["sites", 1, "abc"], [0.5, 0.5, 0.6], "sites[1].xyz"),
        (["sites", 1, "xyz"], "0 0 0", "sites[1].xyz"),
        (["sites", 1, "species"], [], "sites[1].species"),
        (["sites", 1, "species"], [{"element": "Mg", "occu": 0.5}], "sites[1].species"),
        (["sites", 1, "species"], [{"element": "Mg", "occu": 0.5}] * 2, "sites[1].species"),
        (["sites", 1, "species"], [{"element": "Mg", "occu": "1"}], "sites[1].species"),
        (["sites", 1, "species"], [{"element": "Xq", "occu": 1}], "sites[1].species"),
        (["sites", 1, "species"], [{"element": "X", "occu": 1}], "sites[1].species"),
        (["sites", 1, "species"], [{"element": "X0+", "occu": 1}], "sites[1].species"),
        (["sites", 1, "species"], [{"element": ["Mg"], "occu": 1}], "sites[1].species"),
        (["charge"], "1", "charge"),
    ],
)
def test_a_refusal_names_the_place_in_the_document(path, value, place):
    for verbosity in (0, 1):
        document = plain(verbosity=verbosity)
        if verbosity == 0 and place in ("sites[1].xyz", "lattice.a"):
            continue
        with pytest.raises(InputError) as error:
            read_document(changed(document, path, value), "x.json")
        assert place in str(error.value)
        assert str(error.value).startswith("x.json")
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300


TEXTS = {
    "lists in lists": "[" * 5000,
    "objects in objects": '{"lattice": ' + '{"a": ' * 5000,
    "long number": "1" * 5000,
    "list": "[]",
    "text": '"x"',
    "null": "null",
    "empty object": "{}",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_of_any_shape_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_structure(path)
    assert "\n" not in str(error.value)
    assert "x.json" in str(error.value)


@pytest.mark.parametrize(("edge", "place"), [(3.3, 1e17), (3.3, 1e300), (999.0, 0.0), (1e8, 0.0)])
def test_absurd_sizes_are_refused_before_they_fill_the_memory(edge, place):
    with pytest.raises(InputError, match=r"fractional coordinate|too large"):
        check_structure(Structure(Lattice.cubic(edge), ["Mg", "Ag"], [[place, 0, 0], [0.5] * 3]), "it")
    check_structure(Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[900, -900, 900], [0.5] * 3]), "it")


HOSTILE = {"@module": "hostile_sentinel", "@class": "Thing", "@version": "1", "@callable": "run", "data": 1}
CALLABLE = {"@module": "hostile_sentinel", "@callable": "run", "@bound": None}
PLACES = [
    [],
    ["lattice"],
    ["lattice", "matrix"],
    ["lattice", "pbc"],
    ["properties"],
    ["properties", "note"],
    ["charge"],
    ["sites"],
    ["sites", 0],
    ["sites", 0, "properties"],
    ["sites", 0, "properties", "note"],
    ["sites", 0, "species"],
    ["sites", 0, "species", 0],
    ["sites", 0, "species", 0, "element"],
    ["sites", 0, "species", 0, "occu"],
    ["sites", 0, "species", 0, "properties"],
    ["sites", 0, "species", 0, "spin"],
    ["sites", 0, "abc"],
    ["sites", 0, "label"],
]


@pytest.fixture
def sentinel(tmp_path, monkeypatch):
    """Put a module where it can be imported; it must not be."""
    (tmp_path / "hostile_sentinel.py").write_text("class Thing:\n    pass\n\ndef run(*a, **k):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert "hostile_sentinel" not in sys.modules


def hostile_documents():
    for place in PLACES:
        for payload in (HOSTILE, CALLABLE):
            if not place:
                yield {**plain(), **payload}
                continue
            inner = plain()
            for step in place[:-1]:
                inner = inner[step]
            old = inner.get(place[-1]) if isinstance(inner, dict) else inner[place[-1]]
            yield changed(plain(), place, payload)
            yield changed(plain(), place, [payload])
            if isinstance(old, dict):  # beside what belongs there
                yield changed(plain(), place, {**old, **payload})


def test_no_document_makes_any_reader_import_a_module(sentinel, tmp_path):
    path = tmp_path / "x.json"

    def entry(document: dict) -> dict:
        return {
            "lattice_vectors": document.get("lattice"),
            "cartesian_site_positions": document.get("sites"),
            "species_at_sites": ["Mg", "Ag"],
            "species": [HOSTILE],
        }

    readers = (
        lambda document: structure_from_document(document, "it"),
        lambda document: read_structure(path),
        PlainSlab.from_dict,
        lambda document: _row({"structure": document, "thermo": []}),
        lambda document: read_entry(entry(document)),
    )
    before: set[str] = set()
    read = refused = 0
    for document in (plain(), *hostile_documents()):
        path.write_text(json.dumps(document))
        for reader in readers:
            try:
                reader(copy.deepcopy(document))
                read += 1
            except (InputError, UnusableError):
                refused += 1
        before = before or set(sys.modules)  # what reading the harmless one imported
    assert min(read, refused) > 50
    assert set(sys.modules) == before


@pytest.mark.filterwarnings("ignore:Not all sites")
def test_pymatgen_itself_would_import_it(sentinel):
    """The sentinel works: should this fail one day, the tests above prove nothing any more."""
    document = changed(plain(), ["sites", 0, "properties", "note"], HOSTILE)
    Structure.from_dict(document)
    assert sys.modules.pop("hostile_sentinel")


def test_no_other_reader_of_documents_is_called():
    """Names from pymatgen.core and monty that turn documents into objects stand nowhere in the packages."""
    found = []
    for package in ("stores", "model", "workflows", "examples", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if not any(word in text for word in ("monty", ".from_dict", ".from_str", ".from_file")):
                continue  # parsing every file takes a second
            tree = ast.parse(text)
            names = {
                alias.asname or alias.name
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pymatgen.core")
                for alias in node.names
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("monty"):
                    found += [f"{path}: {a.name}" for a in node.names if a.name != "jsanitize"]
                if (
                    isinstance(node, ast.Attribute)
                    and node.attr in ("from_dict", "from_str", "from_file")
                    and isinstance(node.value, ast.Name)
                    and node.value.id in names
                ):
                    found.append(f"{path}:{node.lineno}: {node.value.id}.{node.attr}")
    assert found == []
