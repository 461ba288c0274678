"""Labelled compositions as entries of a data set: canonical formulas, and which are one composition."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from model.compositions.formulas import plain_composition
from model.data.formula_key import formula_key
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from model.compositions.composition import PlainComposition
    from stores.labelled import LabelledSlab

SAME_FRACTION = 5e-4
"""Two compositions are one if no fraction differs by more, 33.3 and 33.33 at% for example, ..."""
SAME_SHARE = 0.01
"""... nor by a larger share of itself, so that alloys which differ in a trace element stay two."""

_ATOMS = np.array([*range(1, 13), 100, *range(13, 31)])
"""Numbers of atoms of a formula with integers, the preferred one first."""
_INTEGER = 1e-5


def canonical_formula(fractions: Mapping[str, float]) -> str:
    """Return one formula for a composition, however it was written: MgAg, Mg65Cu25Y10, Fe71.2B24Y4.8.

    Mg comes first, the others in alphabetical order. Integers where up to 12 atoms make it; else per cent of
    atoms where these are integers; else integers up to 200 atoms; else per cent to a millionth.
    """
    symbols = sorted(fractions, key=lambda symbol: (symbol != "Mg", symbol))
    shares = np.array([fractions[symbol] for symbol in symbols])
    amounts = np.outer(_ATOMS, shares)
    whole = np.round(amounts)
    fits = (whole.min(axis=1) > 0) & (np.abs(amounts - whole).max(axis=1) < _INTEGER * _ATOMS)
    if fits.any():
        numbers = whole[fits.argmax()].astype(int).tolist()
        return "".join(f"{s}{n if n != 1 else ''}" for s, n in zip(symbols, numbers, strict=True))
    return "".join(f"{symbol}{_percent(100 * x)}" for symbol, x in zip(symbols, shares, strict=True))


def _percent(value: float) -> str:
    """Write a number with four decimals, a small one with three significant digits, without an exponent."""
    decimals = 4 if value >= 0.1 else min(15, 2 - int(np.floor(np.log10(value))))
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")


def with_extras(
    fractions: Mapping[str, float], extras: Mapping[str, float | None], names: Sequence[str]
) -> PlainComposition:
    """Return a composition as arrays; `names` are the numeric columns in their order, NaN where missing."""
    values = [extras.get(name) for name in names]
    return plain_composition(fractions, [np.nan if value is None else value for value in values])


def group_equal(compositions: Sequence[PlainComposition], *, extras: bool = True) -> list[int]:
    """Return a number for each composition (from 0, by first appearance), the same for equal ones.

    Equal fractions are those within `SAME_FRACTION` and `SAME_SHARE`; with `extras` the numeric columns must
    be equal too, so that one steel with two heat treatments is two samples.
    """
    alike: dict[tuple[bytes, bytes], list[int]] = defaultdict(list)
    for i, one in enumerate(compositions):
        alike[one.numbers.tobytes(), one.extras.tobytes() if extras else b""].append(i)
    joined: list[tuple[int, int]] = []
    for members in alike.values():
        if len(members) == 1:
            continue
        fractions = np.array([compositions[i].fractions for i in members])
        scaled = np.concatenate([fractions / SAME_FRACTION, np.log(fractions) / SAME_SHARE], axis=1)
        near = cKDTree(scaled).query_pairs(1.0, p=np.inf)
        joined += [(members[a], members[b]) for a, b in near]
    ends: NDArray[np.intp] = np.array(joined, dtype=np.intp).reshape(-1, 2).T
    links = coo_array((np.ones(len(joined)), ends), shape=(len(compositions),) * 2)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(set_, len(numbers)) for set_ in connected_components(links)[1].tolist()]


def check_one_kind(slabs: Sequence[LabelledSlab], targets: Collection[str]) -> bool:
    """Whether labelled records are compositions; InputError if some are and some are not."""
    kinds = {slab.fractions is not None for slab in slabs}
    if len(kinds) > 1:
        found: dict[bool, set[str]] = {True: set(), False: set()}
        for slab in slabs:
            found[slab.fractions is not None] |= slab.targets.keys() & set(targets)
        compositions, others = (", ".join(sorted(found[kind])) for kind in (True, False))
        raise InputError(
            f"The labels are of compositions ({compositions}) and of structures ({others}), which no model "
            "learns together; choose some of one with --targets"
        )
    return kinds == {True}


@dataclass(frozen=True, eq=False)
class Compositions:
    """Labelled compositions as the entries of a data set take them."""

    inputs: list[PlainComposition]
    extras: tuple[str, ...]  # names of the numeric columns
    groups: list[int]  # records of one group share composition and numeric columns
    compounds: list[str]  # key that records of one composition share
    crystals: list[str]  # key that decides about the hold-out; depends on no other record

    @classmethod
    def of(cls, slabs: Sequence[LabelledSlab]) -> Self:
        """Read the compositions of records."""
        names = tuple(sorted({name for slab in slabs for name in slab.extras}))
        found = [with_extras(slab.fractions or {}, slab.extras, names) for slab in slabs]
        same = group_equal(found, extras=False)
        formulas = [formula_key(slab.formula, slab.chemsys, None) for slab in slabs]
        first: dict[int, str] = {}
        for number, formula in sorted(zip(same, formulas, strict=True)):
            first.setdefault(number, formula)
        compounds = [first[number] for number in same]
        return cls(found, names, group_equal(found), compounds, formulas)
