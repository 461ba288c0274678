"""The edge part of a gated convolution as one step that keeps no edge-wide tensor, and its batch norm.

Autograd would keep six [E, C] tensors per layer (gathered atoms, both activations, their product, ...).
Here the forward pass walks over chunks of whole slabs small enough for the processor's cache and keeps
nothing; the backward pass computes the chunk again. On a GPU there is one chunk. On a processor
`model.network.numba_kernels` does the same several times as fast where Numba is installed.

A value of an edge is linear in its two atoms and its features, so its mean and variance over edges follow
from sums over nodes, and the batch norm is a scale and a shift of the linear map: the edges' values are never
formed.

With several threads torch and BLAS add numbers in an order that depends on how many there are, torch even on
chance. In `repeatable` parts both work with one; sums over edges, most of the work, are divided so that any
number of threads gives the same bits, and keep as many as there were.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from model.network.process_group import total

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from model.graphs.batch import GraphBatch


# 3,000 edges times 128 channels are 1.5 MB: they stay in cache, and the cost of calling each step is small
EDGES_PER_CHUNK = 3000


@dataclass(frozen=True, eq=False)
class EdgeIndex:
    """The connections of a batch with N nodes and E edges; made once, used by every layer."""

    # centre, neighbour: [E] int64, edges sorted by centre
    centre: torch.Tensor
    neighbour: torch.Tensor
    pairs: torch.Tensor  # [2 E] int64: centre and N + neighbour of each edge, rows of the stacked atom parts
    offsets: torch.Tensor  # [N + 1] int64, where the edges of each node begin
    incoming: torch.Tensor  # [E] int64, the edges sorted by neighbour
    incoming_offsets: torch.Tensor  # [N + 1] int64, where the edges that end in a node begin in `incoming`
    # [E] float32, edges of one atom that an edge stands for; None: one each
    multiplicity: torch.Tensor | None
    # [E] float32, edges of the slab that an edge stands for (the above times its centre's)
    weight: torch.Tensor
    node_weight: torch.Tensor  # [N] float32, atoms that a node stands for
    # (first node, end node, first edge, end edge): whole slabs, so no edge leaves a chunk
    chunks: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(cls, batch: GraphBatch) -> EdgeIndex:
        """Build the edge_index of a batch."""
        n_nodes = len(batch.numbers)
        neighbour, centre = batch.neighbour, batch.centre
        incoming = torch.argsort(neighbour, stable=True)
        degree = torch.bincount(neighbour, minlength=n_nodes)
        node_weight = torch.ones_like(batch.depth) if batch.multiplicity is None else batch.multiplicity
        weight = node_weight[centre]
        if batch.edge_multiplicity is not None:
            weight = weight * batch.edge_multiplicity
        return cls(
            centre=centre,
            neighbour=neighbour,
            pairs=torch.stack([centre, neighbour + n_nodes], dim=1).flatten(),
            offsets=batch.offsets,
            incoming=incoming,
            incoming_offsets=functional.pad(degree.cumsum(0), (1, 0)),
            multiplicity=batch.edge_multiplicity,
            weight=weight,
            node_weight=node_weight,
            chunks=_chunks(batch),
        )

    def sum_outgoing(self, values: torch.Tensor) -> torch.Tensor:
        """Sum edge values [E, C] over the edges that begin at each node: [N, C]."""
        index = torch.arange(len(values), device=values.device)
        return sum_in_bags(index, values, self.offsets, None)

    def sum_neighbours(self, values: torch.Tensor) -> torch.Tensor:
        """Sum node values over the neighbours of one atom of each node: sum_(e of i) m_e b_(j(e)); [N, C]."""
        return sum_in_bags(self.neighbour, values, self.offsets, self.multiplicity)

    def sum_neighbours_backward(self, grad: torch.Tensor) -> torch.Tensor:
        """Transpose of `sum_neighbours`: [N, C] to [N, C]."""
        weight = None if self.multiplicity is None else self.multiplicity[self.incoming]
        return sum_in_bags(self.centre[self.incoming], grad, self.incoming_offsets, weight)

    def sum_incoming(self, values: torch.Tensor) -> torch.Tensor:
        """Sum edge values [E, C] over the edges that end in each node: [N, C]."""
        return sum_in_bags(self.incoming, values, self.incoming_offsets, None)


def _chunks(batch: GraphBatch) -> tuple[tuple[int, int, int, int], ...]:
    """Cut a batch between slabs into pieces of about `EDGES_PER_CHUNK` edges."""
    if not len(batch):
        return ()
    last_node = batch.n_nodes.cumsum(0)
    if batch.numbers.device.type != "cpu":
        return ((0, len(batch.numbers), 0, len(batch.neighbour)),)
    last_edge = batch.offsets[last_node]
    # the slab in which each multiple of the chunk size falls closes its chunk
    marks = torch.arange(EDGES_PER_CHUNK, max(int(last_edge[-1]), EDGES_PER_CHUNK), EDGES_PER_CHUNK)
    closing = torch.unique(torch.searchsorted(last_edge, marks))
    nodes = [0, *last_node[closing].tolist()]
    edges = [0, *last_edge[closing].tolist()]
    if nodes[-1] != len(batch.numbers):
        nodes.append(len(batch.numbers))
        edges.append(len(batch.neighbour))
    return tuple(zip(nodes[:-1], nodes[1:], edges[:-1], edges[1:], strict=True))


def sum_in_bags(
    index: torch.Tensor, table: torch.Tensor, offsets: torch.Tensor, weight: torch.Tensor | None
) -> torch.Tensor:
    """Sum the rows `index` of a table, times their weights, in bags that begin at `offsets`."""
    if not len(index):
        return table.new_zeros(len(offsets) - 1, table.shape[1])
    # the function below functional.embedding_bag, which would check its arguments again for every chunk
    if weight is not None:
        weight = weight.to(table.dtype)
    return torch.embedding_bag(table, index, offsets, False, 0, False, weight, True)[0]


class GatedSum(torch.autograd.Function):
    """Gate times message, summed over the edges of each node (the sum of eq. (2) of Shi et al. 2024).

    out_i = sum_(e of i) m_e sigmoid(f_e) softplus(s_e),  (f_e, s_e) = p_i + q_j + u_e W

    with p, q [N, 2 C] the centre's and the neighbour's part of the linear map, u [E, K] what is known of the
    edge, W [K, 2 C] and m_e the edge's multiplicity. Returns [N, C].
    """

    @staticmethod
    def forward(
        ctx: Any, p: torch.Tensor, q: torch.Tensor, w: torch.Tensor, u: torch.Tensor, edge_index: EdgeIndex
    ) -> torch.Tensor:
        """Keep only the inputs."""
        atoms = torch.cat([p, q])
        ctx.save_for_backward(atoms, w, u)
        ctx.edge_index = edge_index
        return gated_sum(atoms, w, u, edge_index)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Send the gradient to atoms and to W."""
        atoms, w, u = ctx.saved_tensors
        d_atoms, dw = gated_sum_backward(grads[0], atoms, w, u, ctx.edge_index)
        n = len(atoms) // 2
        return d_atoms[:n], d_atoms[n:], dw, None, None


def gated_sum(atoms: torch.Tensor, w: torch.Tensor, u: torch.Tensor, edge_index: EdgeIndex) -> torch.Tensor:
    """Walk over the chunks: the sum in `GatedSum` with p and q stacked in atoms [2 N, 2 C]; [N, C]."""
    if (kernels := _kernels_for(atoms)) is not None:
        summed: torch.Tensor = kernels.gated_sum(atoms, w, u, edge_index, edge_threads())
        return summed
    n_channels = w.shape[1] // 2
    out = atoms.new_empty(len(atoms) // 2, n_channels)
    for n0, n1, e0, e1 in edge_index.chunks:
        z = _linear(atoms, w, u, edge_index, e0, e1)
        message, _ = _softplus(z[:, n_channels:])
        message.mul_(z[:, :n_channels].sigmoid())
        weight = None if edge_index.multiplicity is None else edge_index.multiplicity[e0:e1]
        index = torch.arange(e1 - e0, device=z.device)
        out[n0:n1] = sum_in_bags(index, message, edge_index.offsets[n0 : n1 + 1] - e0, weight)
    return out


def gated_sum_backward(
    grad: torch.Tensor, atoms: torch.Tensor, w: torch.Tensor, u: torch.Tensor, edge_index: EdgeIndex
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute each chunk again; gradients of atoms [2 N, 2 C] and w [K, 2 C] from that of the sum [N, C]."""
    if (kernels := _kernels_for(atoms)) is not None:
        gradients: tuple[torch.Tensor, torch.Tensor] = kernels.gated_sum_backward(
            grad, atoms, w, u, edge_index, edge_threads()
        )
        return gradients
    n_channels, n_nodes = w.shape[1] // 2, len(atoms) // 2
    d_atoms, dw = torch.empty_like(atoms), torch.zeros_like(w)
    for n0, n1, e0, e1 in edge_index.chunks:
        z = _linear(atoms, w, u, edge_index, e0, e1)
        gate = z[:, :n_channels].sigmoid()
        message, slope = _softplus(z[:, n_channels:])
        index = torch.arange(e1 - e0 + 1, device=z.device)
        weight = None if edge_index.multiplicity is None else edge_index.multiplicity[e0:e1]
        upstream = sum_in_bags(
            edge_index.centre[e0:e1], grad, index, weight
        )  # gathered and weighted in one step
        upstream.mul_(gate)
        torch.mul(upstream, slope, out=z[:, n_channels:])
        upstream.mul_(message)
        torch.addcmul(upstream, upstream, gate, value=-1, out=z[:, :n_channels])  # gate (1 - gate)
        d_atoms[n0:n1] = sum_in_bags(index[:-1], z, edge_index.offsets[n0 : n1 + 1] - e0, None)
        d_atoms[n_nodes + n0 : n_nodes + n1] = sum_in_bags(
            edge_index.incoming[e0:e1] - e0, z, edge_index.incoming_offsets[n0 : n1 + 1] - e0, None
        )
        dw.addmm_(u[e0:e1].t(), z)
    return d_atoms, dw


def _kernels_for(atoms: torch.Tensor) -> ModuleType | None:
    """Return `model.network.numba_kernels` where it serves: single precision on a processor."""
    return edge_kernels() if atoms.device.type == "cpu" and atoms.dtype == torch.float32 else None


@cache
def edge_kernels() -> ModuleType | None:
    """Return `model.network.numba_kernels`; None, for torch to do it, without Numba or if it is off."""
    try:
        import numba

        from model.network import numba_kernels as edge_kernels
    except ImportError:
        return None
    return None if getattr(numba.config, "DISABLE_JIT", False) else edge_kernels


def _softplus(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Softplus and its slope: x - log(sigmoid(x)) and sigmoid(x); half the time of the library's softplus.

    Below -80 sigmoid would become zero; both results are zero there to single precision. Clamps x in place.
    """
    slope = x.clamp_(min=-80.0).sigmoid()
    return x - slope.log(), slope


def _linear(
    atoms: torch.Tensor, w: torch.Tensor, u: torch.Tensor, edge_index: EdgeIndex, e0: int, e1: int
) -> torch.Tensor:
    """Return p_i + q_j + u W of the edges e0 to e1: [e1 - e0, 2 C]."""
    starts = torch.arange(0, 2 * (e1 - e0) + 1, 2, device=atoms.device)
    return sum_in_bags(edge_index.pairs[2 * e0 : 2 * e1], atoms, starts, None).addmm_(u[e0:e1], w)


class SlabSum(torch.autograd.Function):
    """Sum node values over each slab: [N, C] to [B, C]; nodes are sorted by slab."""

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, slab_index: torch.Tensor, n_nodes: torch.Tensor
    ) -> torch.Tensor:
        """Add in the order of nodes, the same on every run."""
        ctx.slab_index = slab_index
        index = torch.arange(len(values), device=values.device)
        return sum_in_bags(index, values, functional.pad(n_nodes.cumsum(0), (1, 0)), None)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Hand each slab's gradient to its nodes."""
        return grads[0].index_select(0, ctx.slab_index), None, None


@dataclass(frozen=True, eq=False)
class EdgeMoments:
    """Sums over the edges of a batch that the first batch norm of every convolution needs.

    Means and numbers of edges are of the whole batch, also where several processes share it.
    """

    u: torch.Tensor  # [E, K], edge features
    mean: torch.Tensor  # [K], their mean over edges
    covariance: torch.Tensor  # [K, K], theirs over edges: what this process's edges add to it
    # outgoing, incoming: [N, K], sum over a node's edges (that begin, that end in it) of weight (u - mean)
    outgoing: torch.Tensor
    incoming: torch.Tensor
    # degree_out, degree_in: [N], number of edges of the slab that begin at, end in the atoms of a node
    degree_out: torch.Tensor
    degree_in: torch.Tensor
    total: torch.Tensor  # number of edges, at least one

    @classmethod
    def of(cls, u: torch.Tensor, edge_index: EdgeIndex) -> EdgeMoments:
        """Sum once per batch; all convolutions share the edge features."""
        weight = edge_index.weight
        exact = u.to(edge_index.weight.dtype)
        n_edges, sums = total(weight.sum(), weight @ exact)
        n_edges = n_edges.clamp(min=1)  # crystals of atoms with one bond each have no angles
        mean = sums / n_edges
        centred = exact - mean
        weighted = centred * weight[:, None]
        return cls(
            u=u,
            mean=mean,
            covariance=centred.t() @ weighted / n_edges,
            outgoing=edge_index.sum_outgoing(weighted),
            incoming=edge_index.sum_incoming(weighted),
            degree_out=edge_index.sum_outgoing(weight[:, None])[:, 0],
            degree_in=edge_index.sum_incoming(weight[:, None])[:, 0],
            total=n_edges,
        )


class NormedGatedSum(torch.autograd.Function):
    """Batch norm and gated sum of the edges in training: what stands in the sum of eq. (2) of Shi et al.

    The values of edge e are linear in what is known of it, x_e = [v_i, v_j, u_e] with D = 2 C + K numbers,

        z_e = s X (x_e - mean x) + beta,   s = gamma / sqrt(variance + eps),   variance = diag(X cov(x) X')

    for each channel, X [2 C, D] being the three parts of the linear map side by side. The covariance of x
    over the T edges of the slabs follows from nodes: v_i counts as often as edges begin at node i, v_j as
    often as they end there, and the block of both from the sum of the neighbours' v around each node.

    Everything is written out by hand, since autograd would keep and pass a dozen more [N, 2 C] tensors per
    layer, as costly as the edges themselves when graphs are folded. With M = X' diag(d L / d variance) X,

        d L / d x_e = 2 M (x_e - mean x) / T

    beside what comes through z itself; summed over the edges of a node these are products of [N, C] tensors
    with blocks of M. Nothing of it passes through the mean of x, as it adds up to zero over the edges.

    Where several processes share a batch, mean and covariance of x are those of all edges, and so are the
    sums over edges that reach v through them; gradients of the maps are of this process's edges.

    Returns the sum [N, C], and mean and variance [2 C] without gradient, for the running statistics.
    """

    @staticmethod
    def forward(
        ctx: Any,
        v: torch.Tensor,
        centre: torch.Tensor,
        neighbour: torch.Tensor,
        w: torch.Tensor,
        gamma: torch.Tensor,
        beta: torch.Tensor,
        edges: EdgeMoments,
        edge_index: EdgeIndex,
        eps: float,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Shapes: v [N, C]; centre, neighbour [2 C, C]; w [K, 2 C]; gamma, beta [2 C]."""
        n = len(v)
        v_mean, v_mean_of_neighbours = (
            sums / edges.total for sums in total(edges.degree_out @ v, edges.degree_in @ v)
        )
        begins, ends = v - v_mean, v - v_mean_of_neighbours  # [N, C], centred for either end of the edges
        around = edge_index.sum_neighbours(ends).mul_(edge_index.node_weight[:, None])
        linear = torch.cat([centre, neighbour, w.t()], dim=1)  # X
        (covariance,) = total(_covariance(begins, ends, around, edges))
        spread = linear @ covariance  # [2 C, D]
        variance = (spread * linear).sum(1).clamp_(min=0)
        inverse = torch.rsqrt(variance + eps)
        scale = gamma * inverse
        u_part = edges.mean @ w
        atoms = v.new_empty(2 * n, len(gamma))
        torch.addmm(beta - u_part * scale, begins, (centre * scale[:, None]).t(), out=atoms[:n])
        torch.mm(ends, (neighbour * scale[:, None]).t(), out=atoms[n:])
        kind = edges.u.dtype  # bfloat16 on a GPU, if so chosen
        out = gated_sum(atoms.to(kind), (w * scale).to(kind), edges.u, edge_index).to(v.dtype)
        ctx.save_for_backward(begins, ends, around, linear, w, gamma, atoms, spread, inverse)
        ctx.edges, ctx.edge_index = edges, edge_index
        mean = centre @ v_mean + neighbour @ v_mean_of_neighbours + u_part
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Compute the edges again."""
        begins, ends, around, linear, w, gamma, atoms, spread, inverse = ctx.saved_tensors
        edges: EdgeMoments = ctx.edges
        edge_index: EdgeIndex = ctx.edge_index
        n, n_channels = begins.shape
        centre, neighbour = linear[:, :n_channels], linear[:, n_channels : 2 * n_channels]
        scale = gamma * inverse
        kind = edges.u.dtype
        upstream = grads[0].contiguous().to(kind)
        d_atoms, d_w = (
            part.to(begins.dtype)
            for part in gated_sum_backward(
                upstream, atoms.to(kind), (w * scale).to(kind), edges.u, edge_index
            )
        )
        d_p, d_q = d_atoms[:n], d_atoms[n:]
        d_beta = d_p.sum(0)  # every edge counts once in d_p and once in d_q: both sums are equal
        d_linear = torch.cat(
            [d_p.t() @ begins, d_q.t() @ ends, (d_w - torch.outer(edges.mean, d_beta)).t()], 1
        )
        d_scale = (d_linear * linear).sum(1)
        pull = d_scale * gamma * (-0.5 * inverse**3)  # d L / d variance
        d_linear.mul_(scale[:, None]).addcmul_(spread, pull[:, None], value=2)

        # through z itself, and through the means taken from v: they are in the edges of every process
        all_d_beta, all_pull = total(d_beta, pull)
        through = all_d_beta * scale
        d_v = torch.mm(d_p, centre * scale[:, None]).addmm_(d_q, neighbour * scale[:, None])
        d_v.addr_(edges.degree_out, (through @ centre) / -edges.total)
        d_v.addr_(edges.degree_in, (through @ neighbour) / -edges.total)
        # through the variance
        m = linear.t() @ (linear * (all_pull * (2 / edges.total))[:, None])  # 2 M / T
        of_begins, of_ends, of_u = torch.split(m, [n_channels, n_channels, len(w)])
        back = edge_index.sum_neighbours_backward(begins * edge_index.node_weight[:, None])
        left, right = slice(n_channels), slice(n_channels, 2 * n_channels)
        d_v.addmm_(begins * edges.degree_out[:, None], of_begins[:, left]).addmm_(around, of_ends[:, left])
        d_v.addmm_(ends * edges.degree_in[:, None], of_ends[:, right]).addmm_(back, of_begins[:, right])
        d_v.addmm_(edges.outgoing, of_u[:, left]).addmm_(edges.incoming, of_u[:, right])
        d_centre, d_neighbour, d_u = torch.split(d_linear, [n_channels, n_channels, len(w)], dim=1)
        return d_v, d_centre, d_neighbour, d_u.t(), d_scale * inverse, d_beta, None, None, None


def _covariance(
    begins: torch.Tensor, ends: torch.Tensor, around: torch.Tensor, edges: EdgeMoments
) -> torch.Tensor:
    """Covariance of [v_i, v_j, u] over edges, [D, D]: what the edges of this process add to it.

    begins, ends: [N, C], v less its mean over edges, of the node that an edge begins at, that it ends in;
    around: [N, C], sum of `ends` over the edges of the slab that begin at the atoms of a node.
    """
    of_begins = begins.t() @ torch.cat(
        [begins * edges.degree_out[:, None], around, edges.outgoing], dim=1
    )  # [C, D]
    of_ends = ends.t() @ torch.cat([ends * edges.degree_in[:, None], edges.incoming], dim=1)  # [C, C + K]
    n_channels = begins.shape[1]
    begins_ends, begins_u = of_begins[:, n_channels : 2 * n_channels], of_begins[:, 2 * n_channels :]
    ends_u = of_ends[:, n_channels:]
    rows = [
        of_begins,
        torch.cat([begins_ends.t(), of_ends], dim=1),
        torch.cat([begins_u.t(), ends_u.t(), edges.covariance * edges.total], dim=1),
    ]
    return torch.cat(rows) / edges.total


_EDGE_THREADS: list[int] = []  # threads there were outside of `repeatable`, which may be nested


def edge_threads() -> int:
    """Return in how many threads sums over edges are done."""
    return _EDGE_THREADS[0] if _EDGE_THREADS else torch.get_num_threads()


@contextmanager
def repeatable() -> Iterator[None]:
    """Keep torch and BLAS to one thread each."""
    before = torch.get_num_threads()
    with ExitStack() as stack:
        with suppress(ImportError):  # of scikit-learn, without which no Gaussian process is fitted
            stack.enter_context(import_module("threadpoolctl").threadpool_limits(1, "blas"))
        _EDGE_THREADS.append(before)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            _EDGE_THREADS.pop()
