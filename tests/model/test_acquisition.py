from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from model.evaluation.joint_errors import KnownFacets
from model.selection.acquisition import LEAST_CHANCE, STRATEGIES, choose
from model.selection.improvement import Objective, expected_improvement, front_of
from model.selection.pool import Known, Pool
from model.selection.strategies import ConditionalVariance
from stores.errors import InputError

OBJECTIVE = Objective((1, 0), (1.0, -1.0))


def pool_of(n=200, d=4, seed=0, clusters=20):
    """Candidates in clusters, as facets of one compound are."""
    rng = np.random.default_rng(seed)
    centres = 4 * rng.normal(size=(clusters, d))
    features = centres[np.arange(n) % clusters] + 0.05 * rng.normal(size=(n, d))
    mean = np.column_stack([rng.normal(0.05, 0.01, n), rng.normal(3.8, 0.3, n)])
    spread = rng.uniform(0.5, 1.5, size=(clusters, 1))[np.arange(n) % clusters]
    sigma = spread * np.array([0.005, 0.12]) * rng.uniform(0.9, 1.1, size=(n, 1))
    return Pool.of(mean, sigma, features, rng.uniform(1, 50, n))


def known_of(pool, m=30, seed=1):
    rng = np.random.default_rng(seed)
    values = np.column_stack([rng.normal(0.05, 0.01, m), rng.normal(3.8, 0.3, m)])
    return Known(values, rng.normal(size=(m, pool.features.shape[1])))


def chosen(pool, n, strategy, **options):
    options.setdefault("objective", OBJECTIVE)
    return choose(pool, n, strategy, known=known_of(pool), **options)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("per_cost", [False, True])
def test_a_choice_has_no_candidate_twice_and_is_the_same_each_time(strategy, per_cost):
    pool = pool_of()
    once, again = (chosen(pool, 15, strategy, per_cost=per_cost) for _ in range(2))
    assert once == again
    assert len({c.index for c in once}) == 15
    assert all(c.reason and "\n" not in c.reason for c in once)
    # all of them, and no more than all
    everything = chosen(pool, 1000, strategy, per_cost=per_cost)
    assert sorted(c.index for c in everything) == list(range(200))


@pytest.mark.parametrize("strategy", ["uncertain", "diverse", "improvement"])
def test_a_batch_is_spread_over_compounds(strategy):
    """The twenty most uncertain candidates are facets of three compounds; a batch is not."""
    pool = pool_of()
    top = np.argsort(-(pool.sigma / pool.sigma.mean(0)).sum(1))[:15]
    assert len({i % 20 for i in top}) <= 3
    batch = [c.index % 20 for c in chosen(pool, 15, strategy)]
    assert len(set(batch)) >= 13


@pytest.mark.parametrize("strategy", ["uncertain", "diverse", "improvement"])
def test_identical_candidates_are_taken_once(strategy):
    rng = np.random.default_rng(3)
    features = np.repeat(rng.normal(size=(8, 3)), 5, axis=0)
    mean = np.repeat(np.column_stack([rng.normal(0.05, 0.01, 8), rng.normal(3.8, 0.3, 8)]), 5, axis=0)
    sigma = np.repeat(rng.uniform(0.5, 1, (8, 1)) * [0.01, 0.2], 5, axis=0)
    batch = chosen(Pool.of(mean, sigma, features), 4, strategy, length=0.2)
    assert len({c.index // 5 for c in batch}) == 4


def test_uncertain_is_the_greedy_choice_of_a_gaussian_process():
    """Against conditional variances from the full covariance matrix, one slab after the other."""
    pool, length = pool_of(60), 1.5
    scale = np.array([0.01, 0.3])
    alike = np.exp(-cdist(pool.features, pool.features, "sqeuclidean") / (2 * length**2))
    alike += 1e-6 * np.eye(60)
    relative = np.sqrt(((pool.sigma / scale) ** 2).mean(1))
    expected, taken = [], []
    for _ in range(12):
        left = 1 - np.einsum(
            "ij,ji->i", alike[:, taken], np.linalg.solve(alike[np.ix_(taken, taken)], alike[taken])
        )
        score = relative * np.sqrt(np.clip(left, 0, 1))
        score[taken] = -1
        taken.append(int(score.argmax()))
        expected.append(float(score.max()))
    found = choose(pool, 12, "uncertain", scale=scale, length=length)
    assert [c.index for c in found] == taken
    assert [c.score for c in found] == pytest.approx(expected, rel=1e-4)


def test_diverse_is_k_centre_weighted_by_uncertainty():
    pool, known = pool_of(80), known_of(pool_of(80))
    scale = np.array([0.01, 0.3])
    relative = np.sqrt(((pool.sigma / scale) ** 2).mean(1))
    centres, taken = known.features, []
    for _ in range(10):
        score = relative * cdist(pool.features, centres).min(1)
        score[taken] = -1
        taken.append(int(score.argmax()))
        centres = np.vstack([centres, pool.features[taken[-1]]])
    assert [c.index for c in choose(pool, 10, "diverse", known=known, scale=scale)] == taken


def test_improvement_takes_the_largest_and_believes_it():
    pool, known = pool_of(100), known_of(pool_of(100))
    first, second = choose(pool, 2, "improvement", known=known, objective=OBJECTIVE, length=1e-6)
    values, mean, sigma = (
        OBJECTIVE.upward(known.values),
        OBJECTIVE.upward(pool.mean),
        OBJECTIVE.sigma(pool.sigma),
    )
    reference = OBJECTIVE.reference(values)
    front = front_of(values, reference)
    gains = expected_improvement(mean, sigma, front, reference)
    assert first.index == gains.argmax()
    assert first.score == pytest.approx(gains.max())
    front = front_of(np.vstack([front, mean[first.index]]), reference)
    later = expected_improvement(mean, sigma, front, reference)
    later[first.index] = -1
    assert second.index == later.argmax()
    assert "chance to beat" in first.reason


def test_improvement_works_without_anything_known_and_with_gaps_in_it():
    pool = pool_of(50)
    assert len(choose(pool, 5, "improvement", objective=OBJECTIVE)) == 5
    values = np.array([[0.04, np.nan], [0.05, 3.9]])
    assert (
        len(choose(pool, 5, "improvement", objective=OBJECTIVE, known=Known(values, np.zeros((0, 4))))) == 5
    )
    single = Objective((1,), (1.0,))
    best = choose(pool, 1, "improvement", objective=single, known=known_of(pool))[0]
    assert pool.mean[best.index, 1] > np.median(pool.mean[:, 1])
    assert "chance to beat the best" in best.reason, "of one target the best known value is the mark"
    assert "no value is known" in choose(pool, 1, "improvement", objective=single)[0].reason


ONE_OBJECTIVE = Objective((1,), (1.0,))


@pytest.mark.parametrize(
    ("objective", "per_cost", "length"),
    [(OBJECTIVE, False, 1e-6), (OBJECTIVE, False, 0.5), (OBJECTIVE, True, 0.5), (ONE_OBJECTIVE, False, 0.5)],
)
def test_no_suggestion_has_a_chance_that_rounds_to_zero(objective, per_cost, length):
    pool = pool_of(300)
    values = np.array([[0.055, 4.1], [0.045, 3.9], [0.035, 3.6]])  # better than most of the pool
    options = {
        "known": Known(values, np.zeros((0, 4))),
        "objective": objective,
        "per_cost": per_cost,
        "length": length,
    }
    padded = choose(pool, 300, "improvement", **options)
    found = choose(pool, 300, "improvement", least_chance=LEAST_CHANCE, **options)
    assert sum(c.reason.startswith("0 % chance") for c in padded) > 50
    assert 0 < len(found) < 250
    assert not any(c.reason.startswith("0 % chance") for c in found)
    assert [c.index for c in found] == [c.index for c in padded if not c.reason.startswith("0 % chance")]
    hopeless = Known(np.array([[0.0, 9.0]]), np.zeros((0, 4)))
    assert choose(pool, 5, "improvement", **{**options, "known": hopeless}, least_chance=LEAST_CHANCE) == []
    nothing = {**options, "known": None}  # nothing is known that a slab could beat: the first is taken
    assert choose(pool, 1, "improvement", **nothing, least_chance=LEAST_CHANCE)


@pytest.mark.parametrize("strategy", STRATEGIES[:3])
def test_per_cost_takes_cheaper_slabs(strategy):
    pool = pool_of(400)
    dear = np.mean([pool.cost[c.index] for c in chosen(pool, 40, strategy)])
    cheap = np.mean([pool.cost[c.index] for c in chosen(pool, 40, strategy, per_cost=True)])
    assert cheap < 0.7 * dear


def test_per_cost_divides_the_score():
    pool = pool_of(60)
    ((index, score),) = [(c.index, c.score) for c in chosen(pool, 1, "uncertain", per_cost=True)]
    relative = np.sqrt(((pool.sigma / pool.mean.std(0)) ** 2).mean(1))
    assert index == (relative / pool.cost).argmax()
    assert score == pytest.approx(relative[index] / pool.cost[index])
    free = {c.index: c.score for c in chosen(pool, 60, "improvement", length=1e-6)}
    first = chosen(pool, 1, "improvement", length=1e-6, per_cost=True)[0]
    assert first.score * pool.cost[first.index] >= free[first.index]
    assert "core-hours" in first.reason


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_budget_is_never_exceeded_and_used_up(strategy):
    pool = pool_of()
    batch = chosen(pool, 200, strategy, budget=100.0)
    spent = sum(pool.cost[c.index] for c in batch)
    left = 100 - spent
    assert left >= 0
    rest = set(range(len(pool))) - {c.index for c in batch}
    assert min(pool.cost[i] for i in rest) > left
    assert chosen(pool, 5, strategy, budget=0.5) == []


def test_another_seed_draws_others():
    pool = pool_of()
    draws = [[c.index for c in choose(pool, 10, "random", seed=seed)] for seed in range(4)]
    assert all(a != b for a, b in itertools.combinations(draws, 2))
    counts = np.zeros(200)
    for seed in range(400):
        for c in choose(pool, 20, "random", seed=seed):
            counts[c.index] += 1
    assert abs(counts - 40).max() < 6 * np.sqrt(40)


def test_random_asks_nothing_of_the_model():
    pool = Pool.of(np.zeros((9, 2)), np.full((9, 2), np.nan), np.zeros((9, 1)))
    assert len(choose(pool, 3, "random")) == 3


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
@pytest.mark.parametrize("sigma", [np.nan, np.inf, 0.0, 0.3])
def test_without_uncertainties_that_differ_there_is_no_choice(strategy, sigma):
    pool = pool_of(30)
    flat = Pool.of(pool.mean, np.full_like(pool.sigma, sigma), pool.features)
    with pytest.raises(InputError, match="--members 5") as raised:
        chosen(flat, 3, strategy)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("by_luck", 3), "random, uncertain, diverse, improvement"),
        (("uncertain", 0), "at least 1"),
        (("improvement", 3), "needs an objective"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, words):
    strategy, n = arguments
    with pytest.raises(InputError, match=words) as raised:
        choose(pool_of(), n, strategy)
    assert "\n" not in str(raised.value)


def test_an_empty_pool_gives_an_empty_choice():
    assert choose(Pool.of(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 3))), 5, "uncertain") == []


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="fit together"):
        Pool.of(np.zeros((3, 2)), np.zeros((2, 2)), np.zeros((3, 1)))
    with pytest.raises(InputError, match="no number"):
        Pool.of(np.zeros(3), np.zeros(3), np.zeros((3, 1)), [1, 0, 1])
    with pytest.raises(InputError, match="no number"):
        Pool.of([0, np.nan, 0], np.zeros(3), np.zeros((3, 1)))


def facets_of_compounds(n=60, compounds=12, part=0.8, seed=0):
    """Candidates so far apart that only the errors of their compounds go together."""
    pool = pool_of(n, seed=seed)
    keys = [f"Mg{i % compounds}" for i in range(n)]
    features = 1e3 * np.arange(n)[:, None]
    shared = pool.sigma * np.array([part, 0.3])
    return Pool.of(pool.mean, pool.sigma, features, None, shared, keys)


def test_a_computed_facet_leaves_of_others_what_the_correction_by_known_facets_leaves():
    pool = facets_of_compounds()
    left = ConditionalVariance(pool, 1.0)
    for index in (0, 12, 5):
        left.take(index)
    share = left.share(np.arange(60))
    for target in range(2):
        sigma, shared = pool.sigma[:, target], (pool.sigma * pool.common)[:, target]
        for known, others in (([0, 12], range(24, 60, 12)), ([5], range(17, 60, 12)), ([], range(1, 60, 12))):
            of = KnownFacets.of(np.zeros(len(known)), sigma[known], shared[known])
            expected = [of.correct(0.0, sigma[i], shared[i])[1] for i in others]
            found = sigma[list(others)] * np.sqrt(share[list(others), target])
            assert found == pytest.approx(expected, rel=1e-4)


def test_uncertain_with_shared_errors_is_the_greedy_choice_of_the_whole_covariance():
    places, keys = pool_of(60), np.array([f"Mg{i % 7}" for i in range(60)])
    scale, length = np.array([0.01, 0.3]), 1.5
    shared = places.sigma * np.random.default_rng(4).uniform(0.2, 0.9, size=(60, 2))
    pool = Pool.of(places.mean, places.sigma, places.features, None, shared, keys.tolist())
    near = np.exp(-cdist(pool.features, pool.features, "sqeuclidean") / (2 * length**2))
    covariances = []
    for target in range(2):
        own = np.sqrt(pool.sigma[:, target] ** 2 - shared[:, target] ** 2)
        same = keys[:, None] == keys
        whole = np.outer(shared[:, target], shared[:, target]) * same + np.outer(own, own) * near
        covariances.append(whole + np.diag(1e-6 * pool.sigma[:, target] ** 2))
    expected, taken = [], []
    for _ in range(12):
        left = [
            np.diag(c)
            - np.einsum("ij,ji->i", c[:, taken], np.linalg.solve(c[np.ix_(taken, taken)], c[taken]))
            for c in covariances
        ]
        score = np.sqrt(np.mean(np.clip(left, 0, None) / scale[:, None] ** 2, axis=0))
        score[taken] = -1
        taken.append(int(score.argmax()))
        expected.append(float(score.max()))
    found = choose(pool, 12, "uncertain", scale=scale, length=length)
    assert [c.index for c in found] == taken
    assert [c.score for c in found] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("strategy", ["uncertain", "improvement"])
def test_a_batch_takes_few_facets_of_a_compound_whose_errors_go_together(strategy):
    apart, joint = (
        len({c.index % 12 for c in chosen(facets_of_compounds(part=part), 10, strategy)})
        for part in (0.0, 0.95)
    )
    assert joint > apart


def test_candidates_without_shared_errors_are_chosen_as_before():
    pool = pool_of()
    keys = [str(i % 20) for i in range(200)]
    for shared in (np.zeros((200, 2)), np.full((200, 2), np.nan)):
        same = Pool.of(pool.mean, pool.sigma, pool.features, pool.cost, shared, keys)
        for strategy in STRATEGIES:
            assert chosen(same, 15, strategy) == chosen(pool, 15, strategy)
