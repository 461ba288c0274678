from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.dataset import Dataset, Entry
from model.data.formula_key import formula_key
from model.data.splits import FRACTIONS, PARTS, fixed_split, part_of, split_dataset
from tests.model.small_dataset import small_dataset
from tests.model.tiny import tiny_graph

GRAPH = tiny_graph(0)
ELEMENTS = ("Ag", "Al", "Ca", "Cu", "La", "Ni", "Pd", "Sn", "Y", "Zn")
FORMULAS = [f"Mg{n}{e}" for e in ELEMENTS for n in ("", 2, 3, 17)]


def entry(number, formula, group):
    crystal = formula_key(formula, "", None)
    return Entry(str(number), GRAPH, {"work_function": 4.0}, formula, "", (), formula, group, crystal)


@st.composite
def stores(draw):
    """Records of many compounds; some slabs of different compounds are identical (equal group)."""
    formulas = draw(st.lists(st.sampled_from(FORMULAS), min_size=1, max_size=60))
    groups = [draw(st.integers(0, 40)) for _ in formulas]
    return [entry(i, f, g) for i, (f, g) in enumerate(zip(formulas, groups, strict=True))]


def parts_of(entries):
    dataset = Dataset(tuple(entries), ("work_function",))
    split = fixed_split(dataset)
    return {dataset[i].record_id: part for part in PARTS for i in split.part(part)}


@given(stores(), st.randoms(use_true_random=False), st.integers(0, 60))
def test_growing_the_store_never_moves_a_record(entries, rng, n):
    shuffled = list(entries)
    rng.shuffle(shuffled)
    all_of_them, some = parts_of(entries), parts_of(shuffled[:n])
    assert parts_of(shuffled) == all_of_them, "the order does not matter"
    for record, part in some.items():
        # a twin that trains may come in and end the counting of a slab, never move it
        assert all_of_them.get(record, part) == part
    for one in shuffled[:n]:
        assert some.get(one.record_id, part_of(one.crystal)) == part_of(one.crystal)


@given(stores())
def test_identical_slabs_never_count_in_two_parts(entries):
    found = parts_of(entries)
    where: dict[int, set[str]] = {}
    for one in entries:
        if one.record_id in found:
            where.setdefault(one.group, set()).add(found[one.record_id])
    assert all(len(parts) == 1 for parts in where.values())
    # nobody is left out without an identical slab in an earlier part
    for one in entries:
        if one.record_id not in found:
            (part,) = where[one.group]
            assert PARTS.index(part) < PARTS.index(part_of(one.crystal))


@given(st.permutations(["Mg17", "Al12"]), st.integers(1, 4))
def test_a_compound_has_one_name_however_it_is_written(terms, n):
    written = "".join(terms)
    assert formula_key(written, "", None) == "Al12Mg17"
    assert formula_key(f"Mg{2 * n}Ag{2 * n}", "", None) == formula_key("AgMg", "", None) == "Ag1Mg1"


def test_imported_slabs_have_the_part_of_their_crystal():
    assert formula_key("Mg3Zn4", "Mg-Zn", "MgZn2 16.21") == formula_key("MgZn2", "Mg-Zn", None)
    # of two terminations that do not show their crystal, neither may train while the other is held out
    assert formula_key("Mg3Zn4", "Mg-Zn", "Mg3Zn4") == formula_key("Mg5Zn4", "Mg-Zn", "Mg5Zn4") == "Mg-Zn"


def test_parts_are_the_same_for_ever():
    """If this fails, every champion of every store has to be trained again."""
    known = {"MgAg": "train", "MgZn2": "val", "MgCu": "val", "MgZn": "val", "MgLa": "test", "Mg3Ca": "test"}
    assert {name: part_of(formula_key(name, "", None)) for name in known} == known


def test_shares_are_those_of_the_paper():
    names = [formula_key(f"Mg{a}X{b}", "", None) for a in range(1, 100) for b in range(1, 100)]
    unique = set(names)
    for part, fraction in zip(PARTS, FRACTIONS, strict=True):
        share = sum(part_of(name) == part for name in unique) / len(unique)
        assert share == pytest.approx(fraction, abs=0.02)


def test_a_data_set_of_real_slabs():
    dataset = small_dataset(n_partners=4)
    named = Dataset(
        tuple(Entry(**{**e.__dict__, "crystal": formula_key(e.formula, e.chemsys, None)}) for e in dataset),
        dataset.targets,
    )
    order = list(range(len(named)))
    random.Random(0).shuffle(order)
    for data in (named, named.subset(order), named.subset(order[:25])):
        split = split_dataset(data, "holdout", seed=5)
        assert split.name == "holdout"
        for part in PARTS:
            assert all(part_of(data[i].crystal) == part for i in split.part(part))


def test_neither_torch_nor_pymatgen_is_needed():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, model.data.splits, model.promotion.readiness\n"
         "assert not {'torch', 'pymatgen', 'scipy'} & set(sys.modules)"],
        cwd=Path(__file__).resolve().parents[2], check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
