"""Training, validation and test sets that share no slab, compound, chemical system or element.

Every choice is made by hashing names with the seed, never by position: the order of the records does not
matter. By compound and by chemical system the set of a record depends on its own name alone (unless a set
would stay empty), so that a growing data set never moves a test compound into training.

The hold-out is a fixed hash of the compound's name and nothing else: not of a seed, the other slabs, their
number or their order. So a slab that was held out once is held out for ever, and models of different ages can
be compared on slabs that none of them has seen. The name is the reduced formula; the space group is left out
on purpose: imported slabs do not show it, relaxing a crystal may change it, and polytypes of one formula
(C14, C15, C36) share slabs. Two compounds may still share a slab that looks the same. Both keep their set,
but a slab that validates or is held out does not count as long as an identical one trains (or, for one held
out, validates).

A published split may hold one slab under two names, one in the training set, one in the test set; the error
on such a test slab is no measure of that on unseen slabs. ``drop`` leaves out the copies in the earlier set
(training before validation before test), ``move`` puts all copies into the later one.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.formula_key import formula_key
from stores.errors import InputError, pluralize
from stores.input_files import read_text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Dataset, Entry


PARTS = ("train", "val", "test")
FRACTIONS = (0.6, 0.2, 0.2)  # of the paper: training, validation, test

KINDS = ("random", "compound", "chemsys", "element")

_KEYS = {"random": "record_id", "compound": "compound", "chemsys": "chemsys"}
"""By kind of split the field of an entry that keeps slabs together."""

COMMON_ELEMENT = 0.5
"""An element in more than this share of the slabs (Mg) is what the data set is about; it is not left out."""

HOLDOUT = "holdout"  # name of this split; its test set is the hold-out

_SALT = "mgsurf hold-out 1"


@dataclass(frozen=True)
class Twins:
    """Identical slabs that a split has in two sets."""

    rule: str  # what was done about them, ``drop`` or ``move``
    # of each group of identical slabs the pairs of a record's id and the part that the split had it in
    groups: tuple[tuple[tuple[str, str], ...], ...]
    slabs: int  # slabs that were dropped or moved
    leaked: int  # test slabs of the split as it was that have a copy in the training or validation set

    def plain(self) -> dict[str, Any]:
        """Return what ``run.json`` keeps."""
        groups = [[{"record_id": name, "part": part} for name, part in group] for group in self.groups]
        return {"rule": self.rule, "slabs": self.slabs, "leaked_test_slabs": self.leaked, "groups": groups}


@dataclass(frozen=True)
class Split:
    """Numbers of the entries of each part, ascending."""

    name: str  # how it was made, e.g. ``random``, ``element:Ag``, ``chemsys fold 2 of 5``
    seed: int  # of the choice
    # train, val, test: numbers of entries
    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    # identical slabs that a file had in two sets, if any, and what was done about them
    twins: Twins | None = field(default=None, kw_only=True)

    def part(self, name: str) -> tuple[int, ...]:
        """Return the part named train, val or test."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


def split_dataset(dataset: Dataset, how: str, seed: int = 0, twins: str = "") -> Split:
    """Divide a data set.

    Parameters
    ----------
    how
        ``random``, ``compound``, ``chemsys``, ``element`` (left out: one that the seed chooses),
        ``element:Ag``, ``compound:MgCo2,MgAg``, ``holdout`` (fixed for ever, see `model.data.splits`), or
        a CSV file with the columns record_id and part.
    seed
        Another seed gives another division.
    twins
        What to do about identical slabs that a file has in two sets, see `model.data.splits`.

    Raises
    ------
    InputError
        If `how` is none of these, a set would be empty, or `twins` is given without a file.
    """
    path = Path(how)
    if twins and (how in (*KINDS, "holdout") or not path.is_file()):
        raise InputError(
            f"--twins {twins} goes with --split FILE, not with --split {how}, which keeps identical slabs "
            "together by itself; leave it out"
        )
    if how == "holdout":
        return fixed_split(dataset)
    kind, colon, name = how.partition(":")
    if kind == "element":
        return leave_element_out(dataset, name or chosen_element(dataset, seed), seed)
    if kind == "compound" and colon:
        return leave_compound_out(dataset, name, seed)
    if kind in KINDS and not colon:
        return grouped_split(dataset, kind, seed)
    if path.is_file():
        return split_from_file(dataset, path, seed, twins)
    raise InputError(
        f"--split {how}: unknown; choose random, compound, chemsys, element, element:Ag, compound:MgCo2 "
        "or a CSV file with the columns record_id and part"
    )


def part_of(crystal: str) -> str:
    """Return the set of a compound by its `formula_key`: train, val or test (held out)."""
    share = _uniform(f"{_SALT}\0{crystal}")
    train, val, _ = FRACTIONS
    return PARTS[0] if share < train else PARTS[1] if share < train + val else PARTS[2]


def fixed_split(dataset: Dataset) -> Split:
    """Divide a data set by `part_of`, without slabs of a later set that are identical to one of an earlier.

    A set may be empty; `model.promotion.readiness` reports what is missing.
    """
    numbers: dict[str, list[int]] = defaultdict(list)
    for i, entry in enumerate(dataset):
        numbers[part_of(entry.crystal)].append(i)
    seen: set[object] = set()
    members = []
    for part in PARTS:
        kept = [i for i in numbers[part] if _same(dataset[i]) not in seen]
        seen |= {_same(dataset[i]) for i in kept}
        members.append(tuple(kept))
    return Split(HOLDOUT, 0, *members)


def split_from_file(dataset: Dataset, path: Path, seed: int = 0, twins: str = "") -> Split:
    """Read a split; slabs that the file does not name are left out.

    Parameters
    ----------
    path
        CSV with the columns ``record_id`` and ``part`` (train, val or test), as `write_split` writes it; an
        imported slab may also be named by its id in the source, as published splits do.
    seed
        Noted, not used.
    twins
        What to do about identical slabs in two sets, ``drop`` or ``move``; empty: refuse the split.

    Raises
    ------
    InputError
        If the file cannot be read, a set is unknown or empty, or identical slabs are in two sets.
    """
    given = _read(path)
    parts = [given.get(entry.record_id) or given.get(entry.source_id) for entry in dataset]
    groups: dict[int, list[int]] = defaultdict(list)
    for i, entry in enumerate(dataset):
        if parts[i] is not None:
            groups[entry.group].append(i)
    straddling = [group for group in groups.values() if len({parts[i] for i in group}) > 1]
    found = None
    if straddling:
        named = tuple(tuple((dataset[i].record_id, str(parts[i])) for i in group) for group in straddling)
        if not twins:
            raise InputError(_refusal(path, named))
        leaked = sum(parts[i] == "test" for group in straddling for i in group)
        changed = 0
        for group in straddling:
            later = max((str(parts[i]) for i in group), key=PARTS.index)
            for i in group:
                if parts[i] != later:
                    parts[i] = later if twins == "move" else None
                    changed += 1
        found = Twins(twins, named, changed, leaked)
    indices = [tuple(i for i, part in enumerate(parts) if part == name) for name in PARTS]
    for name, members in zip(PARTS, indices, strict=True):
        if not members:
            raise InputError(f"{path}: no {dataset.noun} of the data set is in part {name}")
    done = {"drop": ", twins dropped", "move": ", twins moved"}[twins] if found else ""
    return Split(f"file {path.name}{done}", seed, *indices, twins=found)


def write_split(dataset: Dataset, split: Split, path: Path) -> None:
    """Write a split so that `split_from_file` reads it again."""
    lines = ["record_id,part"]
    lines += [f"{dataset[i].record_id},{name}" for name in PARTS for i in split.part(name)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, str]:
    """Return the set of each record that a file names."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a split ({error}); give a CSV file") from error
    if not rows or not {"record_id", "part"} <= set(rows[0]):
        raise InputError(f"{path}: needs the columns record_id and part")
    given: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        if row["part"] not in PARTS:
            raise InputError(f"{path}, line {number}: part {row['part']!r} is none of {', '.join(PARTS)}")
        if given.setdefault(row["record_id"], row["part"]) != row["part"]:
            raise InputError(f"{path}, line {number}: {row['record_id']} is in two sets")
    return given


def _refusal(path: Path, groups: Sequence[Sequence[tuple[str, str]]]) -> str:
    listed = "; ".join(" = ".join(f"{name} ({part})" for name, part in group) for group in groups)
    return (
        f"{path}: {pluralize(len(groups), 'slab')} under several names in different sets; put each into one "
        "set, or add --twins drop (leave out the copies in the earlier set) or --twins move (all into the "
        f"later set): {listed}"
    )


def grouped_split(dataset: Dataset, kind: str, seed: int = 0) -> Split:
    """Divide by slab (``random``), ``compound`` or ``chemsys``; identical slabs stay together.

    Random sets have the sizes of `FRACTIONS` to one group of identical slabs; the others have them on
    average, because each compound or system is placed by its own hash.

    Raises
    ------
    InputError
        If there are fewer than three units, so that a set would be empty.
    """
    units = _units(dataset, kind)
    if len(units) < len(PARTS):
        raise InputError(
            f"{pluralize(len(dataset), dataset.noun)} in {len(units)} group(s) by {kind} cannot be split in "
            "three; import more records or choose --split random"
        )
    draws = {key: draw(seed, kind, key) for key in units}
    ordered = sorted(units, key=lambda key: (draws[key], key))
    bounds = np.cumsum(FRACTIONS)[:2]
    if kind == "random":
        sizes = np.array([len(units[key]) for key in ordered])
        # the middle of each group decides, so that a large one falls where most of it lies
        position = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    else:
        position = np.array([draws[key] for key in ordered])
    part = np.searchsorted(bounds, position, side="right")
    _fill_empty(part)
    members = [sorted(i for key, p in zip(ordered, part, strict=True) if p == k for i in units[key])
               for k in range(len(PARTS))]  # fmt: skip
    return Split(kind, seed, *(tuple(indices) for indices in members))


def k_fold(dataset: Dataset, kind: str, folds: int = 5, seed: int = 0) -> list[Split]:
    """Divide so that every slab is tested once: fold i is the test set, fold i + 1 the validation set.

    Folds are filled to equal numbers of slabs, so a fold may change when records are added. `kind` is as for
    `grouped_split`.

    Raises
    ------
    InputError
        If there are fewer than 3 folds, or fewer units than folds.
    """
    units = _units(dataset, kind)
    if folds < len(PARTS) or len(units) < folds:
        raise InputError(
            f"{len(units)} group(s) of {dataset.noun}s by {kind} cannot make {folds} folds; "
            "take 3 folds or more, and no more than there are groups"
        )
    # large units first, each into the emptiest fold; the draw decides among equals
    ordered = sorted(units, key=lambda key: (-len(units[key]), draw(seed, kind, key), key))
    filled: list[list[int]] = [[] for _ in range(folds)]
    for key in ordered:
        min(filled, key=len).extend(units[key])
    splits = []
    for i in range(folds):
        val = (i + 1) % folds
        train = sorted(j for f in range(folds) if f not in (i, val) for j in filled[f])
        name = f"{kind} fold {i + 1} of {folds}"
        splits.append(Split(name, seed, tuple(train), tuple(sorted(filled[val])), tuple(sorted(filled[i]))))
    return splits


def leave_element_out(dataset: Dataset, element: str, seed: int = 0) -> Split:
    """Test on every slab that holds an element; a quarter of the other compounds is for validation.

    Raises InputError if no slab, or every slab, holds the element.
    """
    test = [i for i, entry in enumerate(dataset) if element in entry.elements]
    if not test:
        known = sorted({e for entry in dataset for e in entry.elements})
        raise InputError(
            f"--split element:{element}: no {dataset.noun} holds {element}; there are {', '.join(known)}"
        )
    if len(test) == len(dataset):
        raise InputError(
            f"--split element:{element}: every {dataset.noun} holds {element}; leave out another element"
        )
    return _leave_out(dataset, f"element:{element}", test, seed)


def leave_compound_out(dataset: Dataset, formulas: str, seed: int = 0) -> Split:
    """Test on every slab of compounds or elements; a quarter of the other compounds is for validation.

    All crystals of a formula are left out. Slabs of its chemical system that do not show their crystal may
    be of this compound: they are in no set, unless their composition makes them part of it.

    `formulas` are separated by commas. Raises InputError if no slab is of one of them, or too few compounds
    are left.
    """
    names = [name.strip() for name in formulas.split(",")]
    wanted = {formula_key(name, "", None) for name in names}
    keys = [formula_key(entry.formula, entry.chemsys, None) for entry in dataset]
    for name in names:
        if formula_key(name, "", None) not in keys:
            known = sorted({entry.formula for entry in dataset})
            near = get_close_matches(name, known, n=3, cutoff=0.5) or known[:5]
            raise InputError(
                f"--split compound:{formulas}: no slab is of {name or 'an empty formula'}; there are "
                f"{', '.join(near)} and others"
            )
    test = [i for i, key in enumerate(keys) if key in wanted]
    systems = {dataset[i].chemsys for i in test}
    unsure = {
        i
        for i, entry in enumerate(dataset)
        if keys[i] not in wanted and entry.chemsys in systems and entry.crystal == entry.chemsys
    }
    return _leave_out(dataset, f"compound:{formulas}", test, seed, unsure)


def _same(entry: Entry) -> object:
    """Return what entries share of which one may not be tested when another was learned from."""
    # of compositions that is the composition, rounded as it may be, whatever their numeric columns
    return entry.compound if entry.kind == "composition" else entry.group


def _leave_out(
    dataset: Dataset, name: str, test: Sequence[int], seed: int, unsure: Collection[int] = ()
) -> Split:
    """Test on slabs and all that are identical to one of them; `unsure` and their like are in no set."""
    tested, doubtful = ({_same(dataset[i]) for i in members} for members in (test, unsure))
    rest = [i for i, entry in enumerate(dataset) if _same(entry) not in tested | doubtful]
    test = [i for i, entry in enumerate(dataset) if _same(entry) in tested]
    others = dataset.subset(rest)
    units = _units(others, "compound") if rest else {}
    ordered = sorted(units, key=lambda key: (draw(seed, "compound", key), key))
    if len(ordered) < 2:
        left = {0: "no compound is left", 1: "one compound is left"}[len(ordered)]
        raise InputError(f"--split {name}: {left}, too few to train and validate; import more compounds")
    part = np.array([0 if draw(seed, "compound", key) < 0.75 else 1 for key in ordered])
    part[0], part[-1] = 0, 1  # neither may be empty
    parts = [sorted(rest[i] for key, p in zip(ordered, part, strict=True) if p == k for i in units[key])
             for k in range(2)]  # fmt: skip
    return Split(name, seed, tuple(parts[0]), tuple(parts[1]), tuple(test))


def chosen_element(dataset: Dataset, seed: int) -> str:
    """Return the element that a seed leaves out, any that is not in most slabs; InputError if none."""
    counts: dict[str, int] = defaultdict(int)
    for entry in dataset:
        for element in entry.elements:
            counts[element] += 1
    rare = [element for element, n in counts.items() if n <= COMMON_ELEMENT * len(dataset)]
    if not rare:
        raise InputError(f"--split element: every element is in most {dataset.noun}s; import more compounds")
    return min(rare, key=lambda element: draw(seed, "element", element))


def part_of_training(dataset: Dataset, split: Split, fraction: float) -> Split:
    """Keep a fraction (above 0 up to 1) of the training set; smaller sets lie within larger ones.

    Raises InputError if the fraction is outside.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"training fraction {fraction}: must be above 0 and at most 1")
    if fraction == 1:
        return split
    ranked = sorted(
        split.train, key=lambda i: (draw(split.seed, "curve", dataset[i].record_id), dataset[i].record_id)
    )
    kept = sorted(ranked[: max(1, round(fraction * len(ranked)))])
    return replace(split, name=f"{split.name}, {fraction:g} of train", train=tuple(kept))


def _units(dataset: Dataset, kind: str) -> dict[str, list[int]]:
    if kind not in _KEYS:
        raise InputError(f"a split by {kind!r} is unknown; choose {', '.join(_KEYS)}")
    return units_of(dataset, [str(getattr(entry, _KEYS[kind])) for entry in dataset])


def units_of(dataset: Dataset, names: Sequence[str]) -> dict[str, list[int]]:
    """Return what must stay together: entries that share a name or, through identical slabs, a group.

    By the smallest name of each unit, so that the order of the entries does not matter.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    keys, groups = (np.unique(v, return_inverse=True)[1] for v in (names, [e.group for e in dataset]))
    # each entry links its key with its group
    links = coo_array((np.ones(len(names)), (keys, len(names) + groups)), shape=(2 * len(names),) * 2)
    members: dict[int, list[int]] = defaultdict(list)
    for i, number in enumerate(connected_components(links)[1][keys].tolist()):
        members[number].append(i)
    return {min(names[i] for i in unit): unit for unit in members.values()}


def draw(seed: int, kind: str, name: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the arguments; `kind` is what is drawn for."""
    return _uniform(f"{seed}\0{kind}\0{name}")


def _uniform(text: str) -> float:
    """Return a number in [0, 1) by the hash of a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56


def _fill_empty(part: NDArray[np.intp]) -> None:
    """Give every part at least one unit, from the largest part; `part` is ascending and stays so."""
    sizes = np.bincount(part, minlength=len(PARTS))
    while (sizes == 0).any():
        sizes[sizes.argmax()] -= 1
        sizes[sizes.argmin()] += 1
    part[:] = np.repeat(np.arange(len(PARTS)), sizes)
