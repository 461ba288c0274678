"""Batch norm over all edges of a batch without ever forming the edges' values.

A value of an edge is a sum of three parts, p_i + q_j + u_e W, so its mean and variance over edges follow from
sums over nodes, and the norm is a scale and a shift of p, q and W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from model.edges import gated_sum, gated_sum_backward

if TYPE_CHECKING:
    from model.edges import Wiring


@dataclass(frozen=True, eq=False)
class EdgeMoments:
    """Sums over the edges of a batch that the first batch norm of every convolution needs.

    Attributes
    ----------
    u
        [E, K], edge features.
    mean
        [K], their mean over edges.
    covariance
        [K, K], theirs over edges.
    outgoing, incoming
        [N, K], sum over a node's edges (that begin, that end in it) of weight (u - mean).
    degree_out, degree_in
        [N], number of edges of the slab that begin at, end in the atoms of a node.
    total
        Number of edges.
    """

    u: torch.Tensor
    mean: torch.Tensor
    covariance: torch.Tensor
    outgoing: torch.Tensor
    incoming: torch.Tensor
    degree_out: torch.Tensor
    degree_in: torch.Tensor
    total: torch.Tensor

    @classmethod
    def of(cls, u: torch.Tensor, wiring: Wiring) -> EdgeMoments:
        """Sum once per batch; all convolutions share the edge features."""
        weight = wiring.weight
        exact = u.to(wiring.weight.dtype)
        total = weight.sum()
        mean = (weight @ exact) / total
        centred = exact - mean
        weighted = centred * weight[:, None]
        return cls(
            u=u,
            mean=mean,
            covariance=centred.t() @ weighted / total,
            outgoing=wiring.sum_outgoing(weighted),
            incoming=wiring.sum_incoming(weighted),
            degree_out=wiring.sum_outgoing(weight[:, None])[:, 0],
            degree_in=wiring.sum_incoming(weight[:, None])[:, 0],
            total=total,
        )


class NormedGatedSum(torch.autograd.Function):
    """Batch norm and gated sum of the edges in training: what stands in the sum of eq. (2) of Shi et al.

    With a_i = W_c v_i, b_j = W_n v_j and c_e = u_e W the values of edge e are

        z_e = s (a_i + b_j + c_e - mean) + beta,   s = gamma / sqrt(variance + eps)

    With all three parts centred (sum_e a_i = sum_e b_j = sum_e c_e = 0, sums over the T edges of the slabs),

        T variance = sum_i (o_i a_i^2 + 2 a_i m_i B_i) + sum_j n_j b_j^2
                     + 2 sum_k W_k (U_k + V_k) + T W' cov W

    for each channel: o and n are the numbers of edges that begin and end in a node, m its atoms, B_i the sum
    of b over the neighbours of one of its atoms, U_k = sum_i a_i (sum of u_k over its edges), V_k the same
    for b and the edges that end in j. Because the parts are centred, no gradient of the variance passes
    through their means. Everything is written out by hand, since autograd would keep and pass a dozen
    more [N, 2 C] tensors per layer, as costly as the edges themselves when graphs are folded.

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
        wiring: Wiring,
        eps: float,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Shapes: v [N, C]; centre, neighbour [2 C, C]; w [K, 2 C]; gamma, beta [2 C]."""
        n, total = len(v), edges.total
        atoms = v.new_empty(2 * n, len(gamma))
        a, b = atoms[:n], atoms[n:]
        torch.mm(v, centre.t(), out=a)
        torch.mm(v, neighbour.t(), out=b)
        a_mean, b_mean = (edges.degree_out @ a) / total, (edges.degree_in @ b) / total
        a.sub_(a_mean)
        b.sub_(b_mean)
        u_part = edges.mean @ w
        around = wiring.sum_neighbours(b).mul_(wiring.node_weight[:, None])  # m_i B_i
        crossed = edges.outgoing.t() @ a + edges.incoming.t() @ b  # U + V: [K, 2 C]
        squares = torch.mul(around, 2).addcmul_(a, edges.degree_out[:, None]).mul_(a).sum(0)
        squares += torch.mul(b, edges.degree_in[:, None]).mul_(b).sum(0)
        variance = (squares + 2 * (crossed * w).sum(0)) / total + (w * (edges.covariance @ w)).sum(0)
        variance.clamp_(min=0)
        inverse = torch.rsqrt(variance + eps)
        scale = gamma * inverse
        normed = _scaled(atoms, scale, beta - u_part * scale)
        ctx.save_for_backward(v, centre, neighbour, w, gamma, beta, atoms, around, crossed, u_part, inverse)
        ctx.edges, ctx.wiring = edges, wiring
        kind = edges.u.dtype  # bfloat16 on a GPU, if so chosen
        out = gated_sum(normed.to(kind), (w * scale).to(kind), edges.u, wiring).to(v.dtype)
        mean = a_mean + b_mean + u_part
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Compute the edges again."""
        v, centre, neighbour, w, gamma, beta, atoms, around, crossed, u_part, inverse = ctx.saved_tensors
        edges: EdgeMoments = ctx.edges
        wiring: Wiring = ctx.wiring
        n, total = len(v), edges.total
        scale = gamma * inverse
        kind = edges.u.dtype
        normed = _scaled(atoms, scale, beta - u_part * scale).to(kind)
        d_normed, d_scaled_w = gated_sum_backward(
            grads[0].contiguous().to(kind), normed, (w * scale).to(kind), edges.u, wiring
        )
        d_normed, d_scaled_w = d_normed.to(v.dtype), d_scaled_w.to(v.dtype)
        del normed
        a, b = atoms[:n], atoms[n:]
        d_a, d_b = d_normed[:n], d_normed[n:]
        d_beta = d_a.sum(0)  # every edge counts once in d_a and once in d_b: both sums are equal
        d_scale = torch.mul(d_normed, atoms).sum(0) + (d_scaled_w * w).sum(0) - d_beta * u_part
        # of the variance, times 2 / T
        pull = d_scale * gamma * (-0.5 * inverse**3) * (2 / total)
        through_mean = -(d_beta * scale) / total

        # d of the variance / d a = 2 / T (o a + m B + sum of u over the edges W), and the same for b
        of_a = torch.addmm(around, edges.outgoing, w).addcmul_(a, edges.degree_out[:, None]).mul_(pull)
        of_a.addcmul_(d_a, scale).addr_(edges.degree_out, through_mean)
        back = wiring.sum_neighbours_backward(a * wiring.node_weight[:, None])
        of_b = back.addmm_(edges.incoming, w).addcmul_(b, edges.degree_in[:, None]).mul_(pull)
        of_b.addcmul_(d_b, scale).addr_(edges.degree_in, through_mean)
        d_w = d_scaled_w * scale - torch.outer(edges.mean, d_beta * scale)
        d_w += pull * (crossed + total * (edges.covariance @ w))
        d_v = (of_a @ centre).addmm_(of_b, neighbour)
        return d_v, of_a.t() @ v, of_b.t() @ v, d_w, d_scale * inverse, d_beta, None, None, None


def _scaled(atoms: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Scale both parts [2 N, 2 C] and shift the centres', the first half."""
    scaled = atoms * scale
    scaled[: len(atoms) // 2] += shift
    return scaled
