"""The whole network: SEM-CGCNN of Shi et al. and the parts that preset `best` puts in their place.

Shapes: B slabs with N nodes and E edges in a batch, F element features, C channels, K edge features, H hidden
units, T targets with W outputs (W = T where all are quantities). A node is an atom or, in a folded graph,
several equivalent atoms; every sum and mean counts them. Shi et al., J. Magnesium and Alloys (2024),
doi 10.1016/j.jma.2024.12.005; CGCNN: Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from model.network.convolution import EdgeIndex, EdgeMoments, GatedSum, NormedGatedSum, SlabSum
from stores.errors import InputError

if TYPE_CHECKING:
    from model.graphs.batch import GraphBatch


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is made of; enough, with its weights, to build it again."""

    targets: tuple[str, ...]  # names of the T targets, one head each
    element_features: int = 92  # width F of the element description
    embedding: int = 64  # channels C of a node
    convolutions: int = 3  # number of convolutions
    # hidden, hidden_layers: width H and number of the shared layers after pooling
    hidden: int = 128
    hidden_layers: int = 3
    head_layers: int = 0  # hidden layers of each head, H / 2 wide; 0: each head is one linear map
    depth: str = "flag"  # what a node knows of its depth, a key of `DEPTHS`
    surface_threshold: float = 2.0  # depth down to which an atom belongs to the surface (A); of depth "flag"
    edges: str = "distance"  # what an edge knows, a key of `EDGES`
    pooling: str = "mean"  # how nodes become a slab, a key of `POOLINGS`
    dropout: float = 0.0  # share of hidden units left out in training
    # names of the classes of each target, none for a quantity; empty if all targets are quantities
    classes: tuple[tuple[str, ...], ...] = ()

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the classes of those targets that are no quantities."""
        return {name: names for name, names in zip(self.targets, self.classes, strict=False) if names}

    def columns(self) -> dict[str, slice]:
        """Return which of the network's W outputs belong to each target: one, or one for each class."""
        classes = self.class_names()
        found, start = {}, 0
        for name in self.targets:
            width = len(classes.get(name, ())) or 1
            found[name] = slice(start, start + width)
            start += width
        return found

    def plain(self) -> dict[str, Any]:
        """Return all fields for JSON; classes, which older networks have not, only where there are some."""
        values = asdict(self)
        if not any(self.classes):
            del values["classes"]
        return values


class WeightedBatchNorm(nn.BatchNorm1d):
    """Batch norm over atoms when each row stands for several: [N, C] to [N, C].

    In training, mean and variance are those of the atoms; in evaluation the running ones, so that a slab's
    prediction does not depend on what else is in the batch.
    """

    def forward(self, values: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Normalise; `weight` [N] is the number of atoms of each row, one each by default."""
        if not self.training or weight is None:
            return super().forward(values)
        total = weight.sum()
        mean = (weight @ values) / total
        variance = (weight @ (values - mean).square()) / total
        update_running(self, mean, variance, total)
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


class SurfaceNetwork(nn.Module):
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
        super().__init__()
        for name in config.targets:
            if not name.partition("@")[0].isidentifier():  # what follows an @ is the method of the labels
                raise InputError(f"target {name!r} is not a name: use letters, digits and underscores")
        if elements.shape[1] != config.element_features:
            raise InputError(
                f"the element table has {elements.shape[1]} features, "
                f"the network expects {config.element_features}"
            )
        self.config = config
        self.edge_dtype = torch.float32
        self.register_buffer("elements", elements.float())  # [Z + 1, F]
        self.elements: torch.Tensor
        self.depth = DEPTHS[config.depth](config)
        self.embed = nn.Linear(config.element_features + self.depth.width, config.embedding)
        self.edges = EDGES[config.edges](config)
        self.convolutions = nn.ModuleList(
            GatedConvolution(config.embedding, self.edges.width) for _ in range(config.convolutions)
        )
        self.pooling = POOLINGS[config.pooling](config)
        widths = [self.pooling.width] + [config.hidden] * config.hidden_layers
        self.shared = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(config.dropout)
        widths_of_heads = {name: place.stop - place.start for name, place in config.columns().items()}
        self.heads = nn.ModuleDict({head_key(n): _head(config, w) for n, w in widths_of_heads.items()})

    @property
    def last_shared(self) -> nn.Parameter:
        """Weight of the last layer that all targets share: what GradNorm looks at; [H, H]."""
        weight = self.shared[-1].weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters that every target depends on."""
        return [value for name, value in self.named_parameters() if not name.startswith("heads.")]

    def embed_nodes(self, batch: GraphBatch) -> torch.Tensor:
        """Embed atoms: linear map of [element features, depth features]; [N, C].

        The element part is computed once per element.
        """
        n = self.config.element_features
        table = functional.linear(self.elements, self.embed.weight[:, :n], self.embed.bias)  # [Z + 1, C]
        v = table[batch.numbers]
        if self.depth.width:
            features = self.depth(batch.depth)
            if batch.has_surface is not None:  # atoms of bulk crystals have no depth
                features = features * batch.has_surface[:, None]
            v = v + features @ self.embed.weight[:, n:].t()
        return v

    def convolve(self, batch: GraphBatch) -> torch.Tensor:
        """Node features after the last convolution: [N, C]."""
        edge_index = EdgeIndex.of(batch)
        u = self.edges(batch).to(self.edge_dtype)  # [E, K]
        learning = any(convolution.training for convolution in self.convolutions)
        moments = EdgeMoments.of(u, edge_index) if learning else u
        v = self.embed_nodes(batch)
        for convolution in self.convolutions:  # frozen ones are in evaluation mode
            v = convolution(v, edge_index, moments if convolution.training else u)
        return v

    def trunk(self, batch: GraphBatch) -> torch.Tensor:
        """Pooled slabs after the shared layers, eq. (4): [B, H]."""
        hidden: torch.Tensor = self.pooling(self.convolve(batch), batch)
        for layer in self.shared:
            hidden = self.dropout(functional.softplus(layer(hidden)))
        return hidden

    def forward(self, batch: GraphBatch) -> torch.Tensor:
        """Predict standardised targets, or logits of their classes: [B, W], see `NetworkConfig.columns`."""
        return self.from_trunk(self.trunk(batch))

    def from_trunk(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the heads to pooled slabs [B, H]: [B, W]."""
        return torch.cat([self.heads[head_key(name)](hidden) for name in self.config.targets], dim=1)


def head_key(target: str) -> str:
    """Name a target's head among the modules: not like a method of ModuleDict, and without a dot."""
    return "head_" + target.replace(".", "_")


def _head(config: NetworkConfig, width: int) -> nn.Sequential:
    """Task-specific layers: [B, H] to [B, width]."""
    widths = [config.hidden] + [config.hidden // 2] * config.head_layers
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.Softplus()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], width))


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


EDGES: dict[str, type[DistanceExpansion]] = {"distance": DistanceExpansion}


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
