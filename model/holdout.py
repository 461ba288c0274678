"""Who trains, who validates and who is held out: a fixed hash of the compound, however the store grows.

The part of a slab follows from the name of its compound and nothing else: not from a seed, the other slabs,
their number or their order. So a slab that was held out once is held out for ever, and models of different
ages can be compared on slabs that none of them has seen.

The name of a compound is its reduced formula. The space group is left out on purpose: imported slabs do not
tell it, relaxing a crystal may change it, and polytypes of one formula (C14, C15, C36) share slabs. What is
fixed by the formula is fixed by formula and space group, too.

Two compounds may still share a slab that looks the same. Both keep their part, but a slab that validates or
is held out does not count as long as an identical one trains (or, for one held out, validates).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

from model.splits import FRACTIONS, PARTS, Split

if TYPE_CHECKING:
    from model.dataset import Dataset

HOLDOUT = "holdout"
"""Name of this split; its test part is the hold-out."""

_SALT = "mgsurf hold-out 1"


def part_of(crystal: str) -> str:
    """Return the part of a compound: train, val or test (held out).

    Parameters
    ----------
    crystal
        From `formula_key`.
    """
    digest = hashlib.sha256(f"{_SALT}\0{crystal}".encode()).digest()
    share = int.from_bytes(digest[:7], "big") / 2**56
    train, val, _ = FRACTIONS
    return PARTS[0] if share < train else PARTS[1] if share < train + val else PARTS[2]


def fixed_split(dataset: Dataset) -> Split:
    """Divide a data set by `part_of`, without slabs of a later part that are identical to one of an earlier.

    A part may be empty; `model.readiness` says what is missing.
    """
    numbers: dict[str, list[int]] = defaultdict(list)
    for i, entry in enumerate(dataset):
        numbers[part_of(entry.crystal)].append(i)
    seen: set[int] = set()
    counted = []
    for part in PARTS:
        kept = [i for i in numbers[part] if dataset[i].group not in seen]
        seen |= {dataset[i].group for i in kept}
        counted.append(tuple(kept))
    return Split(HOLDOUT, 0, *counted)
