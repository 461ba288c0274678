"""The edge part of a gated convolution for processors: each edge in one go, compiled by Numba.

The same sums as `model.network.convolution` writes with torch, which reads and writes every edge's 2 C
numbers a dozen times; here they stay in the processor's nearest cache from the first to the last step, and
functions of distance that are zero to single precision (16 of the 24 Gaussians) are left out. Four times as
fast forward, three times backward. Single precision only; differences from torch are of its rounding.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from model.network.compiled import FAST_MATH, compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Integers = NDArray[np.int64]

_F = np.float32
_FLAGS = FAST_MATH

_NEGLIGIBLE = _F(1e-7)  # edge features below it do not change a sum of numbers about one in single precision

_LOG2_E, _HALF, _ONE, _LARGEST, _BIAS, _MANTISSA = _F(1 / np.log(2)), _F(0.5), _F(1), _F(87), 127, 23


def _polynomial(function: Callable[[Any], Any], begin: float, end: float, degree: int) -> tuple[Any, ...]:
    """Coefficients of the polynomial through a function's values at the Chebyshev points, lowest first."""
    fit = np.polynomial.Chebyshev.interpolate(function, degree, domain=[begin, end])
    return tuple(_F(value) for value in fit.convert(kind=np.polynomial.Polynomial).coef)


# 2^r and log(1 + t) / t; before rounding, their relative errors are 3e-9 and 5e-9
_P0, _P1, _P2, _P3, _P4, _P5, _P6 = _polynomial(np.exp2, -0.5, 0.5, 6)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8, _L9 = _polynomial(lambda t: np.log1p(t) / t, 1e-9, 1.0, 9)


@intrinsic
def _float_of_bits(context: Any, bits: Any) -> Any:
    """Read 32 bits as a float."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(inline="always", fastmath=_FLAGS)
def _decay(x: Any) -> Any:
    """exp(-|x|) as 2^n 2^r with r from -1/2 to 1/2."""
    size = abs(x)
    power = -(size if size < _LARGEST else _LARGEST) * _LOG2_E
    n = np.int32(power - _HALF)
    r = power - _F(n)
    part = _P0 + r * (_P1 + r * (_P2 + r * (_P3 + r * (_P4 + r * (_P5 + r * _P6)))))
    bits = np.int32((n + np.int32(_BIAS)) << np.int32(_MANTISSA))
    return part * _float_of_bits(bits)  # type: ignore[call-arg]  # Numba gives the first argument


@njit(inline="always", fastmath=_FLAGS)
def _softplus(x: Any, decay: Any) -> Any:
    """max(x, 0) + log(1 + exp(-|x|))."""
    high = _L5 + decay * (_L6 + decay * (_L7 + decay * (_L8 + decay * _L9)))
    series = _L0 + decay * (_L1 + decay * (_L2 + decay * (_L3 + decay * (_L4 + decay * high))))
    return _HALF * (x + abs(x)) + decay * series


@njit(inline="always", fastmath=_FLAGS)
def _set_edge(z: Any, atoms: Any, w: Any, u: Any, centre: Any, neighbour: Any, edge: Any) -> None:
    """Z = p of the centre + q of the neighbour + u W."""
    for c in range(len(z)):
        z[c] = atoms[centre, c] + atoms[neighbour, c]
    whole = len(w) - len(w) % 4
    for k in range(0, whole, 4):
        u0, u1, u2, u3 = u[edge, k], u[edge, k + 1], u[edge, k + 2], u[edge, k + 3]
        if abs(u0) + abs(u1) + abs(u2) + abs(u3) > _NEGLIGIBLE:
            for c in range(len(z)):
                z[c] += (u0 * w[k, c] + u1 * w[k + 1, c]) + (u2 * w[k + 2, c] + u3 * w[k + 3, c])
    for k in range(whole, len(w)):
        for c in range(len(z)):
            z[c] += u[edge, k] * w[k, c]


@njit(inline="always", fastmath=_FLAGS)
def _add_outer(dw: Any, z: Any, u: Any, edge: Any) -> None:
    """Add u z' to dw."""
    for k in range(len(dw)):
        feature = u[edge, k]
        if abs(feature) > _NEGLIGIBLE:
            for c in range(len(z)):
                dw[k, c] += feature * z[c]


def _forward(
    out: Floats,
    atoms: Floats,
    w: Floats,
    u: Floats,
    neighbour: Integers,
    offsets: Integers,
    multiplicity: Floats,
    begin: int,
    end: int,
) -> None:
    """Fill the rows `begin` to `end` of out [N, C]."""
    n_nodes, n_channels = len(out), out.shape[1]
    z, total = np.empty(2 * n_channels, _F), np.empty(n_channels, _F)
    for i in range(begin, end):
        total[:] = _F(0)
        for edge in range(offsets[i], offsets[i + 1]):
            _set_edge(z, atoms, w, u, i, n_nodes + neighbour[edge], edge)
            weight = multiplicity[edge]
            for c in range(n_channels):
                f, s = z[c], z[n_channels + c]
                decay = _decay(f)
                gate = (_ONE if f >= 0 else decay) / (_ONE + decay)
                total[c] += weight * gate * _softplus(s, _decay(s))
        out[i] = total


def _backward(
    d_atoms: Floats,
    dw: Floats,
    grad: Floats,
    atoms: Floats,
    w: Floats,
    u: Floats,
    neighbour: Integers,
    offsets: Integers,
    multiplicity: Floats,
    begin: int,
    end: int,
) -> None:
    """Fill the rows of nodes `begin` to `end` in both halves of d_atoms [2 N, 2 C]; add to dw [K, 2 C]."""
    n_nodes, n_channels = grad.shape
    z = np.empty(2 * n_channels, _F)
    d_atoms[begin:end] = _F(0)
    d_atoms[n_nodes + begin : n_nodes + end] = _F(0)
    for i in range(begin, end):
        for edge in range(offsets[i], offsets[i + 1]):
            j = n_nodes + neighbour[edge]
            _set_edge(z, atoms, w, u, i, j, edge)
            weight = multiplicity[edge]
            for c in range(n_channels):
                f, s = z[c], z[n_channels + c]
                decay, decay_s = _decay(f), _decay(s)
                inverse, inverse_s = _ONE / (_ONE + decay), _ONE / (_ONE + decay_s)
                gate = inverse if f >= 0 else decay * inverse
                rest = decay * inverse if f >= 0 else inverse  # 1 - gate
                slope = inverse_s if s >= 0 else decay_s * inverse_s
                upstream = weight * grad[i, c] * gate
                z[n_channels + c] = upstream * slope
                z[c] = upstream * rest * _softplus(s, decay_s)
            for c in range(2 * n_channels):
                d_atoms[i, c] += z[c]
            for c in range(2 * n_channels):
                d_atoms[j, c] += z[c]
            _add_outer(dw, z, u, edge)


def gated_sum(
    atoms: torch.Tensor, w: torch.Tensor, u: torch.Tensor, edges: Any, threads: int
) -> torch.Tensor:
    """Return the sum in `model.network.convolution.GatedSum`: [N, C].

    Arguments as in `model.network.convolution.gated_sum`, in single precision and in the memory of a
    processor; `edges` is its `EdgeIndex`, whose chunks are divided among `threads`.
    """
    out = atoms.new_empty(len(atoms) // 2, w.shape[1] // 2)
    given = [*map(_array, (atoms, w, u)), *_edges(u, edges)]
    forward, rows = compiled(_forward), out.numpy()
    _for_each_chunk(edges.chunks, threads, lambda chunk, begin, end: forward(rows, *given, begin, end))
    return out


def gated_sum_backward(
    grad: torch.Tensor, atoms: torch.Tensor, w: torch.Tensor, u: torch.Tensor, edges: Any, threads: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of atoms [2 N, 2 C] and w [K, 2 C] from that of the sum [N, C]."""
    d_atoms = atoms.new_empty(atoms.shape)
    dw = w.new_zeros(len(edges.chunks), *w.shape)  # added in the order of chunks: the same with any threads
    given = [*map(_array, (grad, atoms, w, u)), *_edges(u, edges)]
    backward, rows, parts = compiled(_backward), d_atoms.numpy(), dw.numpy()

    def work(chunk: int, begin: int, end: int) -> None:
        backward(rows, parts[chunk], *given, begin, end)

    _for_each_chunk(edges.chunks, threads, work)
    return d_atoms, dw.sum(0)


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.detach().contiguous().numpy()


def _edges(u: torch.Tensor, edges: Any) -> list[NDArray[Any]]:
    """Neighbours, offsets and multiplicities as arrays."""
    multiplicity = u.new_ones(len(u)) if edges.multiplicity is None else edges.multiplicity
    return [*map(_array, (edges.neighbour, edges.offsets, multiplicity))]


def _for_each_chunk(
    chunks: tuple[tuple[int, int, int, int], ...], threads: int, work: Callable[[int, int, int], None]
) -> None:
    """Do work(number, first node, end node) for all chunks."""
    spans = [(k, begin, end) for k, (begin, end, _, _) in enumerate(chunks)]
    threads = min(threads, len(spans))
    if threads <= 1:
        for span in spans:
            work(*span)
    else:
        list(_pool(threads).map(lambda span: work(*span), spans))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="edges")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
