"""The measures are those of the textbooks, and their noise is what chance does."""

from collections.abc import Callable
from math import log, sqrt

import numpy as np
import pytest
from scipy import stats

from ml_microservice.monitoring.description import describe_numbers
from ml_microservice.monitoring.drift.measures import (
    cramers_v,
    kolmogorov_smirnov,
    mean_noise,
    psi,
    psi_noise,
    share_noise,
    unseen_noise,
    wasserstein,
)

DRAWS = 1000


def test_psi_is_the_sum_worked_out_by_hand() -> None:
    # Shares .5, .3, .2 become .4, .4, .2.
    by_hand = (0.4 - 0.5) * log(0.4 / 0.5) + (0.4 - 0.3) * log(0.4 / 0.3)
    assert psi([50, 30, 20], [40, 40, 20]) == pytest.approx(by_hand)
    assert psi([50, 30, 20], [40, 40, 20]) == pytest.approx(0.0511, abs=5e-5)


def test_psi_is_the_relative_entropy_both_ways() -> None:
    rng = np.random.default_rng(3)
    before, now = rng.integers(1, 100, 10), rng.integers(1, 100, 10)
    p, q = before / before.sum(), now / now.sum()
    assert psi(before, now) == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p))


def test_psi_of_an_empty_bin_is_finite() -> None:
    assert 0 < psi([50, 50], [100, 0]) < 4
    assert psi([7, 3], [70, 30]) == 0


def test_cramers_v_is_that_of_scipy_for_samples_of_one_size() -> None:
    before, now = np.array([30, 50, 20]), np.array([10, 60, 30])
    assert cramers_v(before, now) == pytest.approx(stats.contingency.association(np.array([before, now])))
    assert cramers_v(before * 1000, now) == pytest.approx(cramers_v(before, now))
    assert cramers_v([1, 0], [0, 1]) == pytest.approx(1)


def test_ks_and_wasserstein_are_those_of_scipy() -> None:
    rng = np.random.default_rng(4)
    before, now = rng.normal(0, 1, 150), rng.normal(0.5, 2, 400)
    assert kolmogorov_smirnov(before, now) == pytest.approx(stats.ks_2samp(before, now).statistic)
    assert wasserstein(before, now, 1.0) == pytest.approx(stats.wasserstein_distance(before, now))
    # The example of SciPy's documentation, and a shift, which is moved by as much as it is.
    assert wasserstein(np.array([0.0, 1, 3]), np.array([5.0, 6, 8]), 1.0) == pytest.approx(5.0)
    assert wasserstein(before, before + 3, 2.0) == pytest.approx(1.5)


@pytest.mark.parametrize("rows", [150, 5000, 100_000])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.normal(0, 1, n),
        lambda rng, n: rng.exponential(3, n),
        lambda rng, n: np.where(rng.random(n) < 0.6, 0.0, rng.lognormal(0, 1, n)),
        lambda rng, n: rng.poisson(2, n).astype(float),
    ],
    ids=["normal", "exponential", "mostly zero", "whole"],
)
def test_the_sketch_is_almost_as_good_as_all_values(draw: Callable[..., np.ndarray], rows: int) -> None:
    rng = np.random.default_rng(5)
    values, window = draw(rng, rows), draw(rng, 800) * 1.2
    reference = describe_numbers(values)
    sketch = np.asarray(reference.sketch)
    exact_bins = np.bincount(np.searchsorted(reference.edges, values), minlength=len(reference.counts))
    assert len(sketch) <= 200
    # A 400th, and one value more where values are few.
    assert abs(kolmogorov_smirnov(sketch, window) - kolmogorov_smirnov(values, window)) <= 1 / 400 + 1 / rows
    scale = reference.std
    assert abs(wasserstein(sketch, window, scale) - wasserstein(values, window, scale)) < 0.01
    assert list(reference.counts) == exact_bins.tolist()


@pytest.mark.parametrize(("n", "m"), [(300, 100), (2000, 500)])
@pytest.mark.parametrize("level", [0.5, 0.01])
def test_chance_stays_below_the_noise(n: int, m: int, level: float) -> None:
    rng = np.random.default_rng(6)
    even = np.full(10, 0.1)

    def share(beyond: Callable[[], bool]) -> float:
        return sum(beyond() for _ in range(DRAWS)) / DRAWS

    def psi_is_beyond() -> bool:
        return psi(rng.multinomial(n, even), rng.multinomial(m, even)) > psi_noise(10, n, m, level)

    def share_is_beyond() -> bool:
        before, now = rng.binomial(n, 0.1), rng.binomial(m, 0.1)
        return abs(now / m - before / n) > share_noise(before, n, m, level)

    def mean_is_beyond() -> bool:
        distance = abs(rng.normal(0, 1 / sqrt(n)) - rng.normal(0, 1 / sqrt(m)))
        return distance > mean_noise(1.0, n, m, level)

    def range_is_beyond() -> bool:
        outside = rng.beta(2, n - 1)  # of n values' range, whatever they are drawn from
        return rng.binomial(m, outside) / m > unseen_noise(2, n, m, level)

    # The limit of many rows is a little low for few, which the settings on top of the noise more than make up for.
    assert share(psi_is_beyond) <= 1.25 * level + 0.01
    assert share(share_is_beyond) <= 1.1 * level + 0.01
    assert share(mean_is_beyond) <= 1.1 * level + 0.01
    assert share(range_is_beyond) <= 1.1 * level + 0.01
