"""Training, validation and test parts that share no slab, compound, chemical system or element.

Every choice is made by hashing names with the seed, never by position: the order of the records does not
matter. By compound and by chemical system the part of a record depends on its own name alone (unless a part
would stay empty), so that a growing data set never moves a test compound into training.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from model.dataset import Dataset, Entry

PARTS = ("train", "val", "test")
FRACTIONS = (0.6, 0.2, 0.2)
"""Of the paper: training, validation, test."""

KINDS = ("random", "compound", "chemsys", "element")

COMMON_ELEMENT = 0.5
"""An element in more than this share of the slabs (Mg) is what the data set is about; it is not left out."""


@dataclass(frozen=True)
class Split:
    """Numbers of the entries of each part, ascending.

    Attributes
    ----------
    name
        How it was made, e.g. ``random``, ``element:Ag``, ``chemsys fold 2 of 5``.
    seed
        Of the choice.
    train, val, test
        Numbers of entries.
    """

    name: str
    seed: int
    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]

    def part(self, name: str) -> tuple[int, ...]:
        """Return the part named train, val or test."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


def split_dataset(dataset: Dataset, how: str, seed: int = 0) -> Split:
    """Divide a data set.

    Parameters
    ----------
    dataset
        What is divided.
    how
        ``random``, ``compound``, ``chemsys``, ``element`` (left out: one that the seed chooses),
        ``element:Ag``, ``holdout`` (fixed for ever, see `model.holdout`), or a CSV file with the columns
        record_id and part.
    seed
        Another seed gives another division.

    Raises
    ------
    InputError
        If `how` is none of these, or a part would be empty.
    """
    if how == "holdout":
        from model.holdout import fixed_split

        return fixed_split(dataset)
    kind, colon, element = how.partition(":")
    if kind == "element":
        return leave_element_out(dataset, element or chosen_element(dataset, seed), seed)
    if kind in KINDS and not colon:
        return grouped_split(dataset, kind, seed)
    path = Path(how)
    if path.is_file():
        return split_from_file(dataset, path, seed)
    raise InputError(
        f"--split {how}: unknown; choose random, compound, chemsys, element, element:Ag or a CSV file "
        "with the columns record_id and part"
    )


def grouped_split(
    dataset: Dataset, kind: str, seed: int = 0, fractions: tuple[float, float, float] = FRACTIONS
) -> Split:
    """Divide by slab (``random``), ``compound`` or chemical system (``chemsys``).

    Identical slabs always share a part. Random parts have the asked sizes to one group of identical slabs;
    the others have them on average, because each compound or system is placed by its own hash.

    Raises
    ------
    InputError
        If there are fewer than three units, so that a part would be empty.
    """
    units = _units(dataset, kind)
    if len(units) < len(PARTS):
        raise InputError(
            f"{len(dataset)} slabs in {len(units)} group(s) by {kind} cannot be split in three; "
            "import more records or choose --split random"
        )
    draws = {key: draw(seed, kind, key) for key in units}
    ordered = sorted(units, key=lambda key: (draws[key], key))
    bounds = np.cumsum(fractions)[:2]
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
    """Divide so that every slab is tested once: fold i is the test part, fold i + 1 the validation part.

    Folds are filled to equal numbers of slabs, so a fold may change when records are added.

    Parameters
    ----------
    dataset
        What is divided.
    kind
        ``random``, ``compound`` or ``chemsys``.
    folds
        At least 3.
    seed
        Another seed gives another division.

    Raises
    ------
    InputError
        If there are fewer units than folds.
    """
    units = _units(dataset, kind)
    if folds < len(PARTS) or len(units) < folds:
        raise InputError(
            f"{len(units)} group(s) of slabs by {kind} cannot make {folds} folds; "
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

    Raises
    ------
    InputError
        If no slab, or every slab, holds the element.
    """
    test = [i for i, entry in enumerate(dataset) if element in entry.elements]
    if not test:
        known = sorted({e for entry in dataset for e in entry.elements})
        raise InputError(f"--split element:{element}: no slab holds {element}; there are {', '.join(known)}")
    tested = {dataset[i].group for i in test}
    rest = [i for i, entry in enumerate(dataset) if entry.group not in tested]
    test = [i for i, entry in enumerate(dataset) if entry.group in tested]
    if not rest:
        raise InputError(f"--split element:{element}: every slab holds {element}; leave out another element")
    others = dataset.subset(rest)
    units = _units(others, "compound")
    ordered = sorted(units, key=lambda key: (draw(seed, "compound", key), key))
    part = np.array([0 if draw(seed, "compound", key) < 0.75 else 1 for key in ordered])
    if len(part) < 2:
        raise InputError(f"--split element:{element}: one compound is left, too few to train and validate")
    part[0], part[-1] = 0, 1  # neither may be empty
    parts = [sorted(rest[i] for key, p in zip(ordered, part, strict=True) if p == k for i in units[key])
             for k in range(2)]  # fmt: skip
    return Split(f"element:{element}", seed, tuple(parts[0]), tuple(parts[1]), tuple(test))


def chosen_element(dataset: Dataset, seed: int) -> str:
    """Return the element that a seed leaves out: any that is not in most slabs.

    Raises
    ------
    InputError
        If there is none.
    """
    counts: dict[str, int] = defaultdict(int)
    for entry in dataset:
        for element in entry.elements:
            counts[element] += 1
    rare = [element for element, n in counts.items() if n <= COMMON_ELEMENT * len(dataset)]
    if not rare:
        raise InputError("--split element: every element is in most slabs; import more compounds")
    return min(rare, key=lambda element: draw(seed, "element", element))


def split_from_file(dataset: Dataset, path: Path, seed: int = 0) -> Split:
    """Read a split; slabs that the file does not name are left out.

    Parameters
    ----------
    dataset
        What is divided.
    path
        CSV with the columns ``record_id`` and ``part`` (train, val or test), as `write_split` writes it.
    seed
        Noted, not used.

    Raises
    ------
    InputError
        If the file cannot be read, a part is unknown or empty, or identical slabs are in two parts.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a split ({error}); give a CSV file") from error
    if not rows or not {"record_id", "part"} <= set(rows[0]):
        raise InputError(f"{path}: needs the columns record_id and part")
    part: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        if row["part"] not in PARTS:
            raise InputError(f"{path}, line {number}: part {row['part']!r} is none of {', '.join(PARTS)}")
        if part.setdefault(row["record_id"], row["part"]) != row["part"]:
            raise InputError(f"{path}, line {number}: {row['record_id']} is in two parts")
    indices: dict[str, list[int]] = {name: [] for name in PARTS}
    group_part: dict[int, tuple[str, str]] = {}
    for i, entry in enumerate(dataset):
        name = part.get(entry.record_id)
        if name is None:
            continue
        indices[name].append(i)
        first, where = group_part.setdefault(entry.group, (entry.record_id, name))
        if where != name:
            raise InputError(
                f"{path}: {first} ({where}) and {entry.record_id} ({name}) are the same slab; "
                "put both into one part"
            )
    for name, found in indices.items():
        if not found:
            raise InputError(f"{path}: no slab of the data set is in part {name}")
    return Split(f"file {path.name}", seed, *(tuple(indices[name]) for name in PARTS))


def write_split(dataset: Dataset, split: Split, path: Path) -> None:
    """Write a split so that `split_from_file` reads it again."""
    lines = ["record_id,part"]
    lines += [f"{dataset[i].record_id},{name}" for name in PARTS for i in split.part(name)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def part_of_training(dataset: Dataset, split: Split, fraction: float) -> Split:
    """Keep a share of the training part, for a learning curve; smaller shares are within larger ones.

    Parameters
    ----------
    dataset, split
        What was divided, and how.
    fraction
        Of the training slabs, above 0 up to 1.

    Raises
    ------
    InputError
        If the fraction is outside.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"training fraction {fraction}: must be above 0 and at most 1")
    if fraction == 1:
        return split
    ranked = sorted(
        split.train, key=lambda i: (draw(split.seed, "curve", dataset[i].record_id), dataset[i].record_id)
    )
    kept = sorted(ranked[: max(1, round(fraction * len(ranked)))])
    return Split(f"{split.name}, {fraction:g} of train", split.seed, tuple(kept), split.val, split.test)


def _key(kind: str) -> Callable[[Entry], str]:
    if kind == "random":
        return lambda entry: entry.record_id
    if kind == "compound":
        return lambda entry: entry.compound
    if kind == "chemsys":
        return lambda entry: entry.chemsys
    raise InputError(f"a split by {kind!r} is unknown; choose random, compound or chemsys")


def _units(dataset: Dataset, kind: str) -> dict[str, list[int]]:
    """Return what must stay together: entries that share a key or, through identical slabs, a group."""
    key = _key(kind)
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root[name] != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    first_of_group: dict[int, str] = {}
    for entry in dataset:
        name = key(entry)
        root.setdefault(name, name)
        ours, other = find(name), find(first_of_group.setdefault(entry.group, name))
        # the smaller name stays the root, whatever the order of the entries
        root[max(ours, other)] = min(ours, other)
    units: dict[str, list[int]] = defaultdict(list)
    for i, entry in enumerate(dataset):
        units[find(key(entry))].append(i)
    return units


def draw(seed: int, kind: str, name: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the arguments; `kind` is what is drawn for."""
    digest = hashlib.sha256(f"{seed}\0{kind}\0{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def _fill_empty(part: NDArray[np.intp]) -> None:
    """Give every part at least one unit, from the largest part; `part` is ascending and stays so."""
    sizes = np.bincount(part, minlength=len(PARTS))
    while (sizes == 0).any():
        sizes[sizes.argmax()] -= 1
        sizes[sizes.argmin()] += 1
    part[:] = np.repeat(np.arange(len(PARTS)), sizes)
