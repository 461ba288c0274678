from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from model.graphs.batch import PackedGraphs, collate
from model.network.convolution import EdgeIndex, EdgeMoments, GatedSum, NormedGatedSum
from model.network.network import GatedConvolution, SurfaceNetwork, WeightedBatchNorm
from stores.errors import InputError
from tests.model.tiny import tiny_config, tiny_elements, tiny_graph

CHANNELS, K = 4, 5


def batch_of(n=6, **options):
    return collate([tiny_graph(seed, **options) for seed in range(n)])


def direct_convolution(conv, v, u, batch, *, training):
    """Eq. (2) edge by edge with torch's own batch norm and the concatenated z; every edge once per copy."""
    weight = torch.cat([conv.centre.weight, conv.neighbour.weight, conv.edge.weight], dim=1)
    copies = torch.ones(len(batch.centre)) if batch.edge_multiplicity is None else batch.edge_multiplicity
    atoms = torch.ones(len(v)) if batch.multiplicity is None else batch.multiplicity
    rows, centre, own = [], [], []
    for e in range(len(batch.centre)):
        i, j = int(batch.centre[e]), int(batch.neighbour[e])
        for atom in range(int(atoms[i])):
            for _ in range(int(copies[e])):
                rows.append(torch.cat([v[i], v[j], u[e]]))
                centre.append(i)
                own.append(atom)
    z = torch.stack(rows) @ weight.t()
    norm = torch.nn.BatchNorm1d(z.shape[1])
    norm.load_state_dict(conv.norm_edges.state_dict())
    norm.train(training)
    z = norm(z)
    c = v.shape[1]
    message = torch.sigmoid(z[:, :c]) * functional.softplus(z[:, c:])
    sums = torch.zeros(int(atoms.sum()), c)
    first = (atoms.cumsum(0) - atoms).long()
    for row, i, atom in zip(message, centre, own, strict=True):
        sums[first[i] + atom] = sums[first[i] + atom] + row
    norm_sum = torch.nn.BatchNorm1d(c)
    norm_sum.load_state_dict(conv.norm_sum.state_dict())
    norm_sum.train(training)
    normed = norm_sum(sums)[first]
    return functional.softplus(v + normed), norm, norm_sum


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_convolution_is_equation_2(multiple, training):
    torch.manual_seed(0)
    batch = batch_of(multiple=multiple)
    conv = GatedConvolution(CHANNELS, K).train(training)
    torch.nn.init.normal_(conv.norm_edges.weight)
    torch.nn.init.normal_(conv.norm_edges.bias)
    v = torch.randn(len(batch.numbers), CHANNELS)
    u = torch.rand(len(batch.centre), K)
    expected, norm, norm_sum = direct_convolution(conv, v, u, batch, training=training)
    edge_index = EdgeIndex.of(batch)
    result = conv(v, edge_index, EdgeMoments.of(u, edge_index) if training else u)
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=1e-4)
    for ours, theirs in ((conv.norm_edges, norm), (conv.norm_sum, norm_sum)):
        torch.testing.assert_close(ours.running_mean, theirs.running_mean, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours.running_var, theirs.running_var, atol=1e-5, rtol=1e-4)


def test_training_gradient_of_a_convolution_is_that_of_the_direct_form():
    torch.manual_seed(1)
    batch = batch_of(4, multiple=True)
    conv = GatedConvolution(CHANNELS, K)
    v = torch.randn(len(batch.numbers), CHANNELS, requires_grad=True)
    u = torch.rand(len(batch.centre), K)
    pull = torch.randn_like(v)
    edge_index = EdgeIndex.of(batch)
    parameters = [v, conv.centre.weight, conv.neighbour.weight, conv.edge.weight]
    ours = torch.autograd.grad((conv(v, edge_index, EdgeMoments.of(u, edge_index)) * pull).sum(), parameters)
    direct = direct_convolution(conv, v, u, batch, training=True)[0]
    theirs = torch.autograd.grad((direct * pull).sum(), parameters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("per_chunk", [5, 10**6])
def test_gradients_of_the_edge_steps_by_finite_differences(monkeypatch, per_chunk):
    monkeypatch.setattr("model.network.convolution.EDGES_PER_CHUNK", per_chunk)
    batch = batch_of(3, multiple=True)
    batch = batch.__class__(**{**vars(batch), "edge_multiplicity": batch.edge_multiplicity.double()})
    edge_index = EdgeIndex.of(batch)
    assert (len(edge_index.chunks) > 1) == (per_chunk == 5)
    n, e = len(batch.numbers), len(batch.centre)
    p, q, w = (torch.randn(s, 6, dtype=torch.double, requires_grad=True) for s in (n, n, 2))
    u = torch.rand(e, 2, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda *a: GatedSum.apply(*a, u, edge_index), (p, q, w))


def test_gradient_through_the_norm_by_finite_differences():
    batch = batch_of(3, multiple=True)
    changed = {
        name: value.double()
        for name, value in vars(batch).items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    edge_index = EdgeIndex.of(batch.__class__(**{**vars(batch), **changed}))
    edges = EdgeMoments.of(torch.rand(len(batch.centre), 2, dtype=torch.double), edge_index)
    shapes = [(len(batch.numbers), 3), (6, 3), (6, 3), (2, 6), (6,), (6,)]
    inputs = [torch.randn(s, dtype=torch.double, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(lambda *x: NormedGatedSum.apply(*x, edges, edge_index, 1e-5)[0], inputs)


def test_chunks_do_not_change_the_result(monkeypatch):
    batch = batch_of(20)
    network = SurfaceNetwork(tiny_config(), tiny_elements())
    whole = network(batch)
    monkeypatch.setattr("model.network.convolution.EDGES_PER_CHUNK", 30)
    torch.testing.assert_close(network(batch), whole)


def test_sum_of_gates_far_outside_the_usual_range_stays_finite():
    batch = batch_of(2)
    edge_index = EdgeIndex.of(batch)
    p = torch.tensor([[-300.0, 300.0, 300.0, -300.0]]).repeat(len(batch.numbers), 1).requires_grad_()
    zero = torch.zeros(len(batch.numbers), 4)
    u, w = torch.zeros(len(batch.centre), 1), torch.zeros(1, 4)
    out = GatedSum.apply(p, zero, w, u, edge_index)
    out.sum().backward()
    degree = torch.diff(batch.offsets)
    torch.testing.assert_close(out, torch.stack([0 * degree, 0 * degree], 1).float(), atol=1e-3, rtol=0)
    assert p.grad.isfinite().all()


def test_weighted_batch_norm_is_batch_norm_of_the_copies():
    rows, copies = torch.randn(5, 3), torch.tensor([1.0, 4, 2, 1, 3])
    ours, theirs = WeightedBatchNorm(3), torch.nn.BatchNorm1d(3)
    repeated = theirs(rows.repeat_interleave(copies.long(), 0))
    torch.testing.assert_close(ours(rows, copies).repeat_interleave(copies.long(), 0), repeated)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"depth": "none"},
        {"depth": "profile", "pooling": "surface", "head_layers": 1, "dropout": 0.2},
    ],
)
@pytest.mark.parametrize("multiple", [False, True])
def test_prediction_does_not_depend_on_the_rest_of_the_batch(changes, multiple):
    graphs = [tiny_graph(seed, multiple=multiple) for seed in range(9)]
    network = SurfaceNetwork(tiny_config(**changes), tiny_elements())

    network.train()(collate(graphs))  # moves the running statistics
    network.eval()
    together = network(collate(graphs))
    alone = torch.cat([network(collate([graph])) for graph in graphs])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=1e-5)
    backwards = network(collate(graphs[::-1])).flip(0)
    torch.testing.assert_close(backwards, together, atol=1e-6, rtol=1e-5)


def test_training_differs_from_evaluation_until_statistics_are_known():
    batch = batch_of(12)
    network = SurfaceNetwork(tiny_config(), tiny_elements())
    assert not torch.allclose(network.train()(batch), network.eval()(batch))
    before = network.convolutions[0].norm_edges.running_mean.clone()
    network.eval()(batch)
    assert torch.equal(before, network.convolutions[0].norm_edges.running_mean)


@pytest.mark.parametrize("options", [{}, {"fixed_degree": 4}, {"multiple": True}])
def test_picked_batch_equals_collated_one(options):
    graphs = [tiny_graph(seed, **options) for seed in range(7)]
    picked = PackedGraphs.of(graphs).select(torch.tensor([4, 0, 6, 0]))
    expected = collate([graphs[i] for i in (4, 0, 6, 0)])
    for name, value in vars(expected).items():
        other = getattr(picked, name)
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, name


def test_batches_in_order_cover_all_slabs_once():
    graphs = [tiny_graph(seed) for seed in range(30)]
    batches = list(PackedGraphs.of(graphs).in_order(edges_per_batch=60))
    assert len(batches) > 2
    assert torch.equal(torch.cat([b.depth for b in batches]), collate(graphs).depth)


def test_edges_in_bfloat16_give_nearly_the_same():
    # chosen on a GPU; a processor computes it too, slowly
    batch = batch_of(12, multiple=True)
    network = SurfaceNetwork(tiny_config(), tiny_elements())
    results = {}
    for kind in (torch.float32, torch.bfloat16):
        network.edge_dtype = kind
        network.zero_grad()
        output = network(batch)
        output.square().sum().backward()
        results[kind] = output.detach(), network.embed.weight.grad.clone()
    exact, rough = results[torch.float32], results[torch.bfloat16]
    torch.testing.assert_close(rough[0], exact[0], atol=0.03, rtol=0.03)
    assert torch.cosine_similarity(rough[1].flatten(), exact[1].flatten(), dim=0) > 0.98


def test_surface_flag_marks_atoms_down_to_the_threshold():
    network = SurfaceNetwork(tiny_config(surface_threshold=2.0), tiny_elements())
    assert network.depth(torch.tensor([0.0, 1.9, 2.1, 8.0]))[:, 0].tolist() == [1, 1, 0, 0]


def test_parts_of_best_do_not_see_below_their_reach():
    network = SurfaceNetwork(tiny_config(depth="profile", pooling="surface"), tiny_elements()).eval()
    deep = network.depth(torch.tensor([5.0, 7.5, 15.0]))
    assert torch.equal(deep[0], deep[1]) and torch.equal(deep[0], deep[2])
    graph = tiny_graph(3)
    graph.depth[0] = 0.0
    graph.depth[1:] = np.linspace(6.0, 12.0, graph.n_nodes - 1)
    batch = collate([graph])
    v = torch.rand(graph.n_nodes, network.config.embedding)
    changed = v.clone()
    changed[1:] += 1
    torch.testing.assert_close(network.pooling(v, batch), network.pooling(changed, batch))


def test_network_refuses_a_target_that_is_no_name_and_a_foreign_element_table():
    with pytest.raises(InputError, match="not a name"):
        SurfaceNetwork(tiny_config(targets=("surface energy",)), tiny_elements())
    with pytest.raises(InputError, match="92"):
        SurfaceNetwork(tiny_config(element_features=92), tiny_elements())
