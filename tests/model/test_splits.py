from __future__ import annotations

import random
from dataclasses import replace

import pytest

from model.data.dataset import Dataset, Entry
from model.data.splits import (
    PARTS,
    chosen_element,
    grouped_split,
    k_fold,
    leave_element_out,
    part_of_training,
    split_dataset,
    split_from_file,
    write_split,
)
from stores.errors import InputError

PARTNERS = ("Ag", "Al", "Ca", "Cu", "Ni", "Pd", "Sc", "Sn", "Y", "Zn", "Sr", "La")


def entry(number, partner, compound, group=None, elements=None):
    elements = elements or ("Mg", partner)
    return Entry(
        record_id=f"r{number:04d}",
        graph=None,  # a split looks at names only
        targets={"surface_energy": 0.05},
        formula=compound,
        chemsys="-".join(sorted(elements)),
        elements=tuple(elements),
        compound=compound,
        group=number if group is None else group,
    )


def facets(per_compound=7):
    """Twelve systems of two compounds each; every tenth slab has an identical twin."""
    entries = []
    for partner in PARTNERS:
        for compound in (f"Mg{partner}", f"Mg2{partner}"):
            for _ in range(per_compound):
                n = len(entries)
                entries.append(entry(n, partner, compound, group=n - 1 if n % 10 == 9 else n))
    return Dataset(tuple(entries), ("surface_energy",))


def ids(dataset, indices):
    return {dataset[i].record_id for i in indices}


def parts(dataset, split):
    return {name: ids(dataset, split.part(name)) for name in PARTS}


@pytest.mark.parametrize("how", ["random", "compound", "chemsys", "element", "element:Ag", "compound:MgAg"])
def test_every_slab_is_in_one_part_and_identical_slabs_in_the_same(how):
    dataset = facets()
    split = split_dataset(dataset, how, seed=3)
    assert sorted(split.train + split.val + split.test) == list(range(len(dataset)))
    where = {i: name for name in PARTS for i in split.part(name)}
    for i, one in enumerate(dataset):
        for j, other in enumerate(dataset):
            if one.group == other.group:
                assert where[i] == where[j]
    assert split.train
    assert split.val
    assert split.test


def test_random_parts_have_the_papers_sizes():
    dataset = facets()
    split = grouped_split(dataset, "random", seed=0)
    for name, share in zip(PARTS, (0.6, 0.2, 0.2), strict=True):
        assert len(split.part(name)) == pytest.approx(share * len(dataset), abs=2)


@pytest.mark.parametrize("kind", ["compound", "chemsys"])
def test_no_compound_or_system_is_in_two_parts(kind):
    dataset = facets()
    for split in [grouped_split(dataset, kind, seed) for seed in range(5)] + k_fold(dataset, kind, seed=1):
        seen = [{getattr(dataset[i], kind) for i in split.part(name)} for name in PARTS]
        assert not seen[0] & seen[1]
        assert not seen[0] & seen[2]
        assert not seen[1] & seen[2]


@pytest.mark.parametrize("how", ["random", "compound", "chemsys", "element"])
def test_the_order_of_the_records_does_not_matter(how):
    dataset = facets()
    shuffled = list(dataset.entries)
    random.Random(5).shuffle(shuffled)
    other = Dataset(tuple(shuffled), dataset.targets)
    assert parts(dataset, split_dataset(dataset, how, 2)) == parts(other, split_dataset(other, how, 2))


def test_seeds_differ_and_repeat():
    dataset = facets()
    first = [grouped_split(dataset, "random", seed) for seed in range(4)]
    assert len({split.test for split in first}) == 4
    assert first == [grouped_split(dataset, "random", seed) for seed in range(4)]


@pytest.mark.parametrize("kind", ["compound", "chemsys"])
def test_new_compounds_move_no_old_one(kind):
    whole = facets()
    some = whole.subset([i for i, e in enumerate(whole) if e.elements[1] not in ("Sr", "La")])
    before, after = parts(some, grouped_split(some, kind, 4)), parts(whole, grouped_split(whole, kind, 4))
    for name in PARTS:
        assert before[name] <= after[name]


def test_compounds_that_share_an_identical_slab_stay_together():
    # one polymorph listed twice under two names: the twin slab ties the names
    entries = [entry(n, "Ag", f"MgAg-{n % 6}", group=n) for n in range(60)]
    entries.append(entry(60, "Ag", "MgAg-1", group=2))  # group 2 belongs to MgAg-2
    dataset = Dataset(tuple(entries), ("surface_energy",))
    for seed in range(8):
        split = grouped_split(dataset, "compound", seed)
        where = {dataset[i].compound: name for name in PARTS for i in split.part(name)}
        assert where["MgAg-1"] == where["MgAg-2"]


@pytest.mark.parametrize("seed", range(12))
def test_three_systems_are_enough_and_none_stays_empty(seed):
    entries = [entry(n, PARTNERS[n % 3], f"Mg{PARTNERS[n % 3]}") for n in range(12)]
    split = grouped_split(Dataset(tuple(entries), ("surface_energy",)), "chemsys", seed)
    assert [len(split.part(name)) for name in PARTS] == [4, 4, 4]


def test_too_few_groups_are_refused():
    dataset = Dataset(tuple(entry(n, "Ag", "MgAg") for n in range(12)), ("surface_energy",))
    with pytest.raises(InputError, match="1 group"):
        split_dataset(dataset, "compound")
    with pytest.raises(InputError, match="folds"):
        k_fold(dataset, "compound")


@pytest.mark.parametrize("kind", ["random", "compound", "chemsys"])
def test_folds_test_every_slab_once_and_are_even(kind):
    dataset = facets()
    folds = k_fold(dataset, kind, 5, seed=1)
    assert sorted(i for split in folds for i in split.test) == list(range(len(dataset)))
    assert sorted(i for split in folds for i in split.val) == list(range(len(dataset)))
    sizes = [len(split.test) for split in folds]
    assert max(sizes) - min(sizes) <= {"random": 2, "compound": 7, "chemsys": 14}[kind]
    for split in folds:
        assert sorted(split.train + split.val + split.test) == list(range(len(dataset)))


def test_left_out_element_is_only_in_the_test_part():
    dataset = facets()
    split = leave_element_out(dataset, "Ni", seed=0)
    assert {e for i in split.train + split.val for e in dataset[i].elements}.isdisjoint({"Ni"})
    assert all("Ni" in dataset[i].elements for i in split.test if dataset[i].group == i)
    compounds = [{dataset[i].compound for i in part} for part in (split.train, split.val)]
    assert not compounds[0] & compounds[1]


def test_nothing_of_a_left_out_compound_trains_or_validates():
    dataset = facets()
    for how in ("compound:Mg2Ni", "compound:NiMg2"):
        split = split_dataset(dataset, how, 3)
        test = {dataset[i].compound for i in split.test}
        assert "Mg2Ni" in test and len(split.test) >= 7
        used = [dataset[i] for i in (*split.train, *split.val)]
        assert "Mg2Ni" not in {entry.compound for entry in used}
        # nor a slab of another compound that looks the same
        assert not {entry.group for entry in used} & {dataset[i].group for i in split.test}
        assert "MgNi" in {entry.compound for entry in used}
    several = split_dataset(dataset, "compound:Mg2Ni, MgAg")
    assert {"Mg2Ni", "MgAg"} <= {dataset[i].compound for i in several.test}
    assert not {"Mg2Ni", "MgAg"} & {dataset[i].compound for i in (*several.train, *several.val)}


def test_slabs_that_may_be_of_the_left_out_compound_are_in_no_set():
    entries = [
        replace(e, crystal="Mg-Ni" if e.compound == "MgNi" else e.compound) for e in facets()
    ]  # MgNi's slabs do not show their crystal
    dataset = Dataset(tuple(entries), ("surface_energy",))
    split = split_dataset(dataset, "compound:Mg2Ni")
    placed = {dataset[i].compound for name in PARTS for i in split.part(name)}
    assert "MgNi" not in placed and {"Mg2Ni", "MgAg"} <= placed
    # what is left out itself is tested, whatever it shows
    split = split_dataset(dataset, "compound:MgNi")
    assert "MgNi" in {dataset[i].compound for i in split.test}
    assert "Mg2Ni" in {dataset[i].compound for i in (*split.train, *split.val)}


def test_the_chosen_element_is_not_magnesium():
    chosen = {chosen_element(facets(), seed) for seed in range(30)}
    assert "Mg" not in chosen
    assert len(chosen) > 5


@pytest.mark.parametrize(("how", "words"), [("element:Xe", "no slab holds Xe"), ("element:Mg", "every slab"),
                                            ("by_luck", "unknown"), ("chemsys:Ag", "unknown"),
                                            ("compound:MgNi,Mg3Ag", "Mg3Ag.*MgAg.* and others"),
                                            ("compound:", "empty formula")])  # fmt: skip
def test_what_cannot_be_done_is_said(how, words):
    with pytest.raises(InputError, match=words):
        split_dataset(facets(), how)


def test_a_written_split_is_read_again(tmp_path):
    dataset = facets()
    split = grouped_split(dataset, "compound", 7)
    write_split(dataset, split, tmp_path / "split.csv")
    again = split_dataset(dataset, str(tmp_path / "split.csv"))
    assert parts(dataset, again) == parts(dataset, split)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs the columns"),
        ("name,part\nr0000,train\n", "needs the columns"),
        ("record_id,part\nr0000,training\n", "line 2: part 'training'"),
        ("record_id,part\nr0000,train\nr0000,test\n", "line 3: r0000 is in two sets"),
        ("record_id,part\nr0000,train\nr0001,val\n", "no slab of the data set is in part test"),
        ("record_id,part\nr0008,train\nr0009,val\nr0000,test\n", "1 slab under several names"),
    ],
)
def test_bad_split_files_are_refused(tmp_path, text, words):
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        split_from_file(facets(), path)


# by group of identical slabs: record ids and the parts that a published split puts them in
TWINS = [
    ("r0000", "train", 0), ("r0001", "test", 0),
    ("r0002", "train", 1), ("r0003", "val", 1), ("r0004", "test", 1),
    ("r0005", "val", 2), ("r0006", "test", 2), ("r0007", "test", 2),
    ("r0008", "train", 3), ("r0009", "train", 3),
    ("r0010", "train", 4), ("r0011", "val", 5), ("r0012", "test", 6),
]  # fmt: skip


def published(tmp_path):
    path = tmp_path / "published.csv"
    path.write_text("record_id,part\n" + "".join(f"{name},{part}\n" for name, part, _ in TWINS))
    entries = tuple(entry(n, "Ag", f"Mg{n}Ag", group) for n, (_, _, group) in enumerate(TWINS))
    return Dataset(entries, ("surface_energy",)), path


def test_all_identical_slabs_in_two_parts_are_named_at_once(tmp_path):
    dataset, path = published(tmp_path)
    with pytest.raises(InputError) as refused:
        split_dataset(dataset, str(path))
    for name, part, group in TWINS:
        assert (f"{name} ({part})" in str(refused.value)) == (group < 3)
    assert "--twins drop" in str(refused.value)
    entries = tuple(entry(n, "Ag", f"Mg{n}Ag", n // 2) for n in range(200))
    path.write_text("record_id,part\n" + "".join(f"{e.record_id},{('train', 'test')[n % 2]}\n"
                                                 for n, e in enumerate(entries)))  # fmt: skip
    with pytest.raises(InputError) as refused:
        split_dataset(Dataset(entries, ("surface_energy",)), str(path))
    assert all(e.record_id in str(refused.value) for e in entries)


@pytest.mark.parametrize(
    ("rule", "train", "val", "test", "slabs"),
    [
        ("drop", {8, 9, 10}, {11}, {1, 4, 6, 7, 12}, 4),
        ("move", {8, 9, 10}, {11}, {0, 1, 2, 3, 4, 5, 6, 7, 12}, 4),
    ],
)
def test_identical_slabs_in_two_parts_are_dropped_or_moved(tmp_path, rule, train, val, test, slabs):
    dataset, path = published(tmp_path)
    split = split_dataset(dataset, str(path), twins=rule)
    assert (set(split.train), set(split.val), set(split.test)) == (train, val, test)
    found = split.twins.plain()
    assert (found["slabs"], found["leaked_test_slabs"], len(found["groups"])) == (slabs, 4, 3)
    assert found["groups"][0] == [
        {"record_id": "r0000", "part": "train"}, {"record_id": "r0001", "part": "test"}
    ]  # fmt: skip
    write_split(dataset, split, tmp_path / "again.csv")
    again = split_dataset(dataset, str(tmp_path / "again.csv"), twins=rule)
    assert parts(dataset, again) == parts(dataset, split)
    assert again.twins is None


@pytest.mark.parametrize("how", ["random", "element:Ag", "holdout", "compound"])
def test_twins_go_with_a_file_only(how):
    with pytest.raises(InputError, match="--twins drop goes with --split FILE"):
        split_dataset(facets(), how, twins="drop")


def test_slabs_the_file_does_not_name_are_left_out(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("record_id,part\nr0000,train\nr0001,val\nr0002,test\nelsewhere,train\n")
    split = split_from_file(facets(), path)
    assert (split.train, split.val, split.test) == ((0,), (1,), (2,))


def test_shares_of_the_training_part_are_nested():
    dataset = facets()
    split = grouped_split(dataset, "random", 0)
    sizes = []
    previous: set[int] = set()
    for fraction in (0.1, 0.5, 1.0):
        part = part_of_training(dataset, split, fraction)
        assert previous <= set(part.train)
        assert (part.val, part.test) == (split.val, split.test)
        previous = set(part.train)
        sizes.append(len(part.train) / len(split.train))
    assert sizes == pytest.approx([0.1, 0.5, 1.0], abs=0.02)
    with pytest.raises(InputError, match="training fraction"):
        part_of_training(dataset, split, 0)


def test_a_published_split_names_imported_slabs_by_their_ids_in_the_source(tmp_path):
    dataset = facets()
    named = Dataset(tuple(replace(e, source_id=f"paper-{i}") for i, e in enumerate(dataset)), dataset.targets)
    split = grouped_split(named, "random")
    part_of = {i: part for part in PARTS for i in split.part(part)}
    lines = ["record_id,part", *(f"paper-{i},{part}" for i, part in part_of.items())]
    (tmp_path / "paper.csv").write_text("\n".join(lines), encoding="utf-8")
    read = split_from_file(named, tmp_path / "paper.csv")
    assert [read.part(part) for part in PARTS] == [tuple(sorted(split.part(part))) for part in PARTS]
