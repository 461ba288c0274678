"""The edge part of a gated convolution as one step that keeps no edge-wide tensor.

Autograd would keep six [E, C] tensors per layer (gathered atoms, both activations, their product, ...).
Here the forward pass walks over chunks of whole slabs small enough for the processor's cache and keeps
nothing; the backward pass computes the chunk again. On a GPU there is one chunk. On a processor
`model.edge_kernels` does the same several times as fast where Numba is installed.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from model.wiring import sum_in_bags

if TYPE_CHECKING:
    from types import ModuleType

    from model.wiring import Wiring


class GatedSum(torch.autograd.Function):
    """Gate times message, summed over the edges of each node (the sum of eq. (2) of Shi et al. 2024).

    out_i = sum_(e of i) m_e sigmoid(f_e) softplus(s_e),  (f_e, s_e) = p_i + q_j + u_e W

    with p, q [N, 2 C] the centre's and the neighbour's part of the linear map, u [E, K] what is known of the
    edge, W [K, 2 C] and m_e the edge's multiplicity. Returns [N, C].
    """

    @staticmethod
    def forward(
        ctx: Any, p: torch.Tensor, q: torch.Tensor, w: torch.Tensor, u: torch.Tensor, wiring: Wiring
    ) -> torch.Tensor:
        """Keep only the inputs."""
        atoms = torch.cat([p, q])
        ctx.save_for_backward(atoms, w, u)
        ctx.wiring = wiring
        return gated_sum(atoms, w, u, wiring)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Send the gradient to atoms and to W."""
        atoms, w, u = ctx.saved_tensors
        d_atoms, dw = gated_sum_backward(grads[0], atoms, w, u, ctx.wiring)
        n = len(atoms) // 2
        return d_atoms[:n], d_atoms[n:], dw, None, None


def gated_sum(atoms: torch.Tensor, w: torch.Tensor, u: torch.Tensor, wiring: Wiring) -> torch.Tensor:
    """Walk over the chunks: the sum in `GatedSum` with p and q stacked in atoms [2 N, 2 C]; [N, C]."""
    if (kernels := _kernels_for(atoms)) is not None:
        summed: torch.Tensor = kernels.gated_sum(atoms, w, u, wiring)
        return summed
    n_channels = w.shape[1] // 2
    out = atoms.new_empty(len(atoms) // 2, n_channels)
    for n0, n1, e0, e1 in wiring.chunks:
        z = _linear(atoms, w, u, wiring, e0, e1)
        message, _ = _softplus(z[:, n_channels:])
        message.mul_(z[:, :n_channels].sigmoid())
        weight = None if wiring.multiplicity is None else wiring.multiplicity[e0:e1]
        index = torch.arange(e1 - e0, device=z.device)
        out[n0:n1] = sum_in_bags(index, message, wiring.offsets[n0 : n1 + 1] - e0, weight)
    return out


def gated_sum_backward(
    grad: torch.Tensor, atoms: torch.Tensor, w: torch.Tensor, u: torch.Tensor, wiring: Wiring
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute each chunk again; gradients of atoms [2 N, 2 C] and w [K, 2 C] from that of the sum [N, C]."""
    if (kernels := _kernels_for(atoms)) is not None:
        gradients: tuple[torch.Tensor, torch.Tensor] = kernels.gated_sum_backward(grad, atoms, w, u, wiring)
        return gradients
    n_channels, n_nodes = w.shape[1] // 2, len(atoms) // 2
    d_atoms, dw = torch.empty_like(atoms), torch.zeros_like(w)
    for n0, n1, e0, e1 in wiring.chunks:
        z = _linear(atoms, w, u, wiring, e0, e1)
        gate = z[:, :n_channels].sigmoid()
        message, slope = _softplus(z[:, n_channels:])
        index = torch.arange(e1 - e0 + 1, device=z.device)
        weight = None if wiring.multiplicity is None else wiring.multiplicity[e0:e1]
        upstream = sum_in_bags(wiring.centre[e0:e1], grad, index, weight)  # gathered and weighted in one step
        upstream.mul_(gate)
        torch.mul(upstream, slope, out=z[:, n_channels:])
        upstream.mul_(message)
        torch.addcmul(upstream, upstream, gate, value=-1, out=z[:, :n_channels])  # gate (1 - gate)
        d_atoms[n0:n1] = sum_in_bags(index[:-1], z, wiring.offsets[n0 : n1 + 1] - e0, None)
        d_atoms[n_nodes + n0 : n_nodes + n1] = sum_in_bags(
            wiring.incoming[e0:e1] - e0, z, wiring.incoming_offsets[n0 : n1 + 1] - e0, None
        )
        dw.addmm_(u[e0:e1].t(), z)
    return d_atoms, dw


def _kernels_for(atoms: torch.Tensor) -> ModuleType | None:
    """Return `model.edge_kernels` where it serves: single precision on a processor."""
    return edge_kernels() if atoms.device.type == "cpu" and atoms.dtype == torch.float32 else None


@cache
def edge_kernels() -> ModuleType | None:
    """Return `model.edge_kernels`; None without Numba or with ``NUMBA_DISABLE_JIT``: torch does it then."""
    try:
        import numba

        from model import edge_kernels
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
    atoms: torch.Tensor, w: torch.Tensor, u: torch.Tensor, wiring: Wiring, e0: int, e1: int
) -> torch.Tensor:
    """Return p_i + q_j + u W of the edges e0 to e1: [e1 - e0, 2 C]."""
    starts = torch.arange(0, 2 * (e1 - e0) + 1, 2, device=atoms.device)
    return sum_in_bags(wiring.pairs[2 * e0 : 2 * e1], atoms, starts, None).addmm_(u[e0:e1], w)


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
