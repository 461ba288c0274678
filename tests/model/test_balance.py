from __future__ import annotations

import pytest
import torch
from torch import nn

from model.training.losses import (
    BalanceConfig,
    cosine_between,
    make_balancer,
    pair_cosines,
    project,
    shared_gradients,
)
from stores.errors import InputError


class OneLayer(nn.Module):
    """One shared weight matrix; losses are linear in it, so gradients are known by hand."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.head = nn.Parameter(torch.tensor([1.0, 1.0]))

    @property
    def last_shared(self):
        return self.weight

    def shared_parameters(self):
        return [self.weight]

    def losses(self, gradients, offsets=(0.0, 0.0)):
        """Loss i = <gradients[i], W> head_i + offsets[i]."""
        return {
            i: (torch.tensor(g) * self.weight).sum() * self.head[i] + o
            for i, (g, o) in enumerate(zip(gradients, offsets, strict=True))
        }


def balancer(name, **settings):
    return make_balancer(2, BalanceConfig(name, **settings))


def test_equal_and_fixed_sum_the_weighted_gradients():
    for name, weights, expected in (("equal", (), [4.0, 2.0]), ("fixed", (3.0, 1.0), [1.5 * 3 + 0.5, 1.0])):
        network = OneLayer([1.0, 1.0])
        balancer(name, weights=weights).backward(network.losses([[3.0, 0.0], [1.0, 2.0]]), network)
        assert network.weight.grad.tolist() == pytest.approx(expected)


def test_gradnorm_follows_a_worked_example():
    # |grad| = 5 and 1; weights 1, 1: G = 5, 1, mean 3. Losses 2 and 4 of first 4 and 4: progress 0.5, 1,
    # r = 2/3, 4/3; r^1.5 = 0.5443, 1.5396; goals 1.633 and 4.619: task 0 is above, task 1 below
    norm = balancer("gradnorm")
    slope = norm.weight_gradient(torch.ones(2), torch.tensor([5.0, 1.0]), torch.tensor([0.5, 1.0]))
    assert slope.tolist() == pytest.approx([5.0, -1.0])
    # the same by differentiating eq. (7) with the goal held constant
    w = torch.ones(2, requires_grad=True)
    weighted = w * torch.tensor([5.0, 1.0])
    goal = (weighted.mean() * torch.tensor([2 / 3, 4 / 3]) ** 1.5).detach()
    assert goal.tolist() == pytest.approx([1.6330, 4.6188], abs=1e-3)
    (expected,) = torch.autograd.grad((weighted - goal).abs().sum(), w)
    assert slope.tolist() == expected.tolist()


def test_gradnorm_step_moves_weight_to_the_slow_target_and_uses_the_old_weights_for_this_step():
    network, norm = OneLayer([1.0, 1.0]), balancer("gradnorm", learning_rate=0.1)
    norm.backward(network.losses([[3.0, 4.0], [0.0, 1.0]]), network)
    assert network.weight.grad.tolist() == [3.0, 5.0]
    # Adam's first step is the learning rate times the sign: 0.9, 1.1, which already sum to 2
    assert norm.weights.tolist() == pytest.approx([0.9, 1.1])
    assert norm.first.tolist() == [7.0, 1.0]


def test_gradnorm_keeps_the_loss_of_the_first_labelled_step():
    network, norm = OneLayer([1.0, 1.0]), balancer("gradnorm")
    losses = network.losses([[3.0, 0.0], [1.0, 0.0]])
    norm.backward({0: losses[0]}, network)
    assert norm.first[0] == 3.0 and norm.first[1].isnan()
    assert norm.weights.tolist() == [1.0, 1.0]
    norm.backward(network.losses([[5.0, 0.0], [2.0, 0.0]]), network)
    assert norm.first.tolist() == [3.0, 2.0]


def test_gradnorm_weights_stay_positive_and_sum_to_the_number_of_targets():
    network, norm = OneLayer([1.0, 1.0]), balancer("gradnorm", learning_rate=0.9)
    for _ in range(20):
        norm.backward(network.losses([[100.0, 0.0], [0.0, 1e-3]], offsets=(1.0, 1.0)), network)
        assert norm.weights.min() > 0
        assert float(norm.weights.sum()) == pytest.approx(2.0)


def test_gradnorm_survives_a_target_without_gradient():
    network, norm = OneLayer([1.0, 1.0]), balancer("gradnorm")
    for _ in range(3):
        norm.backward(network.losses([[1.0, 0.0], [0.0, 0.0]], offsets=(0.0, 1.0)), network)
    assert norm.weights.isfinite().all()


def test_uncertainty_weights_are_kendalls():
    network, kendall = OneLayer([1.0, 1.0]), balancer("uncertainty")
    kendall.backward(network.losses([[3.0, 0.0], [0.0, 4.0]]), network)
    assert network.weight.grad.tolist() == [1.5, 2.0]
    # d/ds of exp(-s) L / 2 + s / 2 at s = 0 is (1 - L) / 2
    assert kendall.log_variance.grad.tolist() == [-1.0, -1.5]


def test_pcgrad_removes_the_conflict():
    # g1 = (1, 0) loses its part along g2 = (-1, 1): (1, 0) + 1/2 (-1, 1) = (.5, .5);
    # g2 loses its part along g1: (0, 1)
    assert project([torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])]).tolist() == [0.5, 1.5]
    network = OneLayer([1.0, 1.0])
    balancer("pcgrad").backward(network.losses([[1.0, 0.0], [-1.0, 1.0]]), network)
    assert network.weight.grad.tolist() == [0.5, 1.5]
    assert network.head.grad.tolist() == [1.0, 0.0]  # heads keep their own gradient


def test_pcgrad_leaves_agreeing_and_zero_gradients_alone():
    assert project([torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])]).tolist() == [2.0, 1.0]
    assert project([torch.tensor([1.0, 0.0]), torch.zeros(2)]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("name", ["equal", "gradnorm", "uncertainty", "pcgrad"])
def test_target_without_labels_is_skipped(name):
    network, balance = OneLayer([1.0, 1.0]), balancer(name)
    balance.backward({1: network.losses([[1.0, 0.0], [0.0, 2.0]])[1]}, network)
    assert network.weight.grad[0] == 0
    assert network.head.grad[0] == 0
    if name == "uncertainty":
        assert balance.log_variance.grad[0] == 0
    assert balance.weights.isfinite().all()


def test_cosine_of_gradients():
    network = OneLayer([1.0, 1.0])
    gradients = shared_gradients(network.losses([[1.0, 0.0], [1.0, 1.0]]), network)
    assert cosine_between(gradients) == pytest.approx(2**-0.5)
    assert cosine_between({0: gradients[0]}) is None


def test_unknown_balancer_and_bad_weights_are_refused():
    with pytest.raises(InputError, match="choose equal, fixed, gradnorm"):
        balancer("dwa")
    for weights in ((1.0,), (1.0, -1.0), ()):
        with pytest.raises(InputError, match="positive"):
            balancer("fixed", weights=weights)


def test_cosines_of_pairs_leave_out_gradients_of_zero():
    gradients = {0: [3.0, 4.0], 1: [0.0, -2.0], 2: [0.0, 0.0], 5: [4.0, -3.0]}
    pairs = pair_cosines({i: torch.tensor(g) for i, g in gradients.items()})
    assert {pair: float(value) for pair, value in pairs.items()} == pytest.approx(
        {(0, 1): -0.8, (0, 5): 0.0, (1, 5): 0.6}
    )
    mean = cosine_between({i: torch.tensor(g) for i, g in gradients.items()})
    assert mean == pytest.approx((-0.8 + 0.0 + 0.6) / 3)
