"""Which calculations are spin-polarised, and the moments they start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Start moments per atom (Bohr magnetons) of d metals whose compounds are treated spin-polarised: near the
# high-spin moments of the ferromagnets, so that SCF can only lose moment, not miss it.
START_MOMENTS = {"Cr": 3.0, "Mn": 4.0, "Fe": 3.0, "Co": 2.0, "Ni": 1.0}

# Moments of open 4f shells (Hund's spin), used only with a POTCAR that carries 4f in valence. The _2 and _3
# POTCARs of the table freeze 4f in the core: nothing is left to polarise.
OPEN_4F_MOMENTS = {
    "Ce": 1.0,
    "Pr": 2.0,
    "Nd": 3.0,
    "Pm": 4.0,
    "Sm": 5.0,
    "Eu": 7.0,
    "Gd": 7.0,
    "Tb": 6.0,
    "Dy": 5.0,
    "Ho": 4.0,
    "Er": 3.0,
    "Tm": 2.0,
    "Yb": 1.0,
}


def start_moment(element: str, label: str) -> float:
    """Return the moment an atom starts from (Bohr magnetons); 0 if the element is treated as non-magnetic.

    Parameters
    ----------
    element
        Chemical symbol.
    label
        Label of its POTCAR, e.g. ``Gd_3``.
    """
    if element in OPEN_4F_MOMENTS and not label.endswith(("_2", "_3")):
        return OPEN_4F_MOMENTS[element]
    return START_MOMENTS.get(element, 0.0)


def start_moments(symbols: Sequence[str], labels: Mapping[str, str]) -> list[float] | None:
    """Return MAGMOM of the atoms in their order, ferromagnetic; None if the cell needs no spin.

    Atoms of non-magnetic elements start from 0 beside magnetic ones and take what SCF gives them.
    """
    moments = [start_moment(symbol, labels[symbol]) for symbol in symbols]
    return moments if any(moments) else None
