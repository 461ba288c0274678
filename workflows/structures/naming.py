"""How compounds, chemical systems and crystal planes are written; light enough for the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import gcd
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from pymatgen.core.composition import Composition

LARGEST_INDEX = 100
"""Of a plane; those of low-index facets are below 6, and integers beyond 64 bits cannot be computed with."""

_MILLER_HELP = "write three indices such as 110, 10-1 or '1 0 -1', or four hexagonal ones such as 10-10"

FIRST_TRIGONAL, LAST_HEXAGONAL = 143, 194
"""Numbers of the space groups with hexagonal axes, rhombohedral ones among them."""


def _amounts(composition: Composition | Mapping[str, float] | str) -> dict[str, float]:
    if isinstance(composition, str):
        from pymatgen.core.composition import Composition as PymatgenComposition
        from pymatgen.core.periodic_table import Element

        text = composition
        try:
            composition = PymatgenComposition(text)
        except (ValueError, KeyError) as error:
            raise InputError(f"{text!r} is not a chemical formula: write it like MgAg or Mg17Al12") from error
        for symbol in composition.get_el_amt_dict():
            if not Element.is_valid_symbol(symbol):
                raise InputError(f"{text!r} names {symbol}, which is no element: correct the formula")
    if isinstance(composition, Mapping) and not hasattr(composition, "get_el_amt_dict"):
        amounts = {str(symbol): float(amount) for symbol, amount in composition.items()}
    else:
        amounts = dict(composition.get_el_amt_dict())
    amounts = {symbol: amount for symbol, amount in amounts.items() if amount > 0}
    if not amounts:
        raise InputError("a composition without any atom has no formula: name at least one element")
    return amounts


def mg_first_formula(composition: Composition | Mapping[str, float] | str) -> str:
    """Return the reduced formula with Mg first and the other elements in alphabetical order.

    Parameters
    ----------
    composition
        pymatgen `Composition`, atoms by element symbol, or a formula; whole numbers of atoms.

    Returns
    -------
    str
        For example ``MgAg``, ``Mg17Al12``, ``Mg2Ni``, ``Mg``; without Mg pymatgen's reduced formula.
    """
    amounts = _amounts(composition)
    if "Mg" not in amounts or any(abs(n - round(n)) > 1e-8 for n in amounts.values()):
        from pymatgen.core.composition import Composition as PymatgenComposition

        return str(PymatgenComposition(amounts).reduced_formula)
    counts = {symbol: round(n) for symbol, n in amounts.items()}
    divisor = gcd(*counts.values())
    order = ["Mg", *sorted(set(counts) - {"Mg"})]
    return "".join(f"{s}{n if n > 1 else ''}" for s in order if (n := counts[s] // divisor))


def chemsys(composition: Composition | Mapping[str, float] | str) -> str:
    """Return the elements in alphabetical order joined by hyphens, e.g. ``Ag-Mg``.

    Parameters and errors are those of `mg_first_formula`.
    """
    return "-".join(sorted(_amounts(composition)))


def atom_counts(composition: Composition) -> dict[str, int]:
    """Return the whole numbers of atoms by element symbol."""
    return {symbol: int(n) for symbol, n in composition.get_el_amt_dict().items()}


def format_miller(miller_index: Sequence[int]) -> str:
    """Write a Miller index in parentheses: ``(10-1)``; with spaces if an index has two digits.

    (000) stands for a plane that is not known and is written ``(?)``.
    """
    if not any(miller_index):
        return "(?)"
    separator = " " if any(abs(i) > 9 for i in miller_index) else ""
    return "(" + separator.join(str(int(i)) for i in miller_index) + ")"


class FourIndex(tuple[int, int, int]):
    """h, k and l of a plane that was written with four indices (hkil), as only hexagonal axes have them."""

    __slots__ = ()


def has_hexagonal_axes(spacegroup_number: int) -> bool:
    """Whether the standard cell of a space group is hexagonal: trigonal and hexagonal crystals."""
    return FIRST_TRIGONAL <= spacegroup_number <= LAST_HEXAGONAL


def bravais_indices(miller_index: Sequence[int], spacegroup_number: int) -> tuple[int, ...]:
    """Return the indices as the field writes them: hkil for trigonal and hexagonal crystals, else hkl."""
    h, k, l_ = (int(i) for i in miller_index)
    return (h, k, -(h + k), l_) if has_hexagonal_axes(spacegroup_number) else (h, k, l_)


def format_plane(miller_index: Sequence[int], spacegroup_number: int) -> str:
    """Write a plane of a crystal: (10-10) for hexagonal axes, else (100)."""
    return format_miller(bravais_indices(miller_index, spacegroup_number))


def _indices(text: str) -> list[int] | None:
    body = text.strip().strip("()[]{}").strip().replace("−", "-")
    if re.fullmatch(r"[+-]?\d+([\s,]+[+-]?\d+)+", body):
        return [int(part) for part in re.split(r"[\s,]+", body)]
    if re.fullmatch(r"(-?\d){3,4}", body):
        return [int(part) for part in re.findall(r"-?\d", body)]
    return None


def parse_miller(miller_index: str | int | Sequence[int]) -> tuple[int, int, int]:
    """Read a Miller (hkl) or Miller-Bravais (hkil) index.

    Parameters
    ----------
    miller_index
        Text such as ``"10-1"``, ``"1 0 -1"``, ``"(10-10)"``, ``"0001"``; a sequence of three or four
        integers; or an integer with the digits of h, k and l.

    Returns
    -------
    tuple of int
        h, k, l; a `FourIndex` if i was given.

    Raises
    ------
    InputError
        If it cannot be read, is all zero, has a common divisor or an index above `LARGEST_INDEX`, or i is not
        -(h+k).
    """
    numbers: list[int] | None
    if isinstance(miller_index, bool):
        numbers = None
    elif isinstance(miller_index, int):
        numbers = _indices(f"{miller_index:03d}" if miller_index >= 0 else str(miller_index))
    elif isinstance(miller_index, str):
        numbers = _indices(miller_index)
    elif isinstance(miller_index, Sequence) and all(
        not isinstance(i, bool) and hasattr(i, "__index__") for i in miller_index
    ):
        numbers = [int(i) for i in miller_index]
    else:
        numbers = None
    if numbers is None or len(numbers) not in (3, 4):
        raise InputError(f"Miller index {miller_index!r} cannot be read: {_MILLER_HELP}")
    if max(map(abs, numbers)) > LARGEST_INDEX:
        raise InputError(f"Miller index {str(miller_index)[:60]}: indices end at {LARGEST_INDEX}; correct it")
    if len(numbers) == 4:
        h, k, i, l_ = numbers
        if i != -(h + k):
            raise InputError(
                f"Miller-Bravais index {format_miller(numbers)}: the third index must be -(h+k) = "
                f"{-(h + k)}, not {i}; correct it or leave it out"
            )
    else:
        h, k, l_ = numbers
    divisor = gcd(h, k, l_)
    if divisor == 0:
        raise InputError(
            f"Miller index ({''.join(map(str, numbers))}) names no plane: one index must differ from 0"
        )
    if divisor > 1:
        reduced = format_miller((h // divisor, k // divisor, l_ // divisor))
        raise InputError(
            f"Miller index {format_miller(numbers)} has the common divisor {divisor}: "
            f"a facet is named by {reduced}"
        )
    return FourIndex((h, k, l_)) if len(numbers) == 4 else (h, k, l_)
