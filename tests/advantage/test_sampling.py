import pytest
import torch

from rlft.advantage.sampling import MAX_SAMPLES, MeanReturns, _allocate, _average, _Samples, mean_returns
from rlft.types import Branches, Jobs


def samples(start, value, steps=None, valid=None):
    value = torch.tensor(value)
    steps = torch.ones_like(value) if steps is None else torch.tensor(steps)
    valid = torch.ones(len(value), dtype=torch.bool) if valid is None else torch.tensor(valid)
    number = torch.tensor([start[:j].count(i) for j, i in enumerate(start)])
    return _Samples(torch.tensor(start), number, value, steps, valid)


def starts(count, noise=None):
    """Starts whose number is the row of their state."""
    rows = torch.arange(count)
    noise = rows if noise is None else torch.tensor(noise)
    return Jobs(
        state=rows,
        horizon=0 * rows + 50,
        noise=noise,
        noise_start=0 * rows,
        noise_sign=torch.ones(count),
        has_first_action=torch.zeros(count, dtype=torch.bool),
        first_action=torch.zeros(count, 1),
    )


class Simulator:
    """Returns are drawn from a normal distribution of the start; a re-rollout lasts `steps`."""

    def __init__(self, std, steps=None, mean=0.0, seed=0):
        self.std, self.mean = torch.tensor(std), mean
        self.steps = torch.ones(len(std), dtype=torch.int64) if steps is None else torch.tensor(steps)
        self.random = torch.Generator().manual_seed(seed)
        self.jobs = []

    def __call__(self, jobs):
        self.jobs.append(jobs)
        value = self.mean + self.std[jobs.state] * torch.randn(len(jobs), generator=self.random)
        true = torch.ones(len(jobs), dtype=torch.bool)
        return Branches(value, self.steps[jobs.state], true, value[:, None], value.isfinite())

    @property
    def cost(self):
        return sum(int(self.steps[jobs.state].sum()) for jobs in self.jobs)

    def counts(self, call):
        return torch.bincount(self.jobs[call].state, minlength=len(self.std)).tolist()


def known(std, count, steps=None):
    """What a pilot of `count` samples of every start has found: exactly these standard deviations."""
    variance = torch.tensor(std) ** 2
    steps = torch.ones(len(std)) if steps is None else torch.tensor(steps)
    size = len(std)
    return MeanReturns(torch.zeros(size), variance / count, torch.full((size,), count), steps, torch.zeros(size, 0))


# ---- means and errors --------------------------------------------------------------------------------------------


def test_mean_and_squared_error_by_hand():
    # start 0: 1, 2, 6 -> mean 3, variance (4 + 1 + 9) / 2 = 7, of the mean 7/3; start 1: 5, 7 -> 6, 2, 1
    returns = _average(
        samples([0, 1, 0, 0, 1], [1.0, 5.0, 2.0, 6.0, 7.0], [2.0, 1.0, 3.0, 4.0, 2.0]), 2, antithetic=False
    )
    assert returns.mean.tolist() == [3.0, 6.0]
    assert returns.squared_error.tolist() == pytest.approx([7 / 3, 1.0])
    assert returns.count.tolist() == [3, 2]
    assert returns.steps.tolist() == [3.0, 1.5]


def test_antithetic_pairs_count_as_one_sample():
    # pairs (0, 2), (4, 8) -> 1, 6: mean 3.5, variance 12.5, of the mean 6.25
    returns = _average(samples([0] * 4, [0.0, 2.0, 4.0, 8.0]), 1, antithetic=True)
    assert (returns.mean.item(), returns.squared_error.item(), returns.count.item()) == (3.5, 6.25, 4)


def test_covariance_of_means_by_hand():
    # shared samples 0 and 1: x = 1, 3 and y = 2, 8 have covariance 6; of means of 3 and 2 samples: 6 x 2 / (3 x 2) = 2
    returns = _average(samples([0, 0, 0, 1, 1], [1.0, 3.0, 100.0, 2.0, 8.0]), 2, antithetic=False)
    assert returns[[0]].covariance(returns[[1]]).tolist() == [2.0]
    assert returns[[1]].covariance(returns[[0]]).tolist() == [2.0]
    assert returns[[1]].covariance(returns[[1]]) == returns.squared_error[1]


def test_covariance_of_antithetic_means_is_that_of_their_pairs():
    # pairs x = 1, 6 and y = 2, 7 have covariance 12.5; of means of two pairs each: 12.5 x 2 / (2 x 2) = 6.25
    returns = _average(samples([0] * 4 + [1] * 4, [0.0, 2.0, 4.0, 8.0, 1.0, 3.0, 7.0, 7.0]), 2, antithetic=True)
    assert returns[[0]].covariance(returns[[1]]).tolist() == [6.25]
    assert returns[[0]].covariance(returns[[0]]) == returns.squared_error[0]


def test_invalid_samples_are_dropped():
    nan = float("nan")
    returns = _average(
        samples([0, 0, 0, 1], [1.0, nan, 5.0, nan], valid=[True, False, True, False]), 2, antithetic=False
    )
    assert returns.mean[0] == 3.0
    assert returns.squared_error[0] == 4.0  # variance 8 of two
    assert returns.count.tolist() == [2, 0]
    assert returns.mean[1].isnan()
    assert returns.squared_error[1].isnan()


def test_an_invalid_sample_takes_its_antithetic_partner_along():
    values = [1.0, 3.0, float("nan"), 100.0, 5.0, 7.0]
    returns = _average(samples([0] * 6, values, valid=[True, True, False, True, True, True]), 1, antithetic=True)
    assert (returns.mean.item(), returns.count.item()) == (4.0, 4)


def test_one_sample_has_a_mean_but_no_error():
    returns = _average(samples([0], [5.0]), 1, antithetic=False)
    assert returns.mean.item() == 5.0
    assert returns.squared_error.isnan()


def test_small_differences_between_large_returns_keep_their_variance():
    returns = _average(samples([0] * 3, [10000.0, 10001.0, 10002.0]), 1, antithetic=False)
    assert returns.squared_error.item() == pytest.approx(1 / 3)


# ---- addresses ---------------------------------------------------------------------------------------------------


def test_every_sample_of_every_start_has_its_own_noise():
    play = Simulator([1.0] * 3)
    mean_returns(play, starts(3, noise=[7, 0, 2]), 4, antithetic=False, pilot_samples=None)
    assert play.jobs[0].noise.tolist() == [n * MAX_SAMPLES + k for n in (7, 0, 2) for k in range(4)]
    assert (play.jobs[0].noise_sign == 1).all()


def test_antithetic_partners_share_noise_with_opposite_signs():
    play = Simulator([1.0] * 2)
    mean_returns(play, starts(2), 4, antithetic=True, pilot_samples=None)
    assert play.jobs[0].noise.tolist() == [0, 0, 1, 1, MAX_SAMPLES, MAX_SAMPLES, MAX_SAMPLES + 1, MAX_SAMPLES + 1]
    assert play.jobs[0].noise_sign.tolist() == [1, -1] * 4


@pytest.mark.parametrize("antithetic", [False, True])
def test_what_follows_a_pilot_goes_on_with_new_noise(antithetic):
    play = Simulator([1.0, 3.0])
    returns = mean_returns(play, starts(2), 16, antithetic=antithetic, pilot_samples=4)
    pilot, rest = play.jobs
    assert len(pilot) == 8
    addresses = set(
        zip(torch.cat([pilot.noise, rest.noise]).tolist(), [*pilot.noise_sign, *rest.noise_sign], strict=True)
    )
    assert len(addresses) == len(pilot) + len(rest) == returns.count.sum()
    for start, count in enumerate(returns.count.tolist()):
        numbers = {a % MAX_SAMPLES for a, _ in addresses if a // MAX_SAMPLES == start}
        assert numbers == set(range(count // 2 if antithetic else count))


# ---- allocation --------------------------------------------------------------------------------------------------


def test_neyman_allocation_of_two_starts():
    # A pilot of so many samples that the mixed-in one does not matter. Standard deviations 1 and 3 at equal cost:
    # 1 : 3, so a budget of 400 is 100 and 300
    counts = _allocate(known([1.0, 3.0], 10**6), 400, 1)
    assert counts.tolist() == pytest.approx([100, 300], abs=1)


def test_dear_samples_are_taken_less_often():
    # sd / sqrt(cost) = 3 / 3 and 1 / 1: as many of each; 50 (9 + 1) = 500
    counts = _allocate(known([3.0, 1.0], 10**6, [9.0, 1.0]), 500, 1)
    assert counts.tolist() == pytest.approx([50, 50], abs=1)


def test_a_small_pilot_is_mixed_with_the_mean_variance():
    # variances 0 and 8, mean 4, pilots of 3: (0 + 4) / 4 = 1 and (24 + 4) / 4 = 7
    counts = _allocate(known([0.0, 8.0**0.5], 3), 1000, 1)
    share = 1 / (1 + 7**0.5)
    assert counts.tolist() == pytest.approx([1000 * share, 1000 * (1 - share)], abs=1)


@pytest.mark.parametrize("unit", [1, 2])
def test_allocation_costs_the_budget(unit):
    random = torch.Generator().manual_seed(0)
    std, steps = torch.rand(2, 300, generator=random)
    steps = 1 + 30 * steps
    counts = _allocate(known(std.tolist(), 4, steps.tolist()), 20_000, unit)
    assert (counts % unit == 0).all()
    assert (counts * steps).sum().item() == pytest.approx(20_000, rel=0.02)  # whole samples


def test_fractions_of_samples_are_not_lost():
    # 0.3 samples for each of 1000 equal starts
    counts = _allocate(known([1.0] * 1000, 4), 300, 1)
    assert counts.sum().item() == pytest.approx(300, abs=1)
    assert counts.max() == 1
    assert counts[:500].sum().item() == pytest.approx(150, abs=1)


def test_a_pilot_without_any_variance_asks_for_nothing():
    play = Simulator([0.0, 0.0], mean=5.0)
    returns = mean_returns(play, starts(2), 16, antithetic=False, pilot_samples=4)
    assert returns.mean.tolist() == [5.0, 5.0]
    assert returns.squared_error.tolist() == [0.0, 0.0]


def test_a_start_that_the_simulator_spoils_does_not_stop_the_others():
    play = Simulator([float("nan"), 1.0, 3.0])
    returns = mean_returns(play, starts(3), 16, antithetic=False, pilot_samples=4)
    assert returns.mean.isnan().tolist() == [True, False, False]
    assert 4 < returns.count[1] < returns.count[2]


@pytest.mark.parametrize("antithetic", [False, True])
def test_adaptive_samples_cost_the_same_and_err_less(antithetic):
    # Half of the starts vary. Known exactly, all 16 x 2 samples would go there: half the squared error.
    std = [0.0, 1.0] * 2000
    uniform, adaptive = Simulator(std, seed=1), Simulator(std, seed=2)
    fixed = mean_returns(uniform, starts(4000), 16, antithetic=antithetic, pilot_samples=None)
    moved = mean_returns(adaptive, starts(4000), 16, antithetic=antithetic, pilot_samples=8)
    assert adaptive.cost == pytest.approx(uniform.cost, rel=0.001)
    error, less = (returns.mean[1::2].square().mean().item() for returns in (fixed, moved))
    assert error == pytest.approx(1 / 16, rel=0.15)
    assert 0.5 / 16 < less < 0.9 * error
    assert moved.squared_error[1::2].mean().item() == pytest.approx(less, rel=0.15)
