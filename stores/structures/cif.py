"""CIF files, read without the silent repairs: what is missing or doubled in them is refused by name."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core.structure import Structure

_COORDINATES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_SAME_POSITION = 1e-3  # fractional; two rows of a CIF this close describe one position


def _number(text: str) -> float:
    """Read a CIF number, whose last digits' uncertainty may follow in parentheses: 0.1628(3)."""
    return float(str(text).split("(")[0])


def read_cif(text: str, where: str) -> list[Structure]:
    """Read every crystal of a CIF.

    Parameters
    ----------
    text
        Content of the file.
    where
        Its name, for messages.

    Returns
    -------
    list of Structure
        One for each data block that has atoms; conventional cells as written.

    Raises
    ------
    InputError
        If the text is no CIF, has no atoms, lacks occupancies or has partial ones, a site is no element,
        a coordinate is no number, or two rows describe the same position.
    """
    from pymatgen.io.cif import CifFile, CifParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            blocks = CifFile.from_str(text).data
        except Exception as error:
            raise InputError(f"{where} is not a readable CIF ({_one_line(error)}): check the file") from error
        with_atoms = [block for block in blocks.values() if all(key in block.data for key in _COORDINATES)]
        if not with_atoms:
            raise InputError(
                f"{where} holds no atoms (no _atom_site_fract_x): give a CIF of a crystal structure"
            )
        for block in with_atoms:
            _check_sites(block.data, where)
        try:
            parser = CifParser.from_str(text, check_cif=False)
            for block in with_atoms:
                _check_distinct(block.data, parser.get_symops(block), where)
            return list(parser.parse_structures(primitive=False, on_error="raise"))
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{where}: its cell, symmetry or sites cannot be read ({_one_line(error)}): check the file"
            ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _labels(data: dict[str, Any]) -> list[str]:
    n_sites = len(data[_COORDINATES[0]])
    names = data.get("_atom_site_label") or data.get("_atom_site_type_symbol") or [""] * n_sites
    return [f"{name} (row {i + 1})" for i, name in enumerate(names)]


def _check_sites(data: dict[str, Any], where: str) -> None:
    from pymatgen.core.periodic_table import Element

    labels = _labels(data)
    if "_atom_site_occupancy" not in data:
        raise InputError(
            f"{where} states no occupancies: add a column _atom_site_occupancy (1 for a fully occupied site)"
        )
    symbols = data.get("_atom_site_type_symbol") or data.get("_atom_site_label") or labels
    for label, occupancy, symbol, *position in zip(
        labels, data["_atom_site_occupancy"], symbols, *(data[key] for key in _COORDINATES), strict=True
    ):
        try:
            value = _number(occupancy)
        except ValueError:
            raise InputError(
                f"{where}: the occupancy of site {label} is missing ({occupancy}): write 1 if it is full"
            ) from None
        if not abs(value - 1) < 1e-6:
            raise InputError(
                f"{where}: site {label} has occupancy {value:g}: give an ordered structure, every site fully "
                "occupied by one element"
            )
        letters = "".join(c for c in str(symbol)[:2] if c.isalpha())
        if not (Element.is_valid_symbol(letters.capitalize()) or Element.is_valid_symbol(letters[:1])):
            raise InputError(f"{where}: site {label} is no element ({symbol}): correct its type symbol")
        for coordinate in position:
            try:
                finite = math.isfinite(_number(coordinate))
            except ValueError:
                finite = False
            if not finite:
                raise InputError(f"{where}: site {label} has the coordinate {coordinate}: write a number")


def _check_distinct(data: dict[str, Any], operations: Sequence[Any], where: str) -> None:
    """Refuse rows that describe one position, which the parser would merge into one site."""
    labels = _labels(data)
    positions = np.array([[_number(x) for x in data[key]] for key in _COORDINATES]).T
    images = np.array([operation.operate_multi(positions) for operation in operations])
    for i in range(len(positions)):
        for j in range(i):
            offsets = images[:, j] - positions[i]
            if np.any(np.all(np.abs(offsets - np.round(offsets)) < _SAME_POSITION, axis=1)):
                raise InputError(
                    f"{where}: overlapping atoms, sites {labels[j]} and {labels[i]} lie on the same "
                    "position: keep one of them"
                )
