"""The whole network: SEM-CGCNN of Shi et al. and the parts that preset `best` puts in their place.

Shapes: B slabs with N nodes and E edges in a batch, F element features, C channels, K edge features, H hidden
units, T targets with W outputs (W = T where all are quantities). A node is an atom or, in a folded graph,
several equivalent atoms; every sum and mean counts them. Shi et al., J. Magnesium and Alloys (2024),
doi 10.1016/j.jma.2024.12.005; CGCNN: Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from model.network.bond_convolution import BondConvolution
from model.network.convolution import EdgeIndex, EdgeMoments, GatedSum, NormedGatedSum, SlabSum
from model.network.heads import HeadedNetwork, HeadsConfig
from model.network.process_group import total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.graphs.batch import GraphBatch


@dataclass(frozen=True)
class NetworkConfig(HeadsConfig):
    """What a network is made of; enough, with its weights, to build it again."""

    embedding: int = 64  # channels C of a node
    convolutions: int = 3  # number of convolutions
    depth: str = "flag"  # what a node knows of its depth, a key of `DEPTHS`
    surface_threshold: float = 2.0  # depth down to which an atom belongs to the surface (A); of depth "flag"
    edges: str = "distance"  # what an edge knows, a key of `EDGES`
    pooling: str = "mean"  # how nodes become a slab, a key of `POOLINGS`


class WeightedBatchNorm(nn.BatchNorm1d):
    """Batch norm over atoms when each row stands for several: [N, C] to [N, C].

    In training, mean and variance are those of the atoms, of all processes that share the batch; in
    evaluation the running ones, so that a slab's prediction does not depend on what else is in the batch.
    """

    def forward(self, values: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Normalise; `weight` [N] is the number of atoms of each row, one each by default."""
        if not self.training or weight is None:
            return super().forward(values)
        atoms, sums = total(weight.sum(), weight @ values)
        mean = sums / atoms
        (squares,) = total(weight @ (values - mean).square())
        variance = squares / atoms
        update_running(self, mean, variance, atoms)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias - mean * scale, values, scale)


def update_running(
    norm: nn.BatchNorm1d, mean: torch.Tensor, variance: torch.Tensor, total: torch.Tensor
) -> None:
    """Move running mean and (unbiased) variance towards a batch's, as torch does."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (total / (total - 1).clamp(min=1)), norm.momentum)


class GatedConvolution(nn.Module):
    """Gated convolution, eq. (2) of Shi et al., with the batch norms of CGCNN.

    v_i' = sp(v_i + BN2(sum_jk sigmoid(BN1(z) W_f) * sp(BN1(z) W_s))),  z = [v_i, v_j, u_ij]

    The map of z [E, 2C + K] splits into p_i + q_j + u_ij W: p and q are computed once per atom and gathered.
    Because it is a sum, the mean and variance over all edges that BN1 needs follow from sums over nodes
    (`model.network.convolution`), and BN1 becomes a scale and a shift of p, q and W: no [E, 2C] tensor is
    kept. The first half of the 2C columns is the gate (f), the second the message (s). Biases are BN1's.
    """

    def __init__(self, channels: int, edge_features: int) -> None:
        super().__init__()
        self.centre = nn.Linear(channels, 2 * channels, bias=False)  # W of v_i
        self.neighbour = nn.Linear(channels, 2 * channels, bias=False)  # W of v_j
        self.edge = nn.Linear(edge_features, 2 * channels, bias=False)  # W of u_ij
        fan_in = 2 * channels + edge_features
        for part in (self.centre, self.neighbour, self.edge):
            # as one nn.Linear over the concatenation would start
            nn.init.uniform_(part.weight, -(fan_in**-0.5), fan_in**-0.5)
        self.norm_edges = nn.BatchNorm1d(2 * channels)
        self.norm_sum = WeightedBatchNorm(channels)

    def forward(
        self, v: torch.Tensor, edge_index: EdgeIndex, edges: EdgeMoments | torch.Tensor
    ) -> torch.Tensor:
        """Convolve nodes [N, C]; `edges` are moments in training, plain features [E, K] in evaluation."""
        centre, neighbour, w = self.centre.weight, self.neighbour.weight, self.edge.weight.t()
        norm = self.norm_edges
        if isinstance(edges, EdgeMoments):
            message, mean, variance = NormedGatedSum.apply(  # type: ignore[no-untyped-call]  # torch leaves apply untyped
                v, centre, neighbour, w, norm.weight, norm.bias, edges, edge_index, norm.eps
            )
            update_running(norm, mean, variance, edges.total)
        else:
            assert norm.running_mean is not None and norm.running_var is not None
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)  # [2C]
            p = torch.addcmul(norm.bias - norm.running_mean * scale, v @ centre.t(), scale)  # [N, 2C]
            q = (v @ neighbour.t()) * scale
            kind = edges.dtype  # bfloat16 on a GPU, if so chosen: the edges are nearly all of the work
            parts = p.to(kind), q.to(kind), (w * scale).to(kind)
            message = GatedSum.apply(*parts, edges, edge_index).float()  # type: ignore[no-untyped-call]
        return functional.softplus(v + self.norm_sum(message, edge_index.node_weight))


class SurfaceNetwork(HeadedNetwork):
    """Graphs to standardised targets, or logits of classes.

    Embedding, convolutions, pooling, shared layers, heads.

    Parameters
    ----------
    config
        What the network is made of.
    elements
        [Z + 1, F] float32, features of each element in the row of its atomic number.
    """

    def __init__(self, config: NetworkConfig, elements: torch.Tensor) -> None:
        super().__init__(config, elements)
        self.config = config
        self.depth = DEPTHS[config.depth](config)
        self.embed = nn.Linear(config.element_features + self.depth.width, config.embedding)
        self.edges = EDGES[config.edges](config)
        self.bonds = None
        if isinstance(self.edges, DistancesAndAngles):
            half = max(config.embedding // 2, 1)
            angles = GatedConvolution(half, BondConvolution.angles)
            self.bonds = BondConvolution(config.embedding, half, self.edges.width, angles)
        self.convolutions = nn.ModuleList(
            GatedConvolution(config.embedding, self.edges.width) for _ in range(config.convolutions)
        )
        self.pooling = POOLINGS[config.pooling](config)
        self.build_heads(config, self.pooling.width)

    def element_embedding(self) -> torch.Tensor:
        """Element part of the embedding, without what an atom knows of its depth: [Z + 1, C]."""
        n = self.config.element_features
        return functional.linear(self.elements, self.embed.weight[:, :n], self.embed.bias)

    def embed_nodes(self, batch: GraphBatch) -> torch.Tensor:
        """Embed atoms: linear map of [element features, depth features]; [N, C].

        The element part is computed once per element.
        """
        v = self.element_embedding()[batch.numbers]
        if self.depth.width:
            features = self.depth(batch.depth)
            if batch.has_surface is not None:  # atoms of bulk crystals have no depth
                features = features * batch.has_surface[:, None]
            v = v + features @ self.embed.weight[:, self.config.element_features :].t()
        return v

    def node_states(self, batch: GraphBatch) -> Iterator[torch.Tensor]:
        """Yield the node features [N, C] after the embedding and after each convolution."""
        edge_index = EdgeIndex.of(batch)
        u = self.edges(batch).to(self.edge_dtype)  # [E, K]
        learning = any(convolution.training for convolution in self.convolutions)
        moments = EdgeMoments.of(u, edge_index) if learning else u
        v = self.embed_nodes(batch)
        if self.bonds is not None:
            v = self.bonds(v, u, batch)
        yield v
        for convolution in self.convolutions:  # frozen ones are in evaluation mode
            v = convolution(v, edge_index, moments if convolution.training else u)
            yield v

    def convolve(self, batch: GraphBatch) -> torch.Tensor:
        """Node features after the last convolution: [N, C]."""
        states = self.node_states(batch)
        v = next(states)
        for v in states:  # noqa: B007 -- the last one counts
            pass
        return v

    def trunk(self, batch: GraphBatch) -> torch.Tensor:
        """Pooled slabs after the shared layers, eq. (4): [B, H]."""
        return self.through_shared(self.pooling(self.convolve(batch), batch))

    def forward(self, batch: GraphBatch) -> torch.Tensor:
        """Predict standardised targets, or logits of their classes: [B, W], see `HeadsConfig.columns`."""
        return self.from_trunk(self.trunk(batch))


class NoDepth(nn.Module):
    """Atoms do not know where they are (CGCNN)."""

    width = 0

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()

    def forward(self, depth: torch.Tensor) -> torch.Tensor:
        """Return [N, 0]."""
        return depth.new_empty(len(depth), 0)


class SurfaceFlag(nn.Module):
    """One for atoms within a threshold depth, else zero (section 2.2.2 of Shi et al.; 2 A there)."""

    width = 1

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.threshold = config.surface_threshold

    def forward(self, depth: torch.Tensor) -> torch.Tensor:
        """Return [N, 1]."""
        return (depth <= self.threshold).float()[:, None]


class DepthProfile(nn.Module):
    """Smooth functions of depth that are constant below 5 A, so that thickness cannot be read from them.

    Gaussians of width 0.7 A at 0, 0.7, ..., 4.9 A of min(depth, 5 A).
    """

    width = 8
    saturation = 5.0  # A

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.register_buffer("centres", torch.arange(8) * 0.7, persistent=False)  # [8], A
        self.centres: torch.Tensor

    def forward(self, depth: torch.Tensor) -> torch.Tensor:
        """Return [N, 8]."""
        return torch.exp(-(((depth.clamp(max=self.saturation)[:, None] - self.centres) / 0.7) ** 2))


DEPTHS: dict[str, type[NoDepth | SurfaceFlag | DepthProfile]] = {
    "none": NoDepth,
    "flag": SurfaceFlag,
    "profile": DepthProfile,
}


class DistanceExpansion(nn.Module):
    """Gaussian distance expansion u_k = exp(-(d - mu_k)^2 / w^2), w = 0.2 A (CGCNN).

    CGCNN places 41 centres from 0 to 8 A. Atoms are never closer than 1.6 A and twelfth neighbours rarely
    farther than 6 A, so 24 centres from 1.6 to 6.2 A carry the same, and each distance costs half as much.
    """

    width = 24
    step = 0.2  # A

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.register_buffer(
            "centres", 1.6 + self.step * torch.arange(self.width), persistent=False
        )  # [K], A
        self.centres: torch.Tensor

    def forward(self, batch: GraphBatch) -> torch.Tensor:
        """Return [E, K]."""
        return _gaussian(batch.distance[:, None], self.centres, self.step)


class DistancesAndAngles(DistanceExpansion):
    """The same distances; angles enter before the first convolution, by a `BondConvolution`."""


EDGES: dict[str, type[DistanceExpansion]] = {"distance": DistanceExpansion, "angles": DistancesAndAngles}


def _gaussian(x: torch.Tensor, centres: torch.Tensor, width: float) -> torch.Tensor:
    """Return exp(-((x - centre) / width)^2); x [n, 1] and centres [k] give [n, k].

    Never below 1e-9: the far tail would be denormal numbers, with which processors multiply matrices some
    twenty times more slowly.
    """
    return (x - centres).div_(width).square_().neg_().clamp_(min=-20.0).exp_()


class MeanPooling(nn.Module):
    """Mean over the atoms of a slab, eq. (3) of Shi et al."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.width = config.embedding

    def forward(self, v: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
        """Pool [N, C] to [B, C]."""
        if batch.multiplicity is not None:
            v = v * batch.multiplicity[:, None]
        return _slab_sum(v, batch) / batch.n_atoms[:, None]


class SurfaceAttention(nn.Module):
    """Attention over the atoms near the surface: [N, C] to [B, 4 C].

    Head h pools v with weights m w(depth) exp(a_h(v)) / sum, where w falls smoothly from 1 at the surface
    to 0 at 6 A: what lies deeper, and how much of it there is, does not count. Three heads attend, one has
    a = 0. In a bulk crystal, which has no surface, w is 1 for every atom.
    """

    heads = 4
    reach = 6.0  # A
    bound = 4.0  # of |a|: no maximum has to be taken out before the exponential

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.width = self.heads * config.embedding
        self.score = nn.Linear(config.embedding, self.heads - 1)

    def forward(self, v: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
        """Pool [N, C] to [B, 4 C]."""
        score = self.bound * torch.tanh(self.score(v) / self.bound)  # [N, 3]
        weight = _window(batch.depth, self.reach)
        if batch.has_surface is not None:
            weight = torch.where(batch.has_surface > 0, weight, 1.0)
        if batch.multiplicity is not None:
            weight = weight * batch.multiplicity
        alpha = torch.cat([weight[:, None], weight[:, None] * score.exp()], dim=1)  # [N, 4]
        total = _slab_sum(alpha, batch)  # [B, 4]
        heads = [_slab_sum(v * alpha[:, h : h + 1], batch) / total[:, h : h + 1] for h in range(self.heads)]
        return torch.cat(heads, dim=1)


POOLINGS: dict[str, type[MeanPooling | SurfaceAttention]] = {"mean": MeanPooling, "surface": SurfaceAttention}


def _slab_sum(values: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
    """Sum nodes [N, C] over each slab: [B, C]."""
    total: torch.Tensor = SlabSum.apply(values, batch.slab_index, batch.n_nodes)  # type: ignore[no-untyped-call]
    return total


def _window(depth: torch.Tensor, end: float) -> torch.Tensor:
    """Go smoothly from 1 at the surface to 0 at depth `end` (A) and below: half a cosine; shape of depth."""
    return 0.5 + 0.5 * torch.cos(torch.pi * (depth / end).clamp(max=1.0))
