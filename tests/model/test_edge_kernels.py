"""The compiled edge steps against torch's, which tests/model/test_network.py checks by finite differences."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch

from model.graphs.batch import collate
from model.network import convolution as edges
from model.network.convolution import EdgeIndex, GatedSum, gated_sum, gated_sum_backward
from tests.model.tiny import tiny_graph

N_SLABS, CHANNELS = 12, 20


def inputs(n_features: int, *, multiple: bool, size: float = 2.0) -> tuple[torch.Tensor, ...]:
    """Return an edge index and the float32 tensors grad, atoms, w and u."""
    torch.manual_seed(n_features)
    batch = collate([tiny_graph(seed, multiple=multiple) for seed in range(N_SLABS)])
    n, e = len(batch.numbers), len(batch.centre)
    u = torch.rand(e, n_features)
    u[u < 0.5] = 1e-9  # negligible, as most Gaussians of a distance are
    drawn = (torch.randn(n, CHANNELS), size * torch.randn(2 * n, 2 * CHANNELS))
    return EdgeIndex.of(batch), *drawn, torch.randn(n_features, 2 * CHANNELS), u


def in_double(edge_index, grad, atoms, w, u):
    with torch.no_grad():
        doubled = [tensor.double() for tensor in (grad, atoms, w, u)]
        return [gated_sum(*doubled[1:], edge_index), *gated_sum_backward(*doubled, edge_index)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    assert edges.edge_kernels() is not None, "Numba is missing: make setup installs it"
    monkeypatch.setattr("model.network.convolution.EDGES_PER_CHUNK", 100)


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize("n_features", [1, 4, 7, 24])
@pytest.mark.parametrize("size", [0.01, 2.0, 40.0])
def test_sums_and_gradients_are_those_of_torch_in_double_precision(n_features, multiple, size):
    edge_index, grad, atoms, w, u = inputs(n_features, multiple=multiple, size=size)
    assert len(edge_index.chunks) > 2
    ours = [gated_sum(atoms, w, u, edge_index), *gated_sum_backward(grad, atoms, w, u, edge_index)]
    for found, expected in zip(ours, in_double(edge_index, grad, atoms, w, u), strict=True):
        assert found.dtype == torch.float32
        scale = float(expected.abs().max())
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6 * scale)


def test_numbers_far_outside_the_usual_range_saturate_and_nan_is_not_hidden():
    edge_index, grad, atoms, w, u = inputs(4, multiple=False)
    huge = torch.full_like(atoms, 1e4) * torch.sign(atoms)
    assert gated_sum(huge, w, u, edge_index).isfinite().all()
    assert all(found.isfinite().all() for found in gated_sum_backward(grad, huge, w, u, edge_index))
    atoms[:] = torch.nan
    assert gated_sum(atoms, w, u, edge_index).isnan().all()


def test_number_of_threads_does_not_change_a_bit():
    edge_index, grad, atoms, w, u = inputs(24, multiple=True)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(
                (gated_sum(atoms, w, u, edge_index), *gated_sum_backward(grad, atoms, w, u, edge_index))
            )
    finally:
        torch.set_num_threads(before)
    for one, several in zip(*found, strict=True):
        assert torch.equal(one, several)


def test_transposed_weights_are_read_right():
    edge_index, _, atoms, w, u = inputs(7, multiple=False)
    turned = w.t().contiguous().t()
    assert not turned.is_contiguous()
    assert torch.equal(gated_sum(atoms, turned, u, edge_index), gated_sum(atoms, w, u, edge_index))


def test_slabs_without_edges_are_zero():
    _, grad, atoms, w, u = inputs(4, multiple=False)
    lonely = EdgeIndex.of(collate([tiny_graph(0)]))
    none = torch.zeros(0, dtype=torch.int64)
    n = len(lonely.node_weight)
    lonely = EdgeIndex(
        none,
        none,
        none,
        torch.zeros(n + 1, dtype=torch.int64),
        none,
        torch.zeros(n + 1, dtype=torch.int64),
        None,
        torch.zeros(0),
        lonely.node_weight,
        ((0, n, 0, 0),),
    )
    atoms, u = atoms[: 2 * n], u[:0]
    assert not gated_sum(atoms, w, u, lonely).any()
    assert not any(found.any() for found in gated_sum_backward(grad[:n], atoms, w, u, lonely))


def test_gradients_reach_what_is_learnt():
    edge_index, grad, atoms, w, u = inputs(7, multiple=True)
    p, q = (part.clone().requires_grad_() for part in atoms.chunk(2))
    w.requires_grad_()
    GatedSum.apply(p, q, w, u, edge_index).backward(grad)
    d_atoms, dw = gated_sum_backward(grad, atoms, w, u, edge_index)
    assert torch.equal(torch.cat([p.grad, q.grad]), d_atoms)
    assert torch.equal(w.grad, dw)


def test_without_numba_torch_does_it(monkeypatch):
    edge_index, grad, atoms, w, u = inputs(24, multiple=True)
    ours = [gated_sum(atoms, w, u, edge_index), *gated_sum_backward(grad, atoms, w, u, edge_index)]
    monkeypatch.setattr(edges, "edge_kernels", lambda: None)
    theirs = [gated_sum(atoms, w, u, edge_index), *gated_sum_backward(grad, atoms, w, u, edge_index)]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def _sum_in_child(queue, atoms, w, u, edge_index):
    queue.put(gated_sum(atoms, w, u, edge_index).numpy())


def test_threads_serve_a_forked_process_too():
    edge_index, _, atoms, w, u = inputs(24, multiple=True)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        here = gated_sum(atoms, w, u, edge_index)
        forking = multiprocessing.get_context("fork")
        queue = forking.Queue()
        child = forking.Process(target=_sum_in_child, args=(queue, atoms, w, u, edge_index))
        child.start()
        there = torch.from_numpy(queue.get(timeout=60))
        child.join(timeout=60)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(here, there)


@pytest.mark.parametrize("own", [True, False])
def test_machine_code_is_kept_in_the_cache_folder(tmp_path, monkeypatch, own):
    import numba

    from model.network import numba_kernels as edge_kernels

    monkeypatch.setenv("MGSURF_CACHE", str(tmp_path / "mgsurf"))
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "own") if own else "")
    compiled = edge_kernels.compiled.__wrapped__(edge_kernels._forward)
    place = tmp_path / "own" if own else tmp_path / "mgsurf" / "numba"
    assert place in Path(compiled.stats.cache_path).parents
    assert (str(tmp_path / "own") if own else "") == numba.config.CACHE_DIR


def test_without_a_cache_folder_nothing_is_kept(tmp_path, monkeypatch):
    import numba

    from model.network import numba_kernels as edge_kernels

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MGSURF_CACHE", str(tmp_path / "file" / "mgsurf"))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    assert edge_kernels.compiled.__wrapped__(edge_kernels._forward).stats.cache_path is None
