"""A convolution over bonds and the angles between them, whose result an atom has beside its element.

After K. Choudhary and B. DeCost, npj Comput. Mater. 7, 185 (2021), whose convolutions go to and fro between
atoms and bonds. Here one comes before all those over atoms, and bonds have half as many channels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from model.graphs.bond_angles import COSINE_WIDTH, COSINES
from model.network.convolution import EdgeIndex, EdgeMoments

if TYPE_CHECKING:
    from model.graphs.batch import GraphBatch, LineBatch


class BondConvolution(nn.Module):
    """Bonds exchange messages over the angles between them; each atom takes the mean of its bonds.

        h_ij = sp(A v_i + B v_j + C u_ij + c),  h_ij' = gated convolution over k of [h_ij, h_ik, g(cos jik)]
        v_i' = v_i + D (sum_j w_ij h_ij') / sum_j w_ij + d

    with the weights w of bonds (`model.graphs.bond_angles.bond_weights`) and eight Gaussians g.

    Parameters
    ----------
    atom, bond, edge_features
        Channels of an atom (C) and of a bond, K of an edge.
    convolution
        Gated convolution of as many channels as a bond has, and `angles` edge features.
    """

    angles = len(COSINES)

    def __init__(self, atom: int, bond: int, edge_features: int, convolution: nn.Module) -> None:
        super().__init__()
        self.centre = nn.Linear(atom, bond, bias=False)
        self.neighbour = nn.Linear(atom, bond, bias=False)
        self.edge = nn.Linear(edge_features, bond)
        self.convolution = convolution
        self.atom = nn.Linear(bond, atom)
        self.register_buffer("cosines", torch.linspace(-1, 1, self.angles), persistent=False)
        self.cosines: torch.Tensor

    def forward(self, v: torch.Tensor, u: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
        """Return atoms [N, C] that know the angles around them; u [E, K] is what edges know."""
        line = batch.line
        assert line is not None  # see `model.training.inputs.check_kind`
        bond = torch.nonzero(line.bond_weights > 0)[:, 0]
        i, j = batch.centre[bond], batch.neighbour[bond]
        h = functional.softplus(self.centre(v)[i] + self.neighbour(v)[j] + self.edge(u[bond].float()))
        bonds = _as_graph(batch, line, bond)
        spread = torch.exp(-(((line.cosines[:, None] - self.cosines) / COSINE_WIDTH) ** 2)).to(u.dtype)
        index = EdgeIndex.of(bonds)
        learning = self.convolution.training
        h = self.convolution(h, index, EdgeMoments.of(spread, index) if learning else spread)
        weight = line.bond_weights[bond]
        if batch.edge_multiplicity is not None:
            weight = weight * batch.edge_multiplicity[bond]
        total = v.new_zeros(len(v)).index_add(0, i, weight)
        mean = v.new_zeros(len(v), h.shape[1]).index_add(0, i, h * (weight / total[i])[:, None])
        result: torch.Tensor = v + self.atom(mean)
        return result


def _as_graph(batch: GraphBatch, line: LineBatch, bond: torch.Tensor) -> GraphBatch:
    """Return the line graph of a batch: its nodes are the bonds, the edges `bond`, its edges their angles."""
    degree = (line.offsets[1:] - line.offsets[:-1])[bond]  # other edges have no angles
    place = torch.zeros_like(batch.centre)
    place[bond] = torch.arange(len(bond), device=bond.device)
    weight = torch.ones_like(line.bond_weights)
    if batch.edge_multiplicity is not None:
        weight = weight * batch.edge_multiplicity
    if batch.multiplicity is not None:
        weight = weight * batch.multiplicity[batch.centre]
    crystal = batch.slab_index[batch.centre[bond]]
    return replace(
        batch,
        numbers=torch.zeros_like(bond),
        depth=torch.zeros_like(weight[bond]),
        multiplicity=weight[bond],
        slab_index=crystal,
        n_nodes=torch.bincount(crystal, minlength=len(batch)),
        offsets=functional.pad(degree.cumsum(0), (1, 0)),
        centre=torch.repeat_interleave(torch.arange(len(bond), device=bond.device), degree),
        neighbour=place[line.others],
        distance=line.cosines,
        edge_multiplicity=line.counts,
        has_surface=None,
        line=None,
    )
