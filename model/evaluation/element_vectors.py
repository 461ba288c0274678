"""Vectors that a network has of the elements, their correlations, and how well these reproduce chemistry.

After figures 4 and S5 of Shi et al., J. Magnesium and Alloys (2024), doi 10.1016/j.jma.2024.12.005.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from pymatgen.core import Element

from model.graphs.batch import PackedGraphs
from model.network.network import SurfaceNetwork
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.graphs.graph import SlabGraph
    from model.training.checkpoint import TrainedModel

    Array = NDArray[np.float64]

PERMUTATIONS = 10_000
NEIGHBOURS = 5

DIVALENT = ("Ca", "Sr", "Ba", "Eu")
"""Metals that ytterbium, divalent in its metal and in most intermetallics, should resemble."""

TRIVALENT = ("La", "Ce", "Pr", "Nd", "Pm", "Sm", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Lu")
"""Lanthanoids that are trivalent in their metals."""


def pettifor_order(symbols: Sequence[str]) -> list[str]:
    """Sort elements by Mendeleev number; those without one come last.

    Numbers of D. G. Pettifor, Mater. Sci. Technol. 4, 675 (1988), doi 10.1179/mst.1988.4.8.675, as
    pymatgen's table of elements has them (`pymatgen.core.Element.mendeleev_no`).
    """
    return sorted(symbols, key=lambda symbol: (mendeleev_number(symbol) or np.inf, Element(symbol).Z))


def mendeleev_number(symbol: str) -> float | None:
    """Return an element's Mendeleev number, None where Pettifor gives none."""
    number = Element(symbol).mendeleev_no
    return None if number is None else float(number)


def element_vectors(
    model: TrainedModel, graphs: Sequence[SlabGraph], symbols: Sequence[str]
) -> dict[str, Array]:
    """Return the vector of each element after the embedding and after each convolution.

    The embedding knows the element alone (its part that depends on depth is left out); after a convolution
    the vector is the mean over all atoms of the element in the slabs.

    Parameters
    ----------
    model
        A network.
    graphs
        At least one, built with the model's graph settings.
    symbols
        Of k elements.

    Returns
    -------
    dict
        ``embedding``, ``convolution 1``, ...: [k, C] each.

    Raises
    ------
    InputError
        If no slab holds one of the elements.
    """
    network = model.network.eval()
    if not isinstance(network, SurfaceNetwork):
        raise InputError("the model was trained on compositions: name one of slabs or crystals")
    numbers = [Element(symbol).Z for symbol in symbols]
    sums: list[torch.Tensor] = []
    atoms = torch.zeros(len(network.elements), dtype=torch.float64)
    with torch.inference_mode():
        embedding = network.element_embedding().double()
        for batch in PackedGraphs.of(graphs).in_order():
            ones = torch.ones(len(batch.numbers), dtype=torch.float64)
            weight = ones if batch.multiplicity is None else batch.multiplicity.double()
            atoms.index_add_(0, batch.numbers, weight)
            for stage, state in enumerate(network.node_states(batch)):
                if stage == len(sums):
                    sums.append(torch.zeros(len(atoms), state.shape[1], dtype=torch.float64))
                sums[stage].index_add_(0, batch.numbers, state.double() * weight[:, None])
    if missing := [s for s, z in zip(symbols, numbers, strict=True) if atoms[z] == 0]:
        raise InputError(f"no slab holds {', '.join(missing)}; choose elements of the labelled slabs")
    means = [(total / atoms.clamp(min=1)[:, None])[numbers].numpy() for total in sums[1:]]
    return {
        "embedding": embedding[numbers].numpy(),
        **{f"convolution {n}": mean for n, mean in enumerate(means, start=1)},
    }


def correlations(vectors: Array) -> Array:
    """Return Pearson's correlations between the rows of [k, C]: [k, k]; InputError if a row is constant."""
    if not (np.ptp(vectors, axis=1) > 0).all():  # also of rows that are no numbers
        raise InputError("the vectors of some elements do not vary, so that they have no correlations")
    return np.atleast_2d(np.corrcoef(vectors))


@dataclass(frozen=True)
class GroupContrast:
    """Mean correlation of pairs within a group of the periodic table against that of all other pairs."""

    within: float  # NaN without a pair
    between: float
    pairs_within: int
    pairs_between: int
    p_value: float  # share of random groupings whose difference is at least as large; NaN without pairs

    @property
    def difference(self) -> float:
        """Mean within minus mean between groups."""
        return self.within - self.between


def periodic_groups(symbols: Sequence[str]) -> list[int]:
    """Return the group of each element in the periodic table, 1 to 18; lanthanoids and actinoids have 3."""
    return [Element(symbol).group for symbol in symbols]


def group_contrast(
    correlation: Array, groups: Sequence[int], permutations: int = PERMUTATIONS
) -> GroupContrast:
    """Compare correlations within and between groups by a permutation test.

    Groups are dealt to the elements at random, their sizes kept; p = (1 + b) / (1 + m), b of m deals having
    a difference at least as large (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9, 39, 2010).

    Parameters
    ----------
    correlation
        [k, k], symmetric.
    groups
        Of the k elements.
    permutations
        How many random deals, with seed 0.
    """
    labels = np.asarray(groups)
    first, second = np.triu_indices(len(labels), 1)
    values = correlation[first, second]
    same = labels[first] == labels[second]
    n_same = int(same.sum())
    if n_same in (0, len(values)):
        mean = float(values.mean()) if len(values) else np.nan
        within, between = (mean, np.nan) if n_same else (np.nan, mean)
        return GroupContrast(within, between, n_same, len(values) - n_same, np.nan)
    # pairs within and between are as many in every deal, so the sum within orders the deals
    total = values[same].sum()
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(permutations):
        dealt = rng.permutation(labels)
        beyond += values[dealt[first] == dealt[second]].sum() >= total - 1e-12
    return GroupContrast(
        within=float(values[same].mean()),
        between=float(values[~same].mean()),
        pairs_within=n_same,
        pairs_between=len(values) - n_same,
        p_value=(1 + int(beyond)) / (1 + permutations),
    )


@dataclass(frozen=True)
class Placement:
    """Where ytterbium stands among the elements."""

    # mean correlation with the elements of DIVALENT and TRIVALENT that are there; NaN without any
    divalent: float
    trivalent: float
    neighbours: tuple[tuple[str, float], ...]  # symbol and correlation, nearest first


def ytterbium(symbols: Sequence[str], correlation: Array) -> Placement | None:
    """Return which of k elements Yb correlates with most, of [k, k] correlations; None without Yb."""
    if "Yb" not in symbols:
        return None
    row = dict(zip(symbols, correlation[list(symbols).index("Yb")].tolist(), strict=True))
    del row["Yb"]

    def mean(members: Sequence[str]) -> float:
        known = [row[symbol] for symbol in members if symbol in row]
        return float(np.mean(known)) if known else np.nan

    nearest = sorted(row.items(), key=lambda pair: (-pair[1], pair[0]))[:NEIGHBOURS]
    return Placement(mean(DIVALENT), mean(TRIVALENT), tuple(nearest))
